//! The accepted language as data: `golden/*.toml` holds statements that are accepted, and statements
//! that are refused with the rule and the words of the refusal.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use ward_privacy::Rule;

use crate::support::{compile, template};

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    #[serde(default)]
    accepted: Vec<Accepted>,
    #[serde(default)]
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    sql: String,
    #[serde(default)]
    declared: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    sql: String,
    #[serde(default)]
    declared: String,
    rule: String,
    /// Part of the refusal's text.
    reason: String,
}

fn golden() -> Vec<Golden> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/engine/golden");
    let files = std::fs::read_dir(dir).expect("directory");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("file");
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    files.map(read).collect()
}

/// A template around each accepted statement.
pub(crate) fn accepted_texts() -> Vec<String> {
    let statements = golden().into_iter().flat_map(|g| g.accepted);
    let text = |a: Accepted| template(&a.sql, &declarations(&a.declared));
    statements.map(text).collect()
}

/// The declarations of a few words, or as they stand.
fn declarations(declared: &str) -> String {
    let contribution = "contribution = { max_groups = 1, max_rows_per_group = 2 }";
    match declared {
        "" => contribution.to_owned(),
        "sex" => format!("{contribution}\nkeys.sex = {{ concepts = [8507, 8532] }}"),
        "mean" => format!(
            "{contribution}\nbounds.mean = {{ lower = \"0\", upper = \"10\", step = \"0.1\" }}"
        ),
        whole if whole.contains("contribution") => whole.to_owned(),
        rest => format!("{contribution}\n{rest}"),
    }
}

#[test]
fn accepted() {
    let statements: Vec<_> = golden().into_iter().flat_map(|g| g.accepted).collect();
    let faults: Vec<_> = statements.iter().filter_map(refusal).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(statements.len() >= 60, "{} statements", statements.len());
}

fn refusal(accepted: &Accepted) -> Option<String> {
    let Accepted { sql, declared } = accepted;
    let refusal = compile(&template(sql, &declarations(declared))).err()?;
    Some(format!("{sql}\n{refusal}"))
}

#[test]
fn refused() {
    let statements: Vec<_> = golden().into_iter().flat_map(|g| g.refused).collect();
    let faults: Vec<_> = statements.iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(statements.len() >= 60, "{} statements", statements.len());
    let hit: BTreeSet<_> = statements.iter().map(|s| s.rule.as_str()).collect();
    for rule in RULES {
        assert!(hit.contains(rule), "no statement is refused by {rule}");
    }
}

fn fault(refused: &Refused) -> Option<String> {
    let sql = &refused.sql;
    let Err(refusal) = compile(&template(sql, &declarations(&refused.declared))) else {
        return Some(format!("accepted: {sql}"));
    };
    let (text, found) = (refusal.to_string(), name(&refusal.rule));
    let Refused { rule, reason, .. } = refused;
    let expected = text.contains(reason) && found == rule;
    (!expected).then(|| format!("{sql}\n{found}: {text}\nnot {rule}: {reason}"))
}

/// All rules: [`name`] doesn't compile without a name for each, which belongs here too.
const RULES: [&str; 26] = [
    "Large",
    "Unplannable",
    "Unsupported",
    "Identifier",
    "Partial",
    "JoinPatients",
    "FanOut",
    "OuterPublic",
    "MatchPatients",
    "MatchPublic",
    "PatientsMixed",
    "PatientLost",
    "Public",
    "NotAggregate",
    "KeyUndeclared",
    "KeyUnused",
    "KeyType",
    "BoundsMissing",
    "BoundsUnused",
    "BoundsWide",
    "WeightUnused",
    "TotalsPatients",
    "QuantilePoints",
    "Unnamed",
    "ColumnTwice",
    "NoMeasure",
];

fn name(rule: &Rule) -> &'static str {
    match rule {
        Rule::Large { .. } => "Large",
        Rule::Unplannable(_) => "Unplannable",
        Rule::Unsupported { .. } => "Unsupported",
        Rule::Identifier { .. } => "Identifier",
        Rule::Partial { .. } => "Partial",
        Rule::JoinPatients { .. } => "JoinPatients",
        Rule::FanOut { .. } => "FanOut",
        Rule::OuterPublic { .. } => "OuterPublic",
        Rule::MatchPatients { .. } => "MatchPatients",
        Rule::MatchPublic { .. } => "MatchPublic",
        Rule::PatientsMixed { .. } => "PatientsMixed",
        Rule::PatientLost { .. } => "PatientLost",
        Rule::Public => "Public",
        Rule::NotAggregate { .. } => "NotAggregate",
        Rule::KeyUndeclared { .. } => "KeyUndeclared",
        Rule::KeyUnused { .. } => "KeyUnused",
        Rule::KeyType { .. } => "KeyType",
        Rule::BoundsMissing { .. } => "BoundsMissing",
        Rule::BoundsUnused { .. } => "BoundsUnused",
        Rule::BoundsWide { .. } => "BoundsWide",
        Rule::WeightUnused { .. } => "WeightUnused",
        Rule::TotalsPatients { .. } => "TotalsPatients",
        Rule::QuantilePoints { .. } => "QuantilePoints",
        Rule::Unnamed(_) => "Unnamed",
        Rule::ColumnTwice(_) => "ColumnTwice",
        Rule::NoMeasure => "NoMeasure",
    }
}
