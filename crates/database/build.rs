//! Rebuilds this crate when a migration comes or changes: `sqlx::migrate!` reads the directory at compile
//! time and cargo would not notice otherwise.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
