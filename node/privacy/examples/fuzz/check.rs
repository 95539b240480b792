//! What must hold of any input: it is refused with a reason, or it runs on any hospital, alike in
//! both executions and for any order of rows, and no patient moves it by more than declared.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::catalog::SchemaProvider;
use ward_privacy::{
    Execution, FrozenNoise, NoiseSource, Program, Request, RunError, SelectionKey, run,
};
use ward_schemas::canonical::ContentHash;
use ward_schemas::key::NoVocabulary;
use ward_schemas::parameter::{Parameters, RawParameters};
use ward_schemas::partial::Vectors;
use ward_schemas::plan::Plan;
use ward_schemas::rho::Sigma;
use ward_schemas::template::Template;

use crate::hospital::{self, Layout};

/// What an input led to.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What tells it from other inputs: its refusal, or what its program is made of.
    pub(crate) features: BTreeSet<String>,
    /// How long it took to accept or refuse it.
    pub(crate) took: Duration,
    pub(crate) accepted: Option<Accepted>,
}

/// An accepted template whose parameters have defaults.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) program: Program,
    parameters: Parameters,
}

/// What must not be.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The plan of one template differs from time to time.
    Unstable,
    /// What is accepted can't fail.
    Fails(Execution, Layout),
    /// The executions are to agree, and the order of rows not to matter.
    Differs(Layout),
    /// A patient moves a component of a table by more than its sensitivity.
    Moves {
        table: usize,
        component: usize,
        squared: u128,
        declared: u128,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstable => write!(f, "its plan differs from time to time"),
            Self::Fails(execution, layout) => write!(f, "{execution:?} fails on {layout:?}"),
            Self::Differs(layout) => write!(f, "its answer on {layout:?} differs"),
            Self::Moves {
                table,
                component,
                squared,
                declared,
            } => write!(
                f,
                "a patient moves component {component} of table {table} by √{squared}, and √{declared} is declared"
            ),
        }
    }
}

/// Compiles an input.
pub(crate) fn compile(text: &str) -> Seen {
    let start = Instant::now();
    let refused = |reason: String| (BTreeSet::from([normal(&reason)]), None);
    let (features, accepted) = match accept(text) {
        Ok((template, program)) => {
            let parameters = template.bind(&RawParameters::new()).ok();
            let accepted = parameters.map(|parameters| Accepted {
                program,
                parameters,
            });
            (BTreeSet::new(), accepted)
        }
        Err(reason) => refused(reason),
    };
    let took = start.elapsed();
    Seen {
        features: match &accepted {
            Some(accepted) => pairs(&format!("{:?}", accepted.program)),
            None => features,
        },
        took,
        accepted,
    }
}

fn accept(text: &str) -> Result<(Template, Program), String> {
    let template = Template::parse(text).map_err(|e| e.to_string())?;
    let expanded = template
        .clone()
        .expand(ContentHash::of_bytes(b"none"), &NoVocabulary)
        .map_err(|e| e.to_string())?;
    let program = Program::compile(&expanded).map_err(|e| e.rule.to_string())?;
    Ok((template, program))
}

/// A reason without the names, numbers and fragments in it.
fn normal(reason: &str) -> String {
    let mut kept = String::new();
    let mut quoted = None;
    for c in reason.chars() {
        // Not the apostrophe in "can't".
        let opens = matches!(c, '`' | '"' | '\'') && !kept.ends_with(char::is_alphabetic);
        match quoted {
            Some(end) if c == end => quoted = None,
            Some(_) => {}
            None if opens => quoted = Some(c),
            None if c.is_alphabetic() || matches!(c, ' ' | '\'') => kept.push(c),
            None => {}
        }
    }
    // What stands behind these is a name or a piece of the statement.
    let before = |word: &&str| !matches!(*word, "named" | "found" | "type" | "function");
    let words = kept.split_whitespace().take_while(before);
    words.take(12).collect::<Vec<_>>().join(" ")
}

/// The pairs of neighbours among the names of variants and structs in a debug text.
fn pairs(debug: &str) -> BTreeSet<String> {
    let words = debug.split(|c: char| !c.is_alphanumeric());
    let names = words.filter(|w| w.len() > 2 && w.starts_with(char::is_uppercase));
    let names: Vec<_> = names.collect();
    let pairs = names.windows(2).filter(|pair| pair[0] != pair[1]);
    pairs.map(|pair| pair.join(" ")).collect()
}

/// Hospitals on which what is accepted is run.
pub(crate) struct Hospitals {
    layouts: Vec<(Layout, Arc<dyn SchemaProvider>)>,
    runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct NoNoise;

impl FrozenNoise for NoNoise {
    fn draw(&self, _sigma: Sigma, length: usize) -> Vec<i64> {
        vec![0; length]
    }
}

impl Hospitals {
    /// With so many rows in each table.
    pub(crate) fn new(rows: usize) -> Self {
        let whole = Layout::of(rows);
        let without = [0, 3, 7].map(|patient| Layout {
            without: Some(patient),
            ..whole
        });
        let reversed = Layout {
            batch: 50,
            reversed: true,
            ..whole
        };
        let layouts = [whole, reversed, Layout::of(0)].into_iter().chain(without);
        Self {
            layouts: layouts.map(|l| (l, hospital::tables(l))).collect(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("runtime"),
        }
    }

    /// Runs what was accepted.
    pub(crate) fn check(&self, text: &str, accepted: &Accepted) -> Result<(), Finding> {
        let plan = accepted.program.plan();
        let again = accept(text).ok().map(|(_, program)| program);
        if again.is_none_or(|again| again.plan() != plan) {
            return Err(Finding::Unstable);
        }
        let Some(whole) = self.answer(accepted, Execution::Streaming, 0)? else {
            return Ok(());
        };
        for (execution, at) in [(Execution::Relational, 0), (Execution::Streaming, 1)] {
            let other = self.answer(accepted, execution, at)?;
            if other.is_some_and(|other| other != whole) {
                return Err(Finding::Differs(self.layouts[at].0));
            }
        }
        for at in 2..self.layouts.len() {
            let other = self.answer(accepted, Execution::Streaming, at)?;
            match other {
                Some(other) if self.layouts[at].0.without.is_some() => {
                    check_distance(plan, &whole, &other)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `None` where the plan asks for more than a moment: joins of public tables without a
    /// condition.
    pub(crate) fn answer(
        &self,
        accepted: &Accepted,
        execution: Execution,
        at: usize,
    ) -> Result<Option<Vectors>, Finding> {
        let (layout, tables) = &self.layouts[at];
        let request = Request {
            program: &accepted.program,
            parameters: &accepted.parameters,
            rho: accepted.program.plan().rho(),
            tables: Arc::clone(tables),
            selection_key: &SelectionKey::from_bytes([7; 16]),
            execution,
        };
        let noise = NoiseSource::frozen(Box::new(NoNoise));
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(5), run(request, &noise)).await
        });
        match answer {
            Ok(Ok(answer)) => Ok(Some(answer.vectors)),
            // Too little ρ for noise: decided by the template.
            Ok(Err(RunError::Rho)) | Err(_) => Ok(None),
            Ok(Err(_)) => Err(Finding::Fails(execution, *layout)),
        }
    }
}

/// Where all keys are public, so that both answers are of one shape.
pub(crate) fn check_distance(plan: &Plan, one: &Vectors, other: &Vectors) -> Result<(), Finding> {
    let public = |t: &usize| plan.tables[*t].data_key.is_none();
    for table in (0..plan.tables.len()).filter(public) {
        for (index, component) in plan.tables[table].components.iter().enumerate() {
            let (a, b) = (&one.values()[table][index], &other.values()[table][index]);
            let squares = a.iter().zip(b).map(|(a, b)| {
                let distance = (i128::from(*a) - i128::from(*b)).unsigned_abs();
                distance.saturating_mul(distance)
            });
            let squared = squares.fold(0, u128::saturating_add);
            let declared = plan.tables[table].sensitivity_squared(component);
            if squared > declared {
                return Err(Finding::Moves {
                    table,
                    component: index,
                    squared,
                    declared,
                });
            }
        }
    }
    Ok(())
}
