//! The imgraft command.
fn main() {}
