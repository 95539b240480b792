//! `quickstart`: a whole Ward network in one process.

mod args;
mod network;
mod questions;
mod record;
mod run;
mod screen;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::Arguments;
use crate::run::{RunError, Stop};

/// What shells expect of a program that Ctrl-C has ended before its time.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    ward_transport::install_crypto_provider();
    let arguments = Arguments::parse();
    log_to_stderr();
    match start(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<ExitCode, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::System)?;
    // Without --dir everything is removed when this goes.
    let temporary = match &arguments.dir {
        Some(_) => None,
        None => Some(temporary()?),
    };
    let given = arguments.dir.as_deref();
    let dir = given.or(temporary.as_ref().map(TempDir::path));
    let done = runtime.block_on(until_stopped(arguments, dir.unwrap_or(Path::new("."))));
    // Work that a stop has cut off would go on, and write.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    if let Some(temporary) = temporary {
        println!("Removed {}.", temporary.path().display());
    }
    done
}

fn temporary() -> Result<TempDir, RunError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("ward-");
    builder.tempdir().map_err(RunError::System)
}

/// Until it is done, or interrupted: the first Ctrl-C or SIGTERM is told to the run, which then
/// ends what is under way; before it serves, or at the second one, it ends at once.
async fn until_stopped(arguments: &Arguments, dir: &Path) -> Result<ExitCode, RunError> {
    let stop = Stop::default();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::System)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::System)?;
    let interrupted = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !stop.ask() {
                return;
            }
        }
    };
    tokio::select! {
        done = run::run(arguments, dir, &stop) => done.map(|()| ExitCode::SUCCESS),
        () = interrupted => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Services' logs go to stderr: errors, or what `RUST_LOG` says.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
