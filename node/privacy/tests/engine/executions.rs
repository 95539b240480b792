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

use crate::statements::{Statement, hospital, statement};
use crate::support::{Asked, NoNoise, runtime};
use ward_privacy::Execution::{Relational, Streaming};
use ward_privacy::{FrozenNoise, NoiseSource, Rewrite};
use ward_schemas::partial::Vectors;
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
        let found = sums_by_sql(&rewrite, tables.as_ref(), &expected);
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

/// The rewrite's SQL text, run by DataFusion as it comes: its own planner and all of its optimizer
/// rules. One component's sums by cell.
fn sums_by_sql(rewrite: &Rewrite, tables: &dyn SchemaProvider, like: &Vectors) -> Vec<Vec<i64>> {
    let context = SessionContext::new();
    for function in rewrite.functions() {
        context.register_udf(function.as_ref().clone());
    }
    let mut sums: Vec<_> = like.values()[0].iter().map(|c| vec![0; c.len()]).collect();
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
            let cells = batch.column(0).as_primitive::<Int64Type>();
            for (component, sums) in sums.iter_mut().enumerate() {
                let column = batch.column(component + 1).as_primitive::<Decimal128Type>();
                for (cell, sum) in cells.values().iter().zip(column.values()) {
                    let cell = usize::try_from(*cell).expect("a cell");
                    sums[cell] = i64::try_from(*sum).expect("few patients");
                }
            }
        }
    });
    sums
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
