//! The `segue` binary: a thin caller of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    segue::cli::main()
}
