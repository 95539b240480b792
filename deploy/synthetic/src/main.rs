//! `ward-synthetic`: writes generated hospitals and their vocabulary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ward_synthetic::{Hospital, Mix, Rows, SyntheticError, generate, vocabulary};

/// Generates hospitals that do not exist, as OMOP CDM 5.4 folders of Parquet files.
#[derive(Parser)]
#[command(name = "ward-synthetic", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write one hospital's tables into a folder.
    Hospital {
        /// The folder; made if it is not there.
        folder: PathBuf,
        /// How many patients.
        #[arg(long, default_value_t = 2_000)]
        patients: u64,
        /// Seed of all chance: the same arguments write the same files.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Whom the hospital treats.
        #[arg(long, value_enum, default_value_t = Mix::General)]
        mix: Mix,
        /// Its name; the folder's where absent. Hospitals of one seed differ by it.
        #[arg(long)]
        name: Option<String>,
    },
    /// Write the public vocabulary that explains the concepts of all hospitals.
    Vocabulary {
        /// The folder; made if it is not there.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(rows) => {
            for (table, count) in rows {
                println!("{count:>12} {table}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<Rows, SyntheticError> {
    match command {
        Command::Vocabulary { folder } => vocabulary(&folder),
        Command::Hospital {
            folder,
            patients,
            seed,
            mix,
            name,
        } => {
            let folder_name = || folder.file_name().map(|n| n.to_string_lossy().into_owned());
            let hospital = Hospital {
                name: name.or_else(folder_name).unwrap_or_default(),
                seed,
                patients,
                mix,
            };
            let bar = bar(&hospital);
            let rows = generate(&folder, &hospital, |done| bar.set_position(done))?;
            bar.finish_and_clear();
            Ok(rows)
        }
    }
}

fn bar(hospital: &Hospital) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {human_pos} of {human_len} patients, {eta} left",
    );
    ProgressBar::new(hospital.patients)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(format!("{} ({})", hospital.name, hospital.mix))
}
