//! The binary `ward`.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use ward_cli::args::{Cli, Color};
use ward_cli::commands::{self, Screen};
use ward_cli::render;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ward_transport::install_crypto_provider();
    let cli = Cli::parse();
    let color = cli.color;
    let mut screen = Screen {
        out: &mut io::stdout().lock(),
        width: width(),
        color: colored(color, io::stdout().is_terminal()),
        out_is_terminal: io::stdout().is_terminal(),
        err_is_terminal: io::stderr().is_terminal(),
    };
    match commands::run(cli, &mut screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let color = colored(color, io::stderr().is_terminal());
            eprint!("{}", render::error(&error, width(), color));
            ExitCode::FAILURE
        }
    }
}

fn width() -> usize {
    let size = console::Term::stdout().size_checked();
    size.map_or(100, |(_rows, columns)| usize::from(columns))
}

/// NO_COLOR (no-color.org) counts unless colour is asked for on the command line.
fn colored(choice: Color, terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !dumb && !set("NO_COLOR"),
    }
}
