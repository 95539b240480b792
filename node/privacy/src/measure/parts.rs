//! The components of a table under construction. What two columns measure alike is measured once: a
//! component has the sum of the weights that its columns give it, so that sharing leaves nobody with less.

use datafusion::logical_expr::Expr as SqlExpr;
use ward_schemas::decimal::Grid;
use ward_schemas::finish::TreeLevel;
use ward_schemas::names::Ident;
use ward_schemas::plan::{Component, ComponentUnit};

use super::{Input, InputKind, Source, Tally, TallyKind};
use crate::refusal::Rule;
use crate::scalar::Scalar;

/// A component, and what a column gives it of its [`WHOLE`].
pub(super) type Part = (usize, u64);

/// What a column of weight 1 has to give: a multiple of all numbers of levels that a tree has.
pub(super) const WHOLE: u64 = 27_720;

/// The largest `bound`, in units.
const MAX_BOUND: u64 = 1 << 40;

/// What an aggregate reads of each row: as it was written, which tells whether two read the same,
/// and as it is computed.
pub(super) struct Reading {
    /// None where every row counts.
    pub(super) argument: Option<SqlExpr>,
    pub(super) scalar: Option<Scalar>,
    pub(super) filter: Option<SqlExpr>,
    pub(super) condition: Option<Scalar>,
}

/// See the module.
pub(super) struct Parts {
    /// L, the rows of a patient that count in a group.
    limit: u64,
    components: Vec<Component>,
    pub(super) inputs: Vec<Input>,
    pub(super) tallies: Vec<Tally>,
    pub(super) sources: Vec<Source>,
    /// By component.
    weights: Vec<u64>,
    read: Vec<(Key<How>, usize)>,
    measured: Vec<(Key<What>, Vec<usize>)>,
}

/// What is done with an argument, under a filter.
#[derive(Clone, PartialEq)]
struct Key<T> {
    argument: Option<SqlExpr>,
    filter: Option<SqlExpr>,
    what: T,
}

/// How an input reads its argument.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Presence,
    Value(Grid, i64),
    Square(Grid),
}

/// What is measured of it.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Patients,
    /// However it is read: presence and value count alike.
    Rows,
    Sum(Grid, i64),
    Squares(Grid),
    Tree(Grid),
}

impl Parts {
    pub(super) fn new(max_rows_per_group: u32) -> Self {
        Self {
            limit: u64::from(max_rows_per_group),
            components: Vec::new(),
            inputs: Vec::new(),
            tallies: Vec::new(),
            sources: Vec::new(),
            weights: Vec::new(),
            read: Vec::new(),
            measured: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// The patients that are read.
    pub(super) fn patients(&mut self, name: String, reading: &Reading) -> usize {
        let key = reading.key(What::Patients);
        self.count(name, key, reading, How::Presence, TallyKind::Patients, 1)
    }

    /// The rows that are read.
    pub(super) fn rows(&mut self, name: String, reading: &Reading) -> usize {
        self.rows_read(name, reading, How::Presence)
    }

    /// The rows with a value: where sums are read too, by the way.
    pub(super) fn rows_of_values(
        &mut self,
        name: String,
        reading: &Reading,
        grid: Grid,
        origin: i64,
    ) -> usize {
        self.rows_read(name, reading, How::Value(grid, origin))
    }

    fn rows_read(&mut self, name: String, reading: &Reading, how: How) -> usize {
        let key = reading.key(What::Rows);
        self.count(name, key, reading, how, TallyKind::Rows, self.limit)
    }

    fn count(
        &mut self,
        name: String,
        key: Key<What>,
        reading: &Reading,
        how: How,
        kind: TallyKind,
        bound: u64,
    ) -> usize {
        if let Some(component) = self.found(&key) {
            return component;
        }
        let input = self.input(reading, how);
        let tally = self.tally(Tally { input, kind, bound });
        let component = self.component(name, ComponentUnit::One, tally, 1);
        self.measured.push((key, vec![component]));
        component
    }

    /// The sum of values, relative to an origin.
    pub(super) fn sum(
        &mut self,
        name: String,
        column: &Ident,
        reading: &Reading,
        grid: Grid,
        origin: i64,
    ) -> Result<usize, Rule> {
        let unit = ComponentUnit::Steps { grid, origin };
        let reach = u128::from(grid.reach(origin));
        let key = reading.key(What::Sum(grid, origin));
        let input = |parts: &mut Self| parts.input(reading, How::Value(grid, origin));
        self.added(name, column, key, unit, reach, input)
    }

    /// The sum of squares, relative to the grid's centre and half of the largest.
    pub(super) fn squares(
        &mut self,
        column: &Ident,
        reading: &Reading,
        grid: Grid,
    ) -> Result<usize, Rule> {
        let unit = ComponentUnit::SquareSteps { grid };
        let largest = u128::from(grid.reach(grid.centre())).pow(2);
        let reach = largest - grid.half_square();
        let key = reading.key(What::Squares(grid));
        let name = format!("{column} (squares)");
        let input = |parts: &mut Self| parts.input(reading, How::Square(grid));
        self.added(name, column, key, unit, reach, input)
    }

    fn added(
        &mut self,
        name: String,
        column: &Ident,
        key: Key<What>,
        unit: ComponentUnit,
        reach: u128,
        input: impl FnOnce(&mut Self) -> usize,
    ) -> Result<usize, Rule> {
        if let Some(component) = self.found(&key) {
            return Ok(component);
        }
        let bound = reach.checked_mul(u128::from(self.limit));
        let bound = bound.and_then(|b| u64::try_from(b).ok());
        let bound = bound.filter(|b| *b <= MAX_BOUND);
        let bound = bound.ok_or_else(|| Rule::BoundsWide {
            column: column.to_string(),
        })?;
        let kind = TallyKind::Sum;
        let input = input(self);
        let tally = self.tally(Tally { input, kind, bound });
        let component = self.component(name, unit, tally, 1);
        self.measured.push((key, vec![component]));
        Ok(component)
    }

    /// A tree of counts over a grid's points, its levels' spans given, the coarsest first.
    pub(super) fn tree(
        &mut self,
        column: &Ident,
        reading: &Reading,
        grid: Grid,
        spans: &[u32],
    ) -> Vec<TreeLevel> {
        let key = reading.key(What::Tree(grid));
        let known = self.measured.iter().find(|(k, _)| *k == key);
        let components = match known {
            Some((_, components)) => components.clone(),
            None => {
                let components = self.new_tree(column, reading, grid, spans);
                self.measured.push((key, components.clone()));
                components
            }
        };
        let levels = components.into_iter().zip(spans);
        let level = |(component, span): (usize, &u32)| TreeLevel {
            component,
            span: *span,
        };
        levels.map(level).collect()
    }

    fn new_tree(
        &mut self,
        column: &Ident,
        reading: &Reading,
        grid: Grid,
        spans: &[u32],
    ) -> Vec<usize> {
        let input = self.input(reading, How::Value(grid, grid.lower_steps()));
        let points = u32::try_from(grid.points()).unwrap_or(u32::MAX);
        let tally = self.tally(Tally {
            input,
            kind: TallyKind::Bins { points },
            bound: self.limit,
        });
        let levels = spans.len();
        let level = |(i, span): (usize, &u32)| {
            let name = format!("{column} (level {} of {levels})", i + 1);
            let unit = ComponentUnit::Bins { grid, span: *span };
            self.component(name, unit, tally, *span as usize)
        };
        spans.iter().enumerate().map(level).collect()
    }

    /// Gives a column's weight to what it is made of: alike to its aggregates, each of which divides
    /// it among its parts.
    pub(super) fn weigh(&mut self, weight: u32, mut made_of: Vec<(usize, Vec<Part>)>) {
        made_of.sort_by_key(|(aggregate, _)| *aggregate);
        made_of.dedup_by_key(|(aggregate, _)| *aggregate);
        let aggregates = made_of.len() as u64;
        for (component, part) in made_of.into_iter().flat_map(|(_, parts)| parts) {
            self.weights[component] += u64::from(weight) * part / aggregates;
        }
    }

    /// The components with their weights, in lowest terms.
    ///
    /// # Errors
    /// When there are too many of them.
    pub(super) fn components(&self) -> Result<Vec<Component>, Rule> {
        let divisor = self.weights.iter().copied().fold(0, gcd).max(1);
        let weighed = self.components.iter().zip(&self.weights);
        let weighed = weighed.map(|(component, weight)| {
            Some(Component {
                weight: u32::try_from(weight / divisor).ok()?,
                ..component.clone()
            })
        });
        weighed.collect::<Option<_>>().ok_or(Rule::Large {
            what: "measures",
            found: self.components.len(),
            limit: 1000,
        })
    }

    /// What counts patients, if anything does.
    pub(super) fn counts_patients(&self) -> Option<&Component> {
        let mut sources = self.components.iter().zip(&self.sources);
        let kind = |source: &Source| self.tallies[source.tally].kind;
        let found = sources.find(|(_, source)| kind(source) == TallyKind::Patients);
        found.map(|(component, _)| component)
    }

    fn found(&self, key: &Key<What>) -> Option<usize> {
        let known = self.measured.iter().find(|(k, _)| k == key);
        known.and_then(|(_, components)| components.first().copied())
    }

    fn input(&mut self, reading: &Reading, how: How) -> usize {
        let key = reading.key(how);
        if let Some((_, input)) = self.read.iter().find(|(k, _)| *k == key) {
            return *input;
        }
        self.inputs.push(Input {
            kind: reading.kind(how),
            filter: reading.condition.clone(),
        });
        self.read.push((key, self.inputs.len() - 1));
        self.inputs.len() - 1
    }

    fn tally(&mut self, tally: Tally) -> usize {
        self.tallies.push(tally);
        self.tallies.len() - 1
    }

    fn component(&mut self, name: String, unit: ComponentUnit, tally: usize, span: usize) -> usize {
        self.components.push(Component {
            name: self.unused(name),
            unit,
            bound: self.tallies[tally].bound,
            weight: 0,
        });
        self.sources.push(Source { tally, span });
        self.weights.push(0);
        self.components.len() - 1
    }

    /// One column may count several things.
    fn unused(&self, name: String) -> String {
        let taken = |name: &str| self.components.iter().any(|c| c.name == name);
        if !taken(&name) {
            return name;
        }
        let numbered = (2..).map(|i| format!("{name} {i}"));
        numbered.into_iter().find(|n| !taken(n)).unwrap_or(name)
    }
}

impl Reading {
    fn key<T>(&self, what: T) -> Key<T> {
        Key {
            argument: self.argument.clone(),
            filter: self.filter.clone(),
            what,
        }
    }

    fn kind(&self, how: How) -> InputKind {
        match (how, self.scalar.clone()) {
            (How::Presence, scalar) => InputKind::Presence(scalar),
            (How::Value(grid, origin), Some(scalar)) => InputKind::Value {
                scalar,
                grid,
                origin,
            },
            (How::Square(grid), Some(scalar)) => InputKind::Square { scalar, grid },
            // Whoever reads values has an argument.
            (How::Value(..) | How::Square(_), None) => InputKind::Presence(None),
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
