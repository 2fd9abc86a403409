//! The `genpool` command. Everything it does is in the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    genpool_cli::cli::main()
}
