//! The zkfleet binary.
fn main() {}
