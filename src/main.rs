//! `chatkit-rest`, the program: arguments in, a command, an exit code out.
//!
//! Exit codes: 0 fine, 1 a run-time failure, 2 wrong usage or configuration.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod cli;

// For musl, whose own allocator is slow. Beside glibc's it costs memory (an idle stream 57 KiB
// in place of 37) and gains nothing that could be measured, so it is not a default.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        // `--help` and `--version` come this way too.
        Err(error) => {
            // If nobody reads it there is nobody to tell.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::from(2), ExitCode::from);
        }
    };
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
