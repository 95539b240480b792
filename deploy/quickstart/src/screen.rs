//! What is shown: lines on standard output, spinners on a terminal's standard error.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::{Style, Term};
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ward_data::ImportReport;
use ward_quickstart::deployment::{Progress, Step};
use ward_schemas::names::NodeName;

/// Width of the first column of lines.
const NAME: usize = 22;
/// The widest that answers are drawn, in characters.
const WIDEST: usize = 110;

/// Where it is shown.
pub(crate) struct Screen {
    /// Width of answers, in characters.
    pub(crate) width: usize,
    /// Whether standard output shows colour.
    pub(crate) color: bool,
    /// Whether standard error is a terminal.
    pub(crate) spinners: bool,
}

impl Screen {
    /// The process's own.
    pub(crate) fn new() -> Self {
        let columns = Term::stdout().size_checked();
        let width = columns.map_or(100, |(_rows, columns)| usize::from(columns));
        Self {
            width: width.min(WIDEST),
            color: io::stdout().is_terminal() && console::colors_enabled(),
            spinners: io::stderr().is_terminal(),
        }
    }

    /// A heading, after an empty line.
    pub(crate) fn heading(&self, text: &str) {
        let style = Style::new().bold().force_styling(self.color);
        print(&format!("\n{}\n", style.apply_to(text)));
    }

    /// A line that tells what happened to something.
    pub(crate) fn line(&self, name: impl Display, text: impl Display) {
        let style = Style::new().cyan().force_styling(self.color);
        let name = format!("{name:<NAME$}");
        print(&format!("  {}{text}\n", style.apply_to(name)));
    }

    /// A command line, below what it is for.
    pub(crate) fn command(&self, purpose: &str, line: &str) {
        let style = Style::new().dim().force_styling(self.color);
        print(&format!(
            "  {}\n  {line}\n\n",
            style.apply_to(format!("# {purpose}"))
        ));
    }
}

/// Standard output that nobody reads any more is no reason to stop serving.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Shows how the deployment is made.
pub(crate) struct Making<'a> {
    screen: &'a Screen,
    all: MultiProgress,
    nodes: Mutex<BTreeMap<NodeName, AtNode>>,
}

struct AtNode {
    bar: ProgressBar,
    since: Instant,
    imported: String,
}

impl<'a> Making<'a> {
    pub(crate) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            // Drawn on a terminal only.
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            nodes: Mutex::default(),
        }
    }

    fn line(&self, name: impl Display, text: impl Display) {
        self.all.suspend(|| self.screen.line(name, text));
    }

    fn at_node(&self, node: &NodeName, work: impl FnOnce(&mut AtNode)) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        work(nodes.entry(node.clone()).or_insert_with(|| AtNode {
            bar: self.all.add(spinner(node)),
            since: Instant::now(),
            imported: String::new(),
        }));
    }
}

impl Progress for Making<'_> {
    fn step(&self, step: &Step) {
        match step {
            Step::Certified { .. } => self.line(
                "certificates",
                "one authority; every service proves its name, mutual TLS everywhere",
            ),
            Step::VocabularyPacked { hash } => {
                self.line("vocabulary", format!("package sha256:{}…", hash.short()));
            }
            Step::PermitIssued { permit } => self.line(
                "permit",
                format!(
                    "{}: {} may ask {} templates at {} nodes, for ρ {} at each",
                    permit.id,
                    permit
                        .persons
                        .iter()
                        .map(|p| p.as_str())
                        .collect::<Vec<_>>()
                        .join(", "),
                    permit.templates.len(),
                    permit.nodes.len(),
                    permit.budget
                ),
            ),
            Step::Generating { node, patients, of } => self.at_node(node, |at| {
                let done = HumanCount(*patients);
                at.bar
                    .set_message(format!("generating {done} of {} patients", HumanCount(*of)));
            }),
            Step::Importing { node, table } => self.at_node(node, |at| {
                at.bar.set_message(format!("importing {table}"));
            }),
            Step::Imported { node, report } => self.at_node(node, |at| {
                at.imported = imported(report);
                at.bar.set_message("the steward reads the templates");
            }),
            Step::Ready { node, approved } => self.at_node(node, |at| {
                at.bar.finish_and_clear();
                let seconds = at.since.elapsed().as_secs_f32();
                let approved = approved.len();
                let text = format!(
                    "{}; steward approved {approved} templates ({seconds:.1} s)",
                    at.imported
                );
                self.line(node, text);
            }),
        }
    }
}

/// What the hospital itself sees of its import: true counts.
fn imported(report: &ImportReport) -> String {
    let persons = report.tables.iter().find(|t| t.table == "person");
    let persons = HumanCount(persons.map_or(0, |t| t.kept));
    let kept = HumanCount(report.tables.iter().map(|t| t.kept).sum());
    let rejected: u64 = report.tables.iter().flat_map(|t| t.rejected.values()).sum();
    match rejected {
        0 => format!("{persons} patients, {kept} rows imported"),
        _ => format!(
            "{persons} patients, {kept} rows imported, {} rejected",
            HumanCount(rejected)
        ),
    }
}

fn spinner(node: &NodeName) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_prefix(format!("{node:<NAME$}"));
    if let Ok(style) = ProgressStyle::with_template("  {prefix}{spinner} {msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
