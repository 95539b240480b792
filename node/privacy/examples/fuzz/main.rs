//! Fuzzes the way from a template to its plan and its answer: structure-aware mutations of a corpus,
//! kept where they lead to a new refusal or a new piece of plan.
//!
//! ```text
//! cargo run -p ward-privacy --example fuzz -- --minutes 10 [--seed N] [--keep]
//! ```
//!
//! Findings are panics, even where the engine catches them, inputs that take over a second to accept
//! or refuse, and what `check.rs` says. They are written to `target/fuzz`, and so is each input before
//! it is tried: one that ends the process is `target/fuzz/current.txt`. `--keep` writes the new
//! inputs into the corpus, which the test suite replays.

mod check;
mod hospital;
mod input;
mod mutate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use check::{Hospitals, Seen};
use input::Input;
use mutate::{Choices, Words};

const LONGEST: Duration = Duration::from_secs(1);
/// One that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(120);
/// In bytes.
const LARGEST_KEPT: usize = 500;

static PANICS: AtomicU64 = AtomicU64::new(0);
/// Milliseconds from the start of the process to that of the input.
static STARTED: AtomicU64 = AtomicU64::new(0);

fn main() {
    let options = Options::read();
    let directory = PathBuf::from("target/fuzz");
    fs::create_dir_all(&directory).expect("target/fuzz");
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    watch(Instant::now());
    let mut fuzzer = Fuzzer::new(directory, options.seed);
    for input in golden() {
        fuzzer.attempt(input);
    }
    fuzzer.known = fuzzer.seen.keys().cloned().collect();
    for input in kept() {
        fuzzer.attempt(input);
    }
    let seeds = fuzzer.corpus.len();
    for input in mutate::repetitions(&fuzzer.words) {
        fuzzer.attempt(input);
    }
    println!("{seeds} seeds, {} features", fuzzer.seen.len());
    let end = Instant::now() + Duration::from_secs(60 * options.minutes);
    let mut report = Instant::now();
    while Instant::now() < end {
        let mutated = fuzzer.mutated();
        fuzzer.attempt(mutated);
        if report.elapsed() > Duration::from_secs(30) {
            report = Instant::now();
            fuzzer.report();
        }
    }
    fuzzer.report();
    if options.keep {
        fuzzer.keep();
    }
    if fuzzer.findings > 0 {
        process::exit(1);
    }
}

struct Options {
    minutes: u64,
    seed: u64,
    keep: bool,
}

impl Options {
    fn read() -> Self {
        let arguments: Vec<_> = std::env::args().collect();
        let after = |name: &str| {
            let at = arguments.iter().position(|a| a == name)?;
            arguments.get(at + 1)?.parse().ok()
        };
        Self {
            minutes: after("--minutes").unwrap_or(1),
            seed: after("--seed").unwrap_or(1),
            keep: arguments.iter().any(|a| a == "--keep"),
        }
    }
}

/// Ends the process when an input hangs; it is in `current.txt`.
fn watch(start: Instant) {
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let started = STARTED.load(Ordering::SeqCst);
            if started > 0 && u128::from(now.saturating_sub(started)) > HANGS.as_millis() {
                println!("the input in target/fuzz/current.txt hangs");
                process::exit(2);
            }
        }
    });
}

fn manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The golden statements and the templates that ship.
fn golden() -> Vec<Input> {
    let templates = ward_schemas::library::TEMPLATES;
    let templates = templates
        .iter()
        .map(|(_, text)| Input::Template((*text).to_owned()));
    let golden = fs::read_dir(manifest("tests/engine/golden")).expect("golden statements");
    let mut files: Vec<_> = golden.filter_map(|file| Some(file.ok()?.path())).collect();
    files.sort();
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts
        .flat_map(|text| statements(&text))
        .chain(templates)
        .collect()
}

/// The corpus.
fn kept() -> Vec<Input> {
    let corpus = fs::read_to_string(manifest("examples/fuzz/corpus.txt"));
    Input::corpus(&corpus.unwrap_or_default())
}

fn statements(golden: &str) -> Vec<Input> {
    let file: toml::Table = toml::from_str(golden).expect("golden statements");
    let lists = ["accepted", "refused"].map(|list| file.get(list).and_then(toml::Value::as_array));
    let statements = lists.into_iter().flatten().flatten();
    let text = |s: &toml::Value, name: &str| Some(s.get(name)?.as_str()?.to_owned());
    let input = |s: &toml::Value| {
        Some(Input::Statement {
            sql: text(s, "sql")?,
            declared: declarations(&text(s, "declared").unwrap_or_default()),
        })
    };
    statements.filter_map(input).collect()
}

/// The declarations that a few words stand for: those of the golden statements.
fn declarations(words: &str) -> String {
    let contribution = "contribution = { max_groups = 1, max_rows_per_group = 2 }";
    match words {
        "" => contribution.to_owned(),
        "sex" => format!("{contribution}\nkeys.sex = {{ concepts = [8507, 8532] }}"),
        "mean" => format!(
            "{contribution}\nbounds.mean = {{ lower = \"0\", upper = \"10\", step = \"0.1\" }}"
        ),
        whole if whole.contains("contribution") => whole.to_owned(),
        rest => format!("{contribution}\n{rest}"),
    }
}

struct Fuzzer {
    directory: PathBuf,
    choices: Choices,
    words: Words,
    hospitals: Hospitals,
    start: Instant,
    /// Inputs that led to something new.
    corpus: Vec<Input>,
    /// Those of them that are accepted.
    running: Vec<Input>,
    /// What inputs led to, and the shortest that did.
    seen: BTreeMap<String, Input>,
    /// What the golden statements led to.
    known: BTreeSet<String>,
    tried: u64,
    accepted: u64,
    ran: u64,
    findings: u64,
    reasons: BTreeSet<String>,
}

impl Fuzzer {
    fn new(directory: PathBuf, seed: u64) -> Self {
        Self {
            directory,
            choices: Choices::new(seed),
            words: Words::new(),
            hospitals: Hospitals::new(150),
            start: Instant::now(),
            corpus: Vec::new(),
            running: Vec::new(),
            seen: BTreeMap::new(),
            known: BTreeSet::new(),
            tried: 0,
            accepted: 0,
            ran: 0,
            findings: 0,
            reasons: BTreeSet::new(),
        }
    }

    fn mutated(&mut self) -> Input {
        let from = match self.choices.below(4) {
            0 => &self.corpus,
            _ => &self.running,
        };
        let input = self.choices.one(from).clone();
        let other = self.choices.one(&self.corpus).clone();
        mutate::mutate(&mut self.choices, &self.words, &input, &other)
    }

    fn attempt(&mut self, input: Input) {
        let text = input.text();
        fs::write(self.directory.join("current.txt"), &text).expect("target/fuzz");
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        STARTED.store(now.max(1), Ordering::SeqCst);
        self.tried += 1;
        let seen = self.compile(&text);
        let new = seen.features.iter().any(|f| !self.seen.contains_key(f));
        if let Some(accepted) = &seen.accepted {
            self.accepted += 1;
            if new || self.choices.below(10) == 0 {
                self.ran += 1;
                if let Err(finding) = self.hospitals.check(&text, accepted) {
                    self.found(&text, &finding.to_string());
                }
                self.check_panics(&text);
            }
        } else {
            self.reasons.extend(seen.features.iter().cloned());
        }
        self.remember(input, seen);
        STARTED.store(0, Ordering::SeqCst);
    }

    /// Slow only if it is so three times: the machine may have been busy.
    fn compile(&mut self, text: &str) -> Seen {
        let mut seen = check::compile(text);
        for _ in 0..2 {
            if seen.took > LONGEST {
                let again = check::compile(text);
                seen.took = seen.took.min(again.took);
            }
        }
        if seen.took > LONGEST {
            self.found(
                text,
                &format!("it took {:?} to accept or refuse", seen.took),
            );
        }
        self.check_panics(text);
        seen
    }

    fn check_panics(&mut self, text: &str) {
        if PANICS.swap(0, Ordering::SeqCst) > 0 {
            self.found(text, "something panicked");
        }
    }

    fn found(&mut self, text: &str, what: &str) {
        self.findings += 1;
        let name = format!("finding-{}.txt", self.findings);
        println!("{name}: {what}");
        fs::write(self.directory.join(name), format!("{what}\n{text}")).expect("target/fuzz");
    }

    fn remember(&mut self, input: Input, seen: Seen) {
        let length = input.to_string().len();
        let mut new = false;
        let accepted = seen.accepted.is_some();
        for feature in seen.features {
            let before = self.seen.get(&feature).map(|i| i.to_string().len());
            new |= before.is_none();
            if before.is_none_or(|before| length < before) {
                self.seen.insert(feature, input.clone());
            }
        }
        if new && accepted {
            self.running.push(input.clone());
        }
        if new {
            self.corpus.push(input);
        }
    }

    fn report(&self) {
        println!(
            "{:?}: {} inputs, {} accepted, {} of them run, {} in the corpus, {} features, {} reasons, {} findings",
            self.start.elapsed(),
            self.tried,
            self.accepted,
            self.ran,
            self.corpus.len(),
            self.seen.len(),
            self.reasons.len(),
            self.findings
        );
    }

    /// Short inputs that together lead to everything that was seen, but for what the golden
    /// statements lead to.
    fn keep(&self) {
        let visible = |text: &str| text.chars().all(|c| !c.is_control() || c == '\n');
        let short = |i: &&Input| {
            let text = i.to_string();
            text.len() < LARGEST_KEPT && visible(&text) && !text.contains("====")
        };
        let inputs: BTreeSet<_> = self.seen.values().filter(short).collect();
        let mut inputs: Vec<_> = inputs.into_iter().collect();
        inputs.sort_by_key(|input| input.to_string().len());
        let mut covered = self.known.clone();
        inputs.retain(|input| {
            let before = covered.len();
            covered.extend(check::compile(&input.text()).features);
            covered.len() > before
        });
        let texts: Vec<_> = inputs.iter().map(ToString::to_string).collect();
        let file = format!("{}\n", texts.join(input::BETWEEN));
        fs::write(manifest("examples/fuzz/corpus.txt"), file).expect("corpus.txt");
        println!("{} inputs kept", inputs.len());
    }
}
