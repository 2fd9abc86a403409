//! The `genpool` command; everything it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    genpool_cli::cli::main()
}
