//! The pages, one module per part of the navigation. A page is a struct beside its handler, with the fields that its
//! template shows.

pub(crate) mod about;
pub(crate) mod activity;
pub(crate) mod admin;
pub(crate) mod appearance;
pub(crate) mod docs;
pub(crate) mod draft;
pub(crate) mod error;
pub(crate) mod home;
pub(crate) mod jobs;
pub(crate) mod labels;
pub(crate) mod lists;
pub(crate) mod login;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod overview;
pub(crate) mod paste;
pub(crate) mod policies;
pub(crate) mod project_settings;
pub(crate) mod projects;
pub(crate) mod repositories;
pub(crate) mod repository;
pub(crate) mod requests;
pub(crate) mod robots;
pub(crate) mod search;
