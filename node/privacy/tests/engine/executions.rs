//! Both executions compute one function: random statements on random data, equal bit for bit,
//! however the rows lie.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::catalog::SchemaProvider;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::golden::accepted_texts;
use crate::statements::{Statement, hospital, statement};
use crate::support::{Asked, NoNoise, runtime};
use ward_privacy::Execution::{Relational, Streaming};
use ward_privacy::{FrozenNoise, NoiseSource, Rewrite, RunError};
use ward_schemas::partial::Vectors;
use ward_schemas::plan::{Component, ComponentUnit, TablePlan};
use ward_schemas::rho::Sigma;

const KEY: u8 = 3;

/// Noise that differs from cell to cell, and reaches the ends of what an integer holds.
#[derive(Debug)]
struct Uneven;

impl FrozenNoise for Uneven {
    fn draw(&self, _sigma: Sigma, length: usize) -> Vec<i64> {
        let ends = [i64::MAX, 1, -17, i64::MIN];
        (0..length).map(|i| ends[i % ends.len()]).collect()
    }
}

fn exact() -> NoiseSource {
    NoiseSource::frozen(Box::new(NoNoise))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_executions_give_the_same_integers(statement in statement(), hospital in hospital()) {
        let asked = Asked::compile(&statement.text());
        for noise in [exact(), NoiseSource::frozen(Box::new(Uneven))] {
            let answer = |execution| asked.answer(execution, KEY, hospital.tables(16, 2), &noise);
            prop_assert_eq!(answer(Streaming), answer(Relational), "{}", statement.text());
        }
    }

    #[test]
    fn the_rewrite_is_sql_for_any_engine(statement in statement(), hospital in hospital()) {
        let asked = Asked::compile(&statement.text());
        let tables = hospital.tables(16, 2);
        let expected = asked.answer(Streaming, KEY, Arc::clone(&tables), &exact());
        let rewrite = asked.rewrite(KEY, Arc::clone(&tables));
        prop_assert_eq!(rewrite.sql().is_ok(), statement.has_text());
        prop_assume!(statement.has_text());
        let found = sums_by_sql(&rewrite, tables.as_ref(), asked.table());
        prop_assert_eq!(&expected.values()[0], &found, "{}\n{}", statement.text(), rewrite.sql().expect("text"));
    }

    #[test]
    fn no_layout_of_the_rows_matters(
        statement in statement(), hospital in hospital(), batch in 1_usize..40, partitions in 1_usize..5, seed: u64,
    ) {
        let asked = Asked::compile(&statement.text());
        let one = asked.answer(Streaming, KEY, hospital.tables(1000, 1), &exact());
        for execution in [Streaming, Relational] {
            let other = asked.answer(execution, KEY, hospital.shuffled(batch, partitions, seed), &exact());
            prop_assert_eq!(&one, &other, "{:?}: {}", execution, statement.text());
        }
    }
}

/// The golden statements, which cover every rule of tracking; what has no text says so.
#[test]
fn every_accepted_statement_is_one_function() {
    let case = hospital().new_tree(&mut TestRunner::deterministic());
    let tables = case.expect("a hospital").current().tables(16, 2);
    for text in accepted_texts() {
        let asked = Asked::compile(&text);
        let answer = |execution| asked.answer(execution, KEY, Arc::clone(&tables), &exact());
        let streaming = answer(Streaming);
        assert_eq!(streaming, answer(Relational), "{text}");
        let rewrite = asked.rewrite(KEY, Arc::clone(&tables));
        match rewrite.sql() {
            Err(error) => assert_eq!((error, text.contains(" OR ")), (RunError::Text, true)),
            Ok(_) if asked.table().data_key.is_some() => {}
            Ok(_) => {
                let sums = sums_by_sql(&rewrite, tables.as_ref(), asked.table());
                assert_eq!(streaming.values()[0], sums, "{text}");
            }
        }
    }
}

/// The rewrite's SQL text, run by DataFusion as it comes: its own planner and all of its optimizer
/// rules. Each component's sums by cell.
fn sums_by_sql(rewrite: &Rewrite, tables: &dyn SchemaProvider, table: &TablePlan) -> Vec<Vec<i64>> {
    let context = SessionContext::new();
    for function in rewrite.functions() {
        context.register_udf(function.as_ref().clone());
    }
    let columns = columns(table);
    let mut sums: Vec<_> = columns
        .iter()
        .map(|levels| vec![0; table.cells() * points(levels)])
        .collect();
    runtime().block_on(async {
        for name in tables.table_names() {
            let table = tables.table(&name).await.expect("served").expect("there");
            context.register_table(&name, table).expect("registered");
        }
        let sql = rewrite.sql().expect("text");
        let answer = context
            .sql(&sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}\n{e}"));
        for batch in answer.collect().await.expect("run") {
            let indices = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
            for (column, (levels, sums)) in columns.iter().zip(&mut sums).enumerate() {
                let values = batch.column(column + 2).as_primitive::<Decimal128Type>();
                for ((cell, point), sum) in indices(0).iter().zip(indices(1)).zip(values.values()) {
                    let at = |index: &i64| usize::try_from(*index).expect("an index");
                    let sum = i64::try_from(*sum).expect("few patients");
                    if at(point) < points(levels) {
                        sums[at(cell) * points(levels) + at(point)] += sum;
                    } else {
                        assert_eq!(sum, 0);
                    }
                }
            }
        }
    });
    let levels = columns.iter().zip(&sums);
    levels
        .flat_map(|(levels, sums)| {
            levels
                .iter()
                .map(|level| level_of(level, sums, points(levels)))
        })
        .collect()
}

/// The components that each column is about: one, or the levels of a tree.
fn columns(table: &TablePlan) -> Vec<Vec<&Component>> {
    let mut columns: Vec<Vec<&Component>> = Vec::new();
    for component in &table.components {
        let above = columns.last().and_then(|levels| levels.last());
        match above.filter(|above| span(above) > 1) {
            Some(_) => columns.last_mut().expect("a tree").push(component),
            None => columns.push(vec![component]),
        }
    }
    columns
}

fn span(component: &Component) -> usize {
    match component.unit {
        ComponentUnit::Bins { span, .. } => usize::try_from(span).expect("few"),
        _ => 1,
    }
}

fn points(levels: &[&Component]) -> usize {
    levels.last().expect("a level").width()
}

fn level_of(level: &Component, sums: &[i64], points: usize) -> Vec<i64> {
    let nodes = sums
        .chunks(points)
        .flat_map(|cell| cell.chunks(span(level)));
    nodes.map(|node| node.iter().sum()).collect()
}

/// The comparison must find an execution that forgets a limit or the key of the choice.
#[test]
fn mutants_are_told_apart() {
    let forgets_groups = |mutant: &mut Statement| mutant.max_groups = 100;
    let forgets_scaling = |mutant: &mut Statement| mutant.max_rows = 100;
    let ranks_by_another_key = |_: &mut Statement| {};
    assert!(is_told_apart(forgets_groups, KEY), "max_groups");
    assert!(is_told_apart(forgets_scaling, KEY), "scaling");
    assert!(is_told_apart(ranks_by_another_key, KEY + 1), "key");
    assert!(!is_told_apart(|_| {}, KEY), "not even a mutant");
}

/// Whether the relational execution of a changed statement differs from the streaming one of the
/// statement itself, on some of the cases that the properties above see.
fn is_told_apart(change: impl Fn(&mut Statement), key: u8) -> bool {
    let mut runner = TestRunner::deterministic();
    let mut sample = || {
        let case = (statement(), hospital()).new_tree(&mut runner);
        case.expect("a case").current()
    };
    (0..48).any(|_| {
        let (statement, hospital) = sample();
        let mut mutant = statement.clone();
        change(&mut mutant);
        let answer = |statement: &Statement, execution, key| -> Vectors {
            let asked = Asked::compile(&statement.text());
            asked.answer(execution, key, hospital.tables(16, 2), &exact())
        };
        answer(&statement, Streaming, KEY) != answer(&mutant, Relational, key)
    })
}
