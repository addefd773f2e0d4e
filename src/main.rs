//! The `segue` binary: a thin caller of the library.

use std::process::ExitCode;

/// Gives back to the system what a crowd of clients took, once they are gone; glibc keeps it.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    segue::cli::main()
}
