//! The program `dbos-host`. Everything is in the library, where tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    dbos_host::cli::main()
}
