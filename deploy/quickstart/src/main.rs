//! `quickstart`: a whole Ward network in one process.

mod args;
mod network;
mod questions;
mod record;
mod run;
mod screen;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

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
    let end = runtime.block_on(until_stopped(arguments, dir.unwrap_or(Path::new("."))));
    match end {
        // Work that is cut off goes on until the process ends: it is not waited for.
        Ok(End::Interrupted) => std::mem::forget(runtime),
        Ok(End::Done) | Err(_) => runtime.shutdown_timeout(Duration::from_secs(5)),
    }
    if let Some(temporary) = temporary {
        remove(temporary);
    }
    Ok(match end? {
        End::Done => ExitCode::SUCCESS,
        End::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

/// How a run ended.
#[derive(Clone, Copy)]
enum End {
    Done,
    Interrupted,
}

/// Removes the directory, also while work that was cut off still writes there: until it is gone,
/// and stays so for a moment.
fn remove(temporary: TempDir) {
    let dir = temporary.keep();
    let gone = (0..50).any(|_| {
        let _ = std::fs::remove_dir_all(&dir);
        std::thread::sleep(Duration::from_millis(20));
        !dir.exists()
    });
    let what = if gone { "Removed" } else { "Please remove" };
    screen::print(&format!("{what} {}.\n", dir.display()));
}

fn temporary() -> Result<TempDir, RunError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("ward-");
    builder.tempdir().map_err(RunError::System)
}

/// Until it is done, or interrupted: the first Ctrl-C or SIGTERM is told to the run, which then
/// ends what is under way; before it serves, or at the second one, it ends at once.
async fn until_stopped(arguments: &Arguments, dir: &Path) -> Result<End, RunError> {
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
        done = run::run(arguments, dir, &stop) => done.map(|()| End::Done),
        () = interrupted => Ok(End::Interrupted),
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
