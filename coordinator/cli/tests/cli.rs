//! The binary itself, as far as it needs no coordinator.

use std::path::Path;
use std::process::{Command, Output};

const HASH: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";

fn ward(dir: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ward"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env_clear()
        .output()
        .expect("ward runs")
}

#[track_caller]
fn succeeds(dir: &Path, line: &str) -> String {
    let output = ward(dir, line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn fails(dir: &Path, line: &str) -> String {
    let output = ward(dir, line);
    assert!(!output.status.success(), "{line} succeeded");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn issue_line() -> String {
    format!(
        "permit issue --key body.pem --id P1 --access-body findata --valid-until 2030-01-01 \
         --organisation University --principal-investigator Ada --person ada@uni.example \
         --purpose scientific-research --template patients@1.0.0@{HASH} --node hospital-a \
         --budget 0.05 --minimum-nodes 1 --output permit.jws"
    )
}

#[test]
fn a_permit_is_issued_and_inspected() {
    let dir = tempfile::tempdir().expect("dir");
    let dir = dir.path();
    let public = succeeds(dir, "keygen --out body.pem");
    let issued = succeeds(dir, &issue_line());
    assert!(issued.contains("Permit P1, version 1"), "{issued}");

    let trusted = succeeds(dir, &format!("permit inspect permit.jws --trust {public}"));
    assert!(trusted.contains("signature good"), "{trusted}");
    assert!(
        trusted.contains("ada@uni.example") && trusted.contains(HASH),
        "{trusted}"
    );

    let unchecked = succeeds(dir, "permit inspect permit.jws");
    assert!(unchecked.contains("SIGNATURE NOT CHECKED"), "{unchecked}");
    assert!(!unchecked.contains('\x1b'), "no colour off a terminal");

    let other = succeeds(dir, "keygen --out other.pem");
    let refused = fails(dir, &format!("permit inspect permit.jws --trust {other}"));
    assert!(
        refused.contains("not trusted") && refused.contains("--trust"),
        "{refused}"
    );
}

#[test]
fn refusals_name_the_file_and_the_remedy() {
    let dir = tempfile::tempdir().expect("dir");
    let dir = dir.path();
    assert!(fails(dir, "whoami").contains("--profile"));
    assert!(fails(dir, "whoami --profile none.toml").contains("none.toml"));
    assert!(fails(dir, &issue_line()).contains("body.pem"));
    std::fs::write(dir.join("p.toml"), "url = 'https://c.example'\ncaa = 'x'\n").expect("written");
    let unknown = fails(dir, "whoami --profile p.toml");
    assert!(
        unknown.contains("p.toml") && unknown.contains("line 2"),
        "{unknown}"
    );
    std::fs::write(
        dir.join("p.toml"),
        "url = 'https://c.example'\nca = 'x.pem'\n",
    )
    .expect("written");
    assert!(fails(dir, "whoami --profile p.toml").contains("x.pem"));
    std::fs::write(dir.join("p.jws"), "no permit").expect("written");
    let line = "ask patients --permit p.jws --profile p.toml --output none/a.csv";
    assert!(fails(dir, line).contains("--output"));
    assert!(!dir.join("permit.jws").exists());
}
