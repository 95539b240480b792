//! `ward-coordinator`: `init`, `serve`, `vocabulary pack`.

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use ward_coordinator::{Config, Coordinator, init, vocabulary};

/// Sends approved questions to the nodes of a Ward network, and merges what comes back.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a directory with a commented configuration.
    Init {
        /// The directory.
        dir: PathBuf,
    },
    /// Serves requesters and nodes until Ctrl-C or SIGTERM.
    Serve {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "coordinator.toml")]
        config: PathBuf,
    },
    /// Vocabulary packages: the network's public code lists.
    #[command(subcommand)]
    Vocabulary(VocabularyCommand),
}

#[derive(Subcommand)]
enum VocabularyCommand {
    /// Packs OMOP vocabulary tables (Parquet or CSV) into one file.
    Pack {
        /// The directory of the tables.
        dir: PathBuf,
        /// The package.
        #[arg(long, value_name = "FILE", default_value = "vocabulary.ward")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    ward_transport::install_crypto_provider();
    log_to_stderr();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ward-coordinator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Init { dir } => {
            let file = init(&dir)?;
            println!("wrote {}: edit it, then serve", file.display());
            Ok(())
        }
        Command::Serve { config } => serve(&config),
        Command::Vocabulary(VocabularyCommand::Pack { dir, out }) => {
            let hash = vocabulary::pack(&dir, &out)?;
            println!("wrote {}", out.display());
            println!("{hash}");
            Ok(())
        }
    }
}

fn serve(config: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::load(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listen = config.listen;
        let coordinator = Coordinator::open(config).await?;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|e| format!("{listen}: can't be listened on: {e}; choose another `listen`"))?;
        let stop = stop_signal()?;
        println!("listening on https://{}", listener.local_addr()?);
        coordinator.serve(listener, stop).await;
        Ok(())
    })
}

/// Ctrl-C or SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Logs go to stderr, and what `RUST_LOG` says goes; stdout is for answers.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
