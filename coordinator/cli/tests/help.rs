//! What `--help` says is checked in: a change shows in review.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use ward_cli::args::Cli;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");

#[test]
fn help_is_as_checked_in() {
    let mut help = String::new();
    let mut command = Cli::command();
    command.build();
    let long = command.render_long_help();
    writeln!(help, "$ ward --help\n{long}").expect("a string");
    write_help(&mut command, &mut help);
    if std::env::var_os("WARD_UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &help).expect("written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("tests/help.txt");
    assert!(
        help == golden,
        "help differs from tests/help.txt; if that is meant, run this test with \
         WARD_UPDATE_GOLDEN=1 and commit the file. Help is now:\n{help}"
    );
}

fn write_help(command: &mut Command, out: &mut String) {
    let name = command.get_bin_name().unwrap_or("ward").to_owned();
    let help = command.render_help();
    writeln!(out, "$ {name} -h\n{help}").expect("a string");
    for child in command.get_subcommands_mut() {
        if child.get_name() != "help" {
            write_help(child, out);
        }
    }
}
