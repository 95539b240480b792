//! Attacks on a running node that need one permit and no second hospital. They spend one ask.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use ward_schemas::ask::Ask;
use ward_schemas::canonical::ContentHash;
use ward_schemas::ehds::Purpose;
use ward_schemas::loss::Loss;
use ward_schemas::names::Ident;
use ward_schemas::parameter::Parameter;
use ward_schemas::partial::NoiseKind;
use ward_schemas::plan::Plan;
use ward_schemas::rho::Rho;
use ward_schemas::wire::Quote;

use crate::flight::{Answer, Failed, NodeClient, Row};

/// How often an ask is repeated in each spelling.
const REPEATS: usize = 8;

/// An attack, and whether the node held.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The attack.
    pub attack: &'static str,
    /// What was tried; or how it succeeded.
    pub held: Result<String, String>,
}

/// Tries everything on a node that would accept this ask.
///
/// # Errors
/// When the node doesn't accept it.
pub async fn attack(node: &NodeClient, ask: &Ask) -> Result<Vec<Outcome>, Failed> {
    let quote = node.quote(ask).await?;
    let declared = parameters(node, ask).await?;
    let answers = repeat(node, ask, &declared).await?;
    let outcome = |attack, held| Outcome { attack, held };
    Ok(vec![
        outcome("averaging", averaging(&answers)),
        outcome("charge", charge(&node.quote(ask).await?)),
        outcome("noise", noise(&answers)),
        outcome("shape", shape(&quote.plan, &answers)),
        outcome("refusals", refusals(node, ask).await),
    ])
}

async fn parameters(node: &NodeClient, ask: &Ask) -> Result<BTreeMap<Ident, Parameter>, Failed> {
    let templates = node.templates().await?;
    let asked = templates
        .into_iter()
        .find(|t| t.template == ask.question.template);
    Ok(asked.map(|t| t.parameters).unwrap_or_default())
}

/// The answers to the same ask: again and again, at once, and spelled in other ways.
async fn repeat(
    node: &NodeClient,
    ask: &Ask,
    declared: &BTreeMap<Ident, Parameter>,
) -> Result<Vec<Answer>, Failed> {
    let mut written_out = ask.clone();
    for (name, parameter) in declared {
        if let Some(default) = parameter.default_value() {
            let given = &mut written_out.question.parameters;
            given
                .entry(name.clone())
                .or_insert_with(|| default.to_string());
        }
    }
    let mut answers = Vec::new();
    for spelled in [ask, &written_out] {
        let (short, long) = (
            serde_json::to_vec(spelled),
            serde_json::to_vec_pretty(spelled),
        );
        for bytes in [short.expect("JSON"), long.expect("JSON")] {
            let at_once = (0..REPEATS).map(|_| node.ask_bytes(bytes.clone()));
            answers.extend(try_join_all(at_once).await?);
        }
    }
    Ok(answers)
}

/// Answers that differ can be averaged, which removes the noise.
///
/// # Errors
/// How many different answers there are.
pub fn averaging(answers: &[Answer]) -> Result<String, String> {
    let mut different: Vec<_> = answers.iter().map(Answer::content).collect();
    different.sort_unstable();
    different.dedup();
    match different.len() {
        0 | 1 => Ok(format!(
            "{} answers to one ask are one answer",
            answers.len()
        )),
        n => Err(format!("one ask got {n} answers")),
    }
}

/// An answer that was given is free.
fn charge(again: &Quote) -> Result<String, String> {
    if again.charge == Loss::ZERO {
        Ok("what was answered costs nothing".to_owned())
    } else {
        Err(format!("what was answered costs {} again", again.charge))
    }
}

fn noise(answers: &[Answer]) -> Result<String, String> {
    let kinds = answers.iter().map(|a| a.envelope.claims.noise);
    match kinds
        .into_iter()
        .all(|kind| kind == NoiseKind::DiscreteGaussian)
    {
        true => Ok("every partial states discrete Gaussian noise".to_owned()),
        false => Err("a partial states a test's noise, which protects nobody".to_owned()),
    }
}

/// Every cell is there, in the plan's order, empty or not.
fn shape(plan: &Plan, answers: &[Answer]) -> Result<String, String> {
    for answer in answers {
        let (expected, found) = (expected(plan, &answer.rows), lengths(&answer.rows));
        if found != expected {
            return Err(format!("{found:?} instead of {expected:?}"));
        }
    }
    Ok("every vector has the plan's length".to_owned())
}

/// Table, component and number of integers.
type Length = (String, String, usize);

/// As the plan has it, for as many values of keys from data as the answer shows.
fn expected(plan: &Plan, rows: &[Row]) -> Vec<Length> {
    let mut expected = Vec::new();
    for table in &plan.tables {
        let name = table.name.to_string();
        let shown = rows.iter().find(|row| row.0 == name);
        let shown = shown.and_then(|row| row.3.as_ref()).map_or(0, Vec::len);
        for (i, component) in table.components.iter().enumerate() {
            let length = table.length(i, shown);
            expected.push((name.clone(), component.name.clone(), length));
        }
    }
    expected
}

/// Of each row.
pub fn lengths(rows: &[Row]) -> Vec<Length> {
    let length =
        |(table, component, cells, _): &Row| (table.clone(), component.clone(), cells.len());
    rows.iter().map(length).collect()
}

/// A bad ask is refused by a typed problem, with the same words for a quote and for an answer, each
/// time.
async fn refusals(node: &NodeClient, ask: &Ask) -> Result<String, String> {
    let asks = bad_asks(ask);
    for (fault, bad) in &asks {
        let mut words = Vec::new();
        for _ in 0..2 {
            words.push(node.quote(bad).await.err());
            words.push(node.ask(bad).await.err());
        }
        let problem = |failed: &Option<Failed>| failed.as_ref().and_then(|f| f.problem.clone());
        let problems: Vec<_> = words.iter().map(problem).collect();
        let Some(first) = &problems[0] else {
            return Err(format!("{fault} is not refused: {words:?}"));
        };
        if problems.iter().any(|p| p.as_ref() != Some(first)) {
            return Err(format!("{fault} is refused in several ways: {problems:?}"));
        }
    }
    Ok(format!(
        "{} bad asks are refused, each in one way",
        asks.len()
    ))
}

fn bad_asks(ask: &Ask) -> Vec<(&'static str, Ask)> {
    let bad = |fault, change: &dyn Fn(&mut Ask)| {
        let mut bad = ask.clone();
        change(&mut bad);
        (fault, bad)
    };
    let purpose = match ask.question.purpose {
        Purpose::Education => Purpose::ScientificResearch,
        _ => Purpose::Education,
    };
    vec![
        bad("an altered permit", &|a| a.permit = altered(&a.permit)),
        bad("an unknown template", &|a| {
            a.question.template.hash = ContentHash::of_bytes(b"another template");
        }),
        bad("an unknown parameter", &|a| {
            let name = "no_such_parameter".parse().expect("an identifier");
            a.question.parameters.insert(name, "1".to_owned());
        }),
        bad("a rho of zero", &|a| a.question.rho = Some(Rho::ZERO)),
        bad("another purpose", &|a| a.question.purpose = purpose),
        bad("another person", &|a| {
            a.requester = "mallory@example.org".parse().expect("a person");
        }),
    ]
}

/// With another first letter of the signature.
fn altered(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default())
}
