//! The cases, by what they exercise. Each file adds its cases to `Bench`.

mod console;
mod images;
mod lists;
mod pages;
pub mod reads;
mod tokens;
mod transfers;
