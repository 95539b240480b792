//! The wait, node by node: spinners on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ward_schemas::names::NodeName;
use ward_schemas::wire::{AskEvent, Phase};

/// Shows how far each node is.
pub enum Progress<W> {
    /// A spinner a node, on a terminal's standard error.
    Spinners(Spinners),
    /// A line an event.
    Lines(W),
}

/// One spinner a node.
#[derive(Debug)]
pub struct Spinners {
    all: MultiProgress,
    nodes: BTreeMap<NodeName, ProgressBar>,
}

impl<W: Write> Progress<W> {
    /// Spinners on a terminal, lines into `lines` elsewhere.
    pub fn new(terminal: bool, lines: W) -> Self {
        if !terminal {
            return Self::Lines(lines);
        }
        Self::Spinners(Spinners {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            nodes: BTreeMap::new(),
        })
    }

    /// Shows one more event.
    pub fn event(&mut self, event: &AskEvent) {
        match self {
            Self::Spinners(spinners) => spinners.event(event),
            Self::Lines(out) => {
                if let Some(line) = line(event) {
                    // Progress that nobody reads is no reason to give up the answer.
                    let _ = writeln!(out, "{line}");
                }
            }
        }
    }
}

impl Spinners {
    fn event(&mut self, event: &AskEvent) {
        match event {
            AskEvent::Accepted { nodes, .. } => {
                let width = nodes.iter().map(|n| n.as_str().len()).max().unwrap_or(0);
                for node in nodes {
                    let spinner = self.all.add(spinner(node, width));
                    self.nodes.insert(node.clone(), spinner);
                }
            }
            AskEvent::Node { node, phase } => {
                if let Some(spinner) = self.nodes.get(node) {
                    show(spinner, *phase);
                }
            }
            AskEvent::Done { .. } | AskEvent::Failed { .. } => {
                self.nodes.values().for_each(ProgressBar::abandon);
            }
        }
    }
}

fn spinner(node: &NodeName, width: usize) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_prefix(format!("{node:<width$}"));
    if let Ok(style) = ProgressStyle::with_template("{prefix}  {spinner} {msg}") {
        spinner.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn show(spinner: &ProgressBar, phase: Phase) {
    match phase {
        Phase::Quoting | Phase::Asked => spinner.set_message(word(phase)),
        Phase::Answered | Phase::LeftOut => spinner.finish_with_message(word(phase)),
    }
}

/// An event as a line; none for the last one, which the answer or the error follows.
pub fn line(event: &AskEvent) -> Option<String> {
    match event {
        AskEvent::Accepted { release, nodes } => {
            let names: Vec<_> = nodes.iter().map(NodeName::as_str).collect();
            Some(format!("release {release}: asking {}", names.join(", ")))
        }
        AskEvent::Node { node, phase } => Some(format!("{node}: {}", word(*phase))),
        AskEvent::Done { .. } | AskEvent::Failed { .. } => None,
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Quoting => "quoting",
        Phase::Asked => "computing",
        Phase::Answered => "answered",
        Phase::LeftOut => "left out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().expect("name")
    }

    #[test]
    fn without_a_terminal_each_event_is_a_line() {
        let mut out = Vec::new();
        let mut progress = Progress::new(false, &mut out);
        let release = "00".repeat(16).parse().expect("release");
        let nodes = vec![node("a"), node("b")];
        progress.event(&AskEvent::Accepted { release, nodes });
        let phases = [
            ("a", Phase::Quoting),
            ("a", Phase::Answered),
            ("b", Phase::LeftOut),
        ];
        for (name, phase) in phases {
            let node = node(name);
            progress.event(&AskEvent::Node { node, phase });
        }
        let text = String::from_utf8(out).expect("text");
        let expected = "release 00000000000000000000000000000000: asking a, b\n\
                        a: quoting\na: answered\nb: left out\n";
        assert_eq!(text, expected);
    }
}
