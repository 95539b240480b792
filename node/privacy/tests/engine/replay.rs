//! The corpus of the fuzz target, and inputs that are small and would explode: each is decided.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ward_privacy::Execution;

use crate::check::{self, Finding, Hospitals};
use crate::input::Input;

/// All of it compiles or is refused; of what is accepted, some runs, too.
#[test]
fn the_corpus_is_clean() {
    let hospitals = Hospitals::new(40);
    let inputs = Input::corpus(include_str!("../../examples/fuzz/corpus.txt"));
    for (index, input) in inputs.iter().enumerate() {
        let text = input.text();
        let seen = check::compile(&text);
        assert!(!seen.features.is_empty(), "{text}\nafter {:?}", seen.took);
        if let (Some(accepted), 0) = (&seen.accepted, index % 3)
            && let Err(finding) = hospitals.check(&text, accepted)
        {
            panic!("{finding}\n{text}");
        }
    }
}

/// The fuzzer must see a patient who moves more than declared: here all patients at once.
#[test]
fn a_moved_answer_is_found() {
    let hospitals = Hospitals::new(40);
    let text = Input::Statement {
        sql: "SELECT COUNT(*) AS n FROM measurement".to_owned(),
        declared: "contribution = { max_groups = 1, max_rows_per_group = 2 }".to_owned(),
    };
    let accepted = check::compile(&text.text()).accepted.expect("accepted");
    let answer = |at| {
        let answer = hospitals.answer(&accepted, Execution::Streaming, at);
        answer.expect("no failure").expect("an answer")
    };
    let (whole, reversed, nobody) = (answer(0), answer(1), answer(2));
    let plan = accepted.program.plan();
    assert!(check::check_distance(plan, &whole, &reversed).is_ok());
    let moved = check::check_distance(plan, &whole, &nobody);
    assert!(matches!(moved, Err(Finding::Moves { .. })), "{moved:?}");
}

/// What small texts could ask of planners. Each is decided, most by their size alone; those that fit
/// are planned, and the slowest would take minutes if its cost grew with anything but its size.
#[test]
fn explosions_are_decided() {
    let (done, waited) = mpsc::channel();
    thread::spawn(move || {
        for (name, sql, expected) in explosions() {
            let found = decided(sql);
            done.send((name, expected, found))
                .expect("a test that waits");
        }
    });
    let mut wrong = Vec::new();
    for (next, ..) in explosions() {
        let found = waited.recv_timeout(Duration::from_secs(60));
        let (name, expected, found) = found.unwrap_or_else(|_| panic!("{next} takes too long"));
        if !found.contains(expected) {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn decided(sql: String) -> String {
    let declared = "contribution = { max_groups = 1, max_rows_per_group = 2 }".to_owned();
    let seen = check::compile(&Input::Statement { sql, declared }.text());
    match seen.accepted {
        Some(_) => "accepted".to_owned(),
        None => seen.features.into_iter().collect(),
    }
}

fn explosions() -> Vec<(&'static str, String, &'static str)> {
    let count = "SELECT COUNT(*) AS n FROM person";
    let filtered = |condition: String| format!("{count} WHERE {condition}");
    let many = |part: &str, times: usize| part.repeat(times);
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let ctes = (1..18).map(|i| {
        let before = i - 1;
        format!(", c{i} AS (SELECT a.person_id, a.y + b.y AS y FROM c{before} a JOIN c{before} b ON a.person_id = b.person_id)")
    });
    let joins = (0..100).map(|i| format!(" JOIN person p{i} ON p{i}.person_id = p.person_id"));
    let columns = |n: usize| {
        let columns = (0..n).map(|i| format!("year_of_birth AS c{i}"));
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("SELECT COUNT(*) AS n FROM (SELECT person_id, {columns} FROM person) q")
    };
    let measures = (0..300).map(|i| format!("COUNT(*) AS c{i}"));
    let measures = measures.collect::<Vec<_>>().join(", ");
    vec![
        (
            "parentheses",
            filtered(nested("(", "true", ")", 5_000)),
            "tokens",
        ),
        (
            "cases",
            filtered(nested("CASE WHEN ", "true", " THEN true END", 500)),
            "levels of nesting",
        ),
        ("nots", filtered(many("NOT ", 3_000) + "true"), "planned"),
        (
            "minus signs",
            filtered(many("- ", 3_000) + "1 = 1"),
            "recursion limit",
        ),
        (
            "calls",
            filtered(nested("abs(", "year_of_birth", ")", 60) + " = 1"),
            "levels of nesting",
        ),
        (
            "subqueries",
            nested(
                "SELECT COUNT(*) AS n FROM (",
                "SELECT * FROM person",
                ") q",
                60,
            ),
            "levels of nesting",
        ),
        (
            "ten thousand ors",
            filtered(many("month_of_birth = 1 OR ", 10_000) + "true"),
            "bytes",
        ),
        (
            "seven hundred ors",
            filtered(many("1 = 1 OR ", 700) + "true"),
            "operators inside",
        ),
        (
            "a product of a thousand",
            format!("SELECT SUM(1.0{}) AS n FROM person", many(" * .0", 1_000)),
            "operators inside",
        ),
        (
            "a huge list",
            filtered(format!("year_of_birth IN (1{})", many(",1", 30_000))),
            "bytes",
        ),
        (
            "a long list",
            filtered(format!("year_of_birth IN (1{})", many(",1", 1_500))),
            "accepted",
        ),
        (
            "doubling tables",
            format!(
                "WITH c0 AS (SELECT person_id, year_of_birth AS y FROM person){} SELECT COUNT(*) AS n FROM c17 WHERE y > 5",
                ctes.collect::<String>()
            ),
            "counted as often",
        ),
        (
            "a hundred joins",
            format!("{count} p{}", joins.collect::<String>()),
            "counted as often",
        ),
        (
            "a hundred crossed tables",
            format!("{count}{}", many(", concept", 100)),
            "counted as often",
        ),
        ("a thousand columns", columns(1_000), "bytes"),
        ("six hundred columns", columns(600), "accepted"),
        (
            "three hundred measures",
            format!("SELECT {measures} FROM person"),
            "accepted",
        ),
        (
            "five hundred arms",
            filtered(format!(
                "CASE {}ELSE 0 END = 1",
                many("WHEN year_of_birth = 1 THEN 1 ", 500)
            )),
            "accepted",
        ),
        (
            "five hundred values",
            filtered(format!(
                "CASE year_of_birth {}ELSE 0 END = 1",
                many("WHEN 1 THEN 1 ", 500)
            )),
            "accepted",
        ),
        (
            "a giant number",
            filtered(format!("year_of_birth < {}", many("9", 10_000))),
            "this constant is not accepted",
        ),
        (
            "a giant exponent",
            filtered("year_of_birth < 1e999999999".to_owned()),
            "this constant is not accepted",
        ),
        (
            "a giant name",
            format!("SELECT COUNT(*) AS n FROM {}", many("x", 10_000)),
            "bytes in one name",
        ),
        (
            "a giant interval",
            filtered("birth_datetime + INTERVAL '999999999999 months' > birth_datetime".to_owned()),
            "Unable to represent",
        ),
        (
            "invisible characters",
            filtered("\u{202e}true".to_owned()),
            "invisible character",
        ),
        (
            "zero width",
            filtered("year\u{200b}_of_birth = 1".to_owned()),
            "invisible character",
        ),
        (
            "look-alikes",
            filtered("yеar_of_birth = 1".to_owned()),
            "No field",
        ),
        ("an open text", filtered("'".to_owned()), "Unterminated"),
        (
            "an open comment",
            filtered("/*".to_owned()),
            "Unexpected EOF",
        ),
        (
            "comments in comments",
            filtered(nested("/*", "", "*/", 2_000) + "true"),
            "Expected an expression",
        ),
        ("nothing", String::new(), "anything but one SELECT"),
        ("a semicolon", ";".to_owned(), "anything but one SELECT"),
    ]
}
