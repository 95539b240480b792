//! The outermost aggregate: group keys, measures and final expressions become the layout of
//! integer vectors.

mod data_key;

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr as SqlExpr, LogicalPlan, Operator, Projection};
use ward_schemas::decimal::{Decimal, Grid};
use ward_schemas::finish::Expr;
use ward_schemas::key::{KeyDomain, KeyValue};
use ward_schemas::names::Ident;
use ward_schemas::plan::{Column, ColumnContent, Component, ComponentUnit, KeyColumn, TablePlan};
use ward_schemas::template::{Contribution, TableSpec};

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Owner, Relation, Role};
use crate::scalar::{Scalar, Scope, unsupported};
use crate::track;

/// The largest `bound`, in units.
const MAX_BOUND: u64 = 1 << 40;

/// What is computed for one table: the rows, and how each turns into contributions.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) relation: Relation,
    /// Column of the patient.
    pub(crate) patient: usize,
    /// One expression a key, in the order of the plan's keys.
    pub(crate) keys: Vec<Scalar>,
    /// The key that comes from data.
    pub(crate) data_key: Option<Scalar>,
    /// What is read from each row.
    pub(crate) inputs: Vec<Input>,
    /// How the plan's components follow from the inputs, one each.
    pub(crate) tallies: Vec<Tally>,
}

/// What a measure reads from a row: nothing where the filter is not true.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) kind: InputKind,
    pub(crate) filter: Option<Scalar>,
}

impl Input {
    /// Whether every row counts: then there is nothing to read.
    pub(crate) fn is_every_row(&self) -> bool {
        matches!(self.kind, InputKind::Presence(None)) && self.filter.is_none()
    }
}

/// What a measure reads.
#[derive(Clone, Debug)]
pub(crate) enum InputKind {
    /// Whether the row counts: always, or where the expression is not NULL.
    Presence(Option<Scalar>),
    /// A value on a grid, relative to its origin.
    Value {
        scalar: Scalar,
        grid: Grid,
        origin: i64,
    },
}

/// A component's contribution of one patient to one group, given the input's rows m and their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) input: usize,
    pub(crate) kind: TallyKind,
    /// The component's bound on one patient's part of one cell.
    pub(crate) bound: u64,
}

/// How rows turn into a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TallyKind {
    /// 1 if there is any.
    Patients,
    /// m, at most the limit L.
    Rows,
    /// The sum, scaled by L/m where m exceeds L.
    Sum,
}

/// Compiles the planned statement of one table.
///
/// # Errors
/// When it is outside the accepted form.
pub(crate) fn compile(
    spec: &TableSpec,
    domains: &BTreeMap<Ident, KeyDomain>,
    plan: &LogicalPlan,
    model: &Model,
) -> Result<(TablePlan, Query), Rule> {
    let (projection, aggregate) = outermost(plan)?;
    let relation = track::relation(&aggregate.input, model)?;
    let Owner::Patient { column, .. } = relation.owner else {
        return Err(Rule::Public);
    };
    let mut compiler = Compiler {
        spec,
        scope: track::scope(aggregate.input.schema(), &relation),
        patient: column,
        aggregate,
        components: Vec::new(),
        inputs: Vec::new(),
        tallies: Vec::new(),
        counts: BTreeMap::new(),
        used_bounds: Vec::new(),
    };
    let columns = compiler.columns(projection)?;
    let data_key = compiler.data_key(&columns)?;
    let (key_columns, keys) = compiler.keys(&columns, domains, data_key.as_ref())?;
    compiler.check_declarations(&columns)?;
    let Compiler {
        components,
        inputs,
        tallies,
        ..
    } = compiler;
    let declared = spec.contribution.max_groups;
    let of_row = |key: &data_key::Found| !is_of_patient(&key.scalar, &relation);
    let max_groups = if data_key.as_ref().is_some_and(of_row) {
        declared
    } else {
        reachable_groups(declared, &key_columns, &keys, &relation)
    };
    let contribution = Contribution {
        max_groups,
        ..spec.contribution
    };
    let mut table = TablePlan {
        name: spec.name.clone(),
        keys: key_columns,
        totals: Vec::new(),
        data_key: None,
        contribution,
        rho: spec.rho,
        delta: spec.delta,
        components,
        columns,
    };
    let mut query = Query {
        patient: column,
        keys,
        data_key: None,
        inputs,
        tallies,
        relation,
    };
    if let Some(key) = data_key {
        key.add(&mut table, &mut query)?;
    }
    Ok((table, query))
}

/// How many groups one patient's rows can fall into: keys that are functions of the patient have
/// one value there, so they cost nothing.
fn reachable_groups(
    declared: u32,
    columns: &[KeyColumn],
    keys: &[Scalar],
    relation: &Relation,
) -> u32 {
    let reachable = columns
        .iter()
        .zip(keys)
        .filter(|(_, key)| !is_of_patient(key, relation))
        .fold(1_usize, |n, (column, _)| {
            n.saturating_mul(column.domain.len())
        });
    u32::try_from(reachable).unwrap_or(u32::MAX).min(declared)
}

/// Whether an expression has one value in all rows of a patient.
fn is_of_patient(scalar: &Scalar, relation: &Relation) -> bool {
    let mut columns = scalar.columns().into_iter();
    columns.all(|c| relation.fields[c].of_patient)
}

fn outermost(plan: &LogicalPlan) -> Result<(&Projection, &Aggregate), Rule> {
    let not_aggregate = |plan| Rule::NotAggregate {
        fragment: track::describe(plan),
    };
    let LogicalPlan::Projection(projection) = plan else {
        return Err(match plan {
            LogicalPlan::Distinct(_) => Rule::Unsupported {
                what: "SELECT DISTINCT",
                fragment: track::describe(plan),
                remedy: "Groups are distinct already",
            },
            _ => not_aggregate(plan),
        });
    };
    match projection.input.as_ref() {
        LogicalPlan::Aggregate(aggregate) => Ok((projection, aggregate)),
        LogicalPlan::Filter(filter)
            if matches!(filter.input.as_ref(), LogicalPlan::Aggregate(_)) =>
        {
            Err(unsupported(
                "HAVING",
                &filter.predicate,
                "Filter the release: that is free",
            ))
        }
        other => Err(not_aggregate(other)),
    }
}

struct Compiler<'a> {
    spec: &'a TableSpec,
    scope: Scope<'a>,
    /// Column of the patient.
    patient: usize,
    aggregate: &'a Aggregate,
    components: Vec<Component>,
    inputs: Vec<Input>,
    tallies: Vec<Tally>,
    /// Components of counts, by aggregate: the same count is measured once.
    counts: BTreeMap<usize, usize>,
    used_bounds: Vec<Ident>,
}

impl Compiler<'_> {
    fn columns(&mut self, projection: &Projection) -> Result<Vec<Column>, Rule> {
        let mut columns: Vec<Column> = Vec::new();
        for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
            let name: Ident = field
                .name()
                .parse()
                .map_err(|_| Rule::Unnamed(shorten(field.name())))?;
            if columns.iter().any(|c| c.name == name) {
                return Err(Rule::ColumnTwice(name.to_string()));
            }
            let content = self.content(expr, &name)?;
            let bounds = self.spec.bounds.get(&name);
            columns.push(Column {
                unit: bounds.map_or_else(String::new, |b| b.unit.clone()),
                name,
                content,
            });
        }
        if self.components.is_empty() {
            return Err(Rule::NoMeasure);
        }
        Ok(columns)
    }

    fn content(&mut self, expr: &SqlExpr, name: &Ident) -> Result<ColumnContent, Rule> {
        match self.output(expr) {
            Some(index) if index < self.aggregate.group_expr.len() => {
                Ok(ColumnContent::Key { index })
            }
            _ => Ok(ColumnContent::Measure {
                expr: self.finish(expr, name)?,
            }),
        }
    }

    /// The aggregate's output that an expression names: group keys first, then aggregates.
    fn output(&self, expr: &SqlExpr) -> Option<usize> {
        match expr {
            SqlExpr::Alias(alias) => self.output(&alias.expr),
            SqlExpr::Column(column) => self.schema().maybe_index_of_column(column),
            _ => None,
        }
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.aggregate.schema
    }

    /// The expression over components that a column's expression over aggregates stands for.
    fn finish(&mut self, expr: &SqlExpr, column: &Ident) -> Result<Expr, Rule> {
        match expr {
            SqlExpr::Alias(alias) => self.finish(&alias.expr, column),
            SqlExpr::Column(_) => match self.output(expr) {
                Some(index) if index >= self.aggregate.group_expr.len() => {
                    self.measure(index - self.aggregate.group_expr.len(), column)
                }
                _ => Err(unsupported(
                    "a group key in arithmetic",
                    expr,
                    "Select the key by itself",
                )),
            },
            SqlExpr::Literal(value, _) => literal(value, expr),
            // Final values are doubles.
            SqlExpr::Cast(cast) => self.finish(&cast.expr, column),
            SqlExpr::TryCast(cast) => self.finish(&cast.expr, column),
            SqlExpr::BinaryExpr(b) => {
                let left = Box::new(self.finish(&b.left, column)?);
                let right = Box::new(self.finish(&b.right, column)?);
                match b.op {
                    Operator::Plus => Ok(Expr::Add { left, right }),
                    Operator::Minus => Ok(Expr::Subtract { left, right }),
                    Operator::Multiply => Ok(Expr::Multiply { left, right }),
                    Operator::Divide => self.quotient(b, left, right),
                    _ => Err(unsupported(
                        "this operator",
                        expr,
                        "Combine measures with +, -, * and /",
                    )),
                }
            }
            _ => Err(unsupported(
                "this expression over measures",
                expr,
                "Combine measures and numbers with +, -, * and /",
            )),
        }
    }

    /// SQL's integer division drops the fraction, which a noisy quotient must not.
    fn quotient(
        &self,
        b: &datafusion::logical_expr::BinaryExpr,
        left: Box<Expr>,
        right: Box<Expr>,
    ) -> Result<Expr, Rule> {
        let scope = Scope {
            schema: self.schema(),
            fields: &[],
        };
        if scope.type_of(&b.left)? == DataType::Int64 && scope.type_of(&b.right)? == DataType::Int64
        {
            return Err(Rule::Unsupported {
                what: "division of integers",
                fragment: shorten(&b.to_string()),
                remedy: "Write 1.0 * a / b",
            });
        }
        Ok(Expr::Divide { left, right })
    }

    fn measure(&mut self, index: usize, column: &Ident) -> Result<Expr, Rule> {
        if let Some(component) = self.counts.get(&index) {
            return Ok(Expr::component(*component));
        }
        let Some(expr) = self.aggregate.aggr_expr.get(index) else {
            return Err(Rule::Unplannable("a grouping set".into()));
        };
        let SqlExpr::AggregateFunction(function) = strip_alias(expr) else {
            return Err(unsupported("this aggregate", expr, AGGREGATES));
        };
        check_modifiers(expr, function)?;
        let filter = function.params.filter.as_ref();
        let filter = filter.map(|f| self.scope.scalar(f)).transpose()?;
        match (function.func.name(), function.params.distinct) {
            ("count", false) => self.count(index, column, function, filter),
            ("count", true) => self.count_patients(index, column, expr, function, filter),
            ("sum", false) => self.sum(column, expr, function, filter),
            ("avg", false) => self.mean(column, expr, function, filter),
            ("min" | "max", _) => Err(unsupported(
                "MIN or MAX",
                expr,
                "It shows one patient's value; use AVG, or count patients above a threshold",
            )),
            _ => Err(unsupported("this aggregate", expr, AGGREGATES)),
        }
    }

    fn count(
        &mut self,
        index: usize,
        column: &Ident,
        function: &AggregateFunction,
        filter: Option<Scalar>,
    ) -> Result<Expr, Rule> {
        let present = match function.params.args.as_slice() {
            [SqlExpr::Literal(value, _)] if !value.is_null() => None,
            [argument] => Some(self.countable(argument)?),
            _ => return Err(Rule::Unplannable("COUNT takes one argument".into())),
        };
        let input = self.input(InputKind::Presence(present), filter);
        let limit = u64::from(self.spec.contribution.max_rows_per_group);
        let component = self.component(
            column.to_string(),
            ComponentUnit::One,
            limit,
            input,
            TallyKind::Rows,
        );
        self.counts.insert(index, component);
        Ok(Expr::component(component))
    }

    /// Whether an identifier is there may be counted; its value is not looked at.
    fn countable(&self, argument: &SqlExpr) -> Result<Scalar, Rule> {
        match self.scope.bare_column(argument) {
            Some(column) => Ok(Scalar::Column(column)),
            None => self.scope.scalar(argument),
        }
    }

    fn count_patients(
        &mut self,
        index: usize,
        column: &Ident,
        expr: &SqlExpr,
        function: &AggregateFunction,
        filter: Option<Scalar>,
    ) -> Result<Expr, Rule> {
        let [argument] = function.params.args.as_slice() else {
            return Err(Rule::Unplannable("COUNT takes one argument".into()));
        };
        let patient = self
            .scope
            .bare_column(argument)
            .filter(|i| self.scope.fields[*i].role == Role::Patient);
        let Some(patient) = patient else {
            return Err(unsupported(
                "COUNT(DISTINCT …) of anything but person_id",
                expr,
                "Count patients, or rows with COUNT(*)",
            ));
        };
        // Every column of this role is the row's patient or, behind an outer join, NULL; but for the
        // one that owns the row, which is never NULL.
        let present = (patient != self.patient).then_some(Scalar::Column(patient));
        let input = self.input(InputKind::Presence(present), filter);
        let component = self.component(
            column.to_string(),
            ComponentUnit::One,
            1,
            input,
            TallyKind::Patients,
        );
        self.counts.insert(index, component);
        Ok(Expr::component(component))
    }

    fn sum(
        &mut self,
        column: &Ident,
        expr: &SqlExpr,
        function: &AggregateFunction,
        filter: Option<Scalar>,
    ) -> Result<Expr, Rule> {
        let grid = self.grid(column)?;
        let input = self.value(expr, function, filter, grid, 0)?;
        let sum = self.sum_component(column.to_string(), column, grid, 0, input)?;
        Ok(Expr::component(sum))
    }

    fn mean(
        &mut self,
        column: &Ident,
        expr: &SqlExpr,
        function: &AggregateFunction,
        filter: Option<Scalar>,
    ) -> Result<Expr, Rule> {
        let grid = self.grid(column)?;
        let origin = grid.centre();
        let input = self.value(expr, function, filter, grid, origin)?;
        let limit = u64::from(self.spec.contribution.max_rows_per_group);
        let sum = self.sum_component(format!("{column} (sum)"), column, grid, origin, input)?;
        let name = format!("{column} (count)");
        let count = self.component(name, ComponentUnit::One, limit, input, TallyKind::Rows);
        Ok(Expr::mean(grid.centre_value(), sum, count))
    }

    fn grid(&mut self, column: &Ident) -> Result<Grid, Rule> {
        let missing = || Rule::BoundsMissing {
            column: column.to_string(),
        };
        let bounds = self.spec.bounds.get(column).ok_or_else(missing)?;
        self.used_bounds.push(column.clone());
        bounds.grid().map_err(|e| Rule::Unplannable(e.to_string()))
    }

    fn value(
        &mut self,
        expr: &SqlExpr,
        function: &AggregateFunction,
        filter: Option<Scalar>,
        grid: Grid,
        origin: i64,
    ) -> Result<usize, Rule> {
        let [argument] = function.params.args.as_slice() else {
            return Err(Rule::Unplannable("SUM and AVG take one argument".into()));
        };
        let data_type = self.scope.type_of(argument)?;
        if !matches!(data_type, DataType::Int64 | DataType::Float64) {
            return Err(unsupported(
                "a sum of this type",
                expr,
                "Sum integers or doubles",
            ));
        }
        let scalar = self.scope.scalar(argument)?;
        Ok(self.input(
            InputKind::Value {
                scalar,
                grid,
                origin,
            },
            filter,
        ))
    }

    fn sum_component(
        &mut self,
        name: String,
        column: &Ident,
        grid: Grid,
        origin: i64,
        input: usize,
    ) -> Result<usize, Rule> {
        let rows = u64::from(self.spec.contribution.max_rows_per_group);
        let bound = grid
            .reach(origin)
            .checked_mul(rows)
            .filter(|b| *b <= MAX_BOUND)
            .ok_or_else(|| Rule::BoundsWide {
                column: column.to_string(),
            })?;
        let unit = ComponentUnit::Steps { grid, origin };
        Ok(self.component(name, unit, bound, input, TallyKind::Sum))
    }

    fn input(&mut self, kind: InputKind, filter: Option<Scalar>) -> usize {
        self.inputs.push(Input { kind, filter });
        self.inputs.len() - 1
    }

    fn component(
        &mut self,
        name: String,
        unit: ComponentUnit,
        bound: u64,
        input: usize,
        kind: TallyKind,
    ) -> usize {
        self.components.push(Component {
            name,
            unit,
            bound,
            weight: 1,
        });
        self.tallies.push(Tally { input, kind, bound });
        self.components.len() - 1
    }

    fn keys(
        &self,
        columns: &[Column],
        domains: &BTreeMap<Ident, KeyDomain>,
        data_key: Option<&data_key::Found>,
    ) -> Result<(Vec<KeyColumn>, Vec<Scalar>), Rule> {
        let from_data = data_key.map(|key| key.index);
        let keys = self.aggregate.group_expr.iter().enumerate();
        let public = keys.filter(|(index, _)| Some(*index) != from_data);
        public
            .map(|(index, expr)| self.key(index, expr, columns, domains))
            .collect::<Result<Vec<_>, _>>()
            .map(|pairs| pairs.into_iter().unzip())
    }

    fn key(
        &self,
        index: usize,
        expr: &SqlExpr,
        columns: &[Column],
        domains: &BTreeMap<Ident, KeyDomain>,
    ) -> Result<(KeyColumn, Scalar), Rule> {
        let scalar = self.scope.scalar(expr)?;
        let is_this = |c: &&Column| c.content == ColumnContent::Key { index };
        let undeclared = |column: String| Rule::KeyUndeclared { column };
        let column = columns.iter().find(is_this);
        let name = &column
            .ok_or_else(|| undeclared(shorten(&expr.to_string())))?
            .name;
        let domain = domains
            .get(name)
            .ok_or_else(|| undeclared(name.to_string()))?;
        let found = self.scope.type_of(expr)?;
        let (declared, accepted) = domain_types(domain);
        if !accepted.contains(&found) {
            return Err(Rule::KeyType {
                column: name.to_string(),
                found: found.to_string(),
                declared,
            });
        }
        let key = KeyColumn {
            name: name.clone(),
            domain: domain.clone(),
        };
        Ok((key, scalar))
    }

    fn check_declarations(&self, columns: &[Column]) -> Result<(), Rule> {
        let is_key = |name: &Ident| {
            columns
                .iter()
                .any(|c| c.name == *name && matches!(c.content, ColumnContent::Key { .. }))
        };
        if let Some(column) = self.spec.keys.keys().find(|name| !is_key(name)) {
            return Err(Rule::KeyUnused {
                column: column.clone(),
            });
        }
        let unused = |name: &&Ident| !self.used_bounds.contains(name);
        match self.spec.bounds.keys().find(unused) {
            None => Ok(()),
            Some(column) => Err(Rule::BoundsUnused {
                column: column.clone(),
            }),
        }
    }
}

const AGGREGATES: &str = "Use COUNT(*), COUNT(x), COUNT(DISTINCT person_id), SUM and AVG";

fn strip_alias(expr: &SqlExpr) -> &SqlExpr {
    match expr {
        SqlExpr::Alias(alias) => strip_alias(&alias.expr),
        _ => expr,
    }
}

fn check_modifiers(expr: &SqlExpr, function: &AggregateFunction) -> Result<(), Rule> {
    if !function.params.order_by.is_empty() || function.params.null_treatment.is_some() {
        return Err(unsupported(
            "an order inside an aggregate",
            expr,
            "Leave it out",
        ));
    }
    Ok(())
}

fn literal(value: &ScalarValue, expr: &SqlExpr) -> Result<Expr, Rule> {
    let text = match value {
        ScalarValue::Int64(Some(i)) => i.to_string(),
        ScalarValue::Float64(Some(f)) => f.to_string(),
        _ => String::new(),
    };
    let value: Decimal = text
        .parse()
        .map_err(|_| unsupported("this constant", expr, "Use a decimal of at most 15 digits"))?;
    Ok(Expr::Literal { value })
}

/// What a domain's values are, and the types of expressions whose values they can be.
fn domain_types(domain: &KeyDomain) -> (&'static str, &'static [DataType]) {
    match domain.values().first() {
        Some(KeyValue::Integer(_)) => ("whole numbers or concepts", &[DataType::Int64]),
        Some(KeyValue::Date(_)) => ("calendar periods", &[DataType::Date32]),
        Some(KeyValue::Boolean(_)) => ("truth values", &[DataType::Boolean]),
        Some(KeyValue::Band { .. }) => ("bands of numbers", &[DataType::Float64, DataType::Int64]),
        Some(KeyValue::Text(_)) | None => ("texts", &[DataType::Utf8]),
    }
}
