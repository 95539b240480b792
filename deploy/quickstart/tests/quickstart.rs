//! The binary, on small folders: what it prints, what it leaves, how it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use ward_synthetic::{Hospital, Mix};

/// Two small hospitals, and directories to run in.
struct Setting {
    dir: TempDir,
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        for (name, mix) in [("north", Mix::General), ("south", Mix::Rural)] {
            let hospital = Hospital {
                name: name.to_owned(),
                seed: 3,
                patients: 40,
                mix,
            };
            let folder = dir.path().join(name);
            ward_synthetic::generate(&folder, &hospital, |_| {}).expect("generated");
        }
        ward_synthetic::vocabulary(&dir.path().join("vocabulary")).expect("vocabulary");
        for room in ["work", "tmp"] {
            fs::create_dir(dir.path().join(room)).expect("made");
        }
        Self { dir }
    }

    fn quickstart(&self) -> Command {
        let path = |name| self.dir.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
        command
            .current_dir(path("work"))
            .env("TMPDIR", path("tmp"))
            .env_remove("RUST_LOG")
            .arg("--hospital")
            .args([path("north"), path("south")])
            .arg("--vocabulary")
            .arg(path("vocabulary"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Nothing is left but the record; answers it.
    fn left(&self) -> serde_json::Value {
        assert_eq!(names(&self.dir.path().join("tmp")), [""; 0]);
        let work = self.dir.path().join("work");
        assert_eq!(names(&work), ["quickstart.json"]);
        let record = fs::read(work.join("quickstart.json")).expect("record");
        serde_json::from_slice(&record).expect("JSON")
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("directory");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("entry").file_name();
        name.to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}

#[test]
fn once_answers_three_questions_and_leaves_its_record_only() {
    let setting = Setting::new();
    let output = setting.quickstart().arg("--once").output().expect("run");
    let shown = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{errors}");
    let answers = shown.matches("All 2 nodes answered: north, south");
    assert_eq!(answers.count(), 3, "{shown}");
    assert_eq!(shown.matches("all verified").count(), 2, "{shown}");
    let record = setting.left();
    assert_eq!(record["answers"].as_array().map(Vec::len), Some(3));
    assert_eq!(record["directory_stays"], false);
}

#[test]
fn an_interrupt_ends_it_in_order() {
    let setting = Setting::new();
    let mut running = setting.quickstart().spawn().expect("started");
    let mut shown = BufReader::new(running.stdout.take().expect("piped")).lines();
    let serving = shown.find(|line| {
        let line = line.as_ref().expect("text");
        line.contains("Serving until Ctrl-C")
    });
    assert!(serving.is_some(), "{}", errors(running));
    let record = fs::read(setting.dir.path().join("work/quickstart.json")).expect("record");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    let permit = record["requester"]["permit"].as_str().expect("a path");
    assert!(Path::new(permit).is_file());

    let pid = running.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill").success());
    let rest: Vec<_> = shown.map(|line| line.expect("text")).collect();
    assert!(
        rest.iter().any(|line| line.starts_with("Stopping")),
        "{rest:?}"
    );
    let status = running.wait().expect("ended");
    assert!(status.success(), "{status}");
    setting.left();
}

#[test]
fn a_directory_that_is_asked_for_stays_and_is_never_overwritten() {
    let setting = Setting::new();
    let dir = setting.dir.path().join("mine");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("thesis.tex"), "").expect("written");
    let output = setting.quickstart().arg("--dir").arg(&dir).output();
    let output = output.expect("run");
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("nothing is overwritten"), "{errors}");
    assert_eq!(names(&dir), ["thesis.tex"]);
}

fn errors(mut running: Child) -> String {
    let mut text = String::new();
    let mut errors = running.stderr.take().expect("piped");
    errors.read_to_string(&mut text).expect("text");
    text
}
