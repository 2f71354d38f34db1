//! Arguments and exit codes; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    redis_connect_postgres::cli::main()
}
