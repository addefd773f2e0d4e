//! The `segue` binary: a thin caller of the library.

fn main() {}
