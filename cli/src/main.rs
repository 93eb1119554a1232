//! `qwen3-embed`: Qwen3-Embedding vectors on the command line.

mod args;
#[cfg(feature = "bench")]
mod bench;
mod commands;
mod failure;
mod input;
mod messages;
mod model;
mod npy;
mod output;
#[cfg(feature = "bench")]
mod profile;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "bench")]
mod spans;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use failure::Failure;

#[allow(unsafe_code, reason = "setting a variable")]
fn main() -> ExitCode {
    // ONNX Runtime reports usage over the network unless this stands when it is loaded.
    // SAFETY: no other thread can read the environment: this is the first statement of main, and
    // none has been started.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(&cli.command) {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            usage(&Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message))
        }
        Err(Failure::Runtime(message)) => {
            messages::line("error", &message);
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    command.model().check()?;
    start_log(command)?;
    match command {
        Command::Embed(args) => commands::embed(args),
        Command::Similarity(args) => commands::similarity(args),
        Command::Info(args) => commands::info(args),
        #[cfg(feature = "mlx")]
        Command::Quantize(args) => commands::quantize(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::serve(args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::bench(args),
        #[cfg(feature = "bench")]
        Command::Profile(args) => profile::profile(args),
    }
}

/// A server tells when things happened and what goes well; the others only what does not.
fn start_log(command: &Command) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "serve")]
        Command::Serve(args) => messages::start_server_log(args.log_format),
        // They listen to the library themselves.
        #[cfg(feature = "bench")]
        Command::Bench(_) | Command::Profile(_) => Ok(()),
        _ => messages::start_log(),
    }
}

/// Prints what clap has to say: help and version too, which are no failures.
fn usage(error: &clap::Error) -> ExitCode {
    // Where the text cannot be written, the exit code remains.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
