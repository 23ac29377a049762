//! The platform seen from outside, and the shape of its sources. One test binary: the server starts
//! once and is shared by all tests that leave each other alone.
//!
//! Functions that prove a check of the security bar carry its id: `az_04_…`, `jw_01_…`, `ct_15_…`.

mod abuse;
mod access;
mod access_tokens;
mod acts;
mod architecture;
mod checks;
mod content;
mod contract;
mod crash;
mod faults;
mod fuzz;
mod gateway;
mod hostile;
mod immutable;
mod instances;
mod login;
mod memory;
mod names;
mod naming;
mod pages;
mod postgres;
mod promises;
mod quota;
mod removals;
mod restart;
mod revocation;
mod robots;
mod roles;
mod s3;
mod secrets;
mod sessions;
mod source;
mod split;
mod startup;
mod support;
mod tokens;
mod trace;
mod trail;
mod uploads;
