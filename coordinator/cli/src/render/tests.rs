use super::*;
use std::collections::BTreeMap;

use ward_schemas::canonical::ContentHash;
use ward_schemas::delta::Delta;
use ward_schemas::finish::{Estimate, Expr};
use ward_schemas::jws::{JwsError, SigningKey};
use ward_schemas::key::NoVocabulary;
use ward_schemas::partial::AuditHead;
use ward_schemas::permit::Holder;
use ward_schemas::plan::{
    Column as PlanColumn, ColumnContent, Component, ComponentUnit, ENGINE_VERSION, KeyColumn, Plan,
    TablePlan,
};
use ward_schemas::problem::ErrorCode;
use ward_schemas::release::{
    Cell, ComponentNoise, Release, ReleaseColumn, ReleaseTable, Threshold,
};
use ward_schemas::template::{Template, TemplateRef};
use ward_schemas::wire::Decision;

const TEMPLATE: &str = r#"
id = "hba1c_by_age_and_sex"
version = "1.0.0"
title = "HbA1c by age and sex"
question = "How is HbA1c distributed among people with type 2 diabetes, by age and sex?"
purposes = ["scientific-research"]
categories = ["ehr"]

[parameters.since]
type = "date"
minimum = 2015-01-01
maximum = 2026-12-31
default = 2020-01-01
doc = "Measurements from this day on"

[parameters.condition]
type = "concept"

[[tables]]
name = "by_sex"
sql = "SELECT p.gender_concept_id AS sex, COUNT(*) AS n FROM person p GROUP BY 1"
rho = "0.005"
contribution = { max_groups = 1, max_rows_per_group = 1 }
keys.sex = { concepts = [8507, 8532], labels = ["male", "female"] }
bounds.mean_hba1c = { lower = "3.0", upper = "20.0", step = "0.1", unit = "%" }
"#;

fn template_file() -> Template {
    Template::parse(TEMPLATE).expect("template")
}

pub(crate) fn template_ref() -> TemplateRef {
    TemplateRef {
        id: "hba1c_by_age_and_sex".parse().expect("id"),
        version: "1.0.0".parse().expect("version"),
        hash: ContentHash::from_digest([7; 32]),
    }
}

fn unreachable() -> Problem {
    Problem::new(
        ErrorCode::NodeUnreachable,
        "hospital-c does not accept connections",
        "Ask again later, or tell its operator.",
    )
}

fn outcomes() -> Vec<NodeOutcome> {
    let answered = || Outcome::Answered {
        snapshot: "11".repeat(16).parse().expect("snapshot"),
        partial: ContentHash::of_bytes(b"partial"),
        audit: AuditHead {
            sequence: 1,
            hash: ContentHash::of_bytes(b"head"),
        },
    };
    let left_out = Outcome::LeftOut {
        problem: unreachable(),
    };
    let outcomes = [
        ("hospital-a", answered()),
        ("hospital-b", answered()),
        ("hospital-c", left_out),
    ];
    let outcome = |(node, outcome): (&str, _)| NodeOutcome {
        node: node.parse().expect("name"),
        outcome,
    };
    outcomes.map(outcome).to_vec()
}

pub(crate) fn release() -> Release {
    let rho = |text: &str| text.parse().expect("rho");
    Release {
        v: 1,
        id: "ab".repeat(16).parse().expect("release"),
        template: template_ref(),
        title: "HbA1c by age and sex".into(),
        parameters: BTreeMap::from([("since".parse().expect("name"), "2020-01-01".into())]),
        permit: "FI/2026-7".parse().expect("permit"),
        requester: "ada@uni.example".parse().expect("subject"),
        created_at: "2026-02-03T04:05:06Z".parse().expect("time"),
        rho: rho("0.005"),
        delta: Delta::ZERO,
        meaning: Some(meaning()),
        nodes: outcomes(),
        tables: vec![ReleaseTable {
            totals: 0,
            name: "by_age_sex".parse().expect("name"),
            columns: vec![
                column("age", "", true, false),
                column("sex", "", true, false),
                column("patients", "", false, true),
                column("mean_hba1c", "%", false, false),
            ],
            noise: vec![noise("patients", 14.142), noise("mean_hba1c sum", 120.5)],
            threshold: None,
            rows: vec![
                row("0-17", "male", -7.0, None),
                row("0-17", "female", 104.0, Some((5.43, 0.234))),
                row("80+, or unknown", "male", 12345.0, Some((7.125, 0.0123))),
                row("80+, or unknown", "female", 6172.5, Some((6.9, 0.0246))),
            ],
        }],
    }
}

fn noise(component: &str, sigma: f64) -> ComponentNoise {
    ComponentNoise {
        component: component.into(),
        sigma,
        rho: "0.0025".parse().expect("rho"),
    }
}

/// A release by a key whose values come from data.
pub(crate) fn release_by_code() -> Release {
    let row = |code: &str, nodes, value, half_width| {
        let estimate = Some(Estimate { value, half_width });
        vec![
            Cell::Key(code.into()),
            Cell::Nodes(nodes),
            Cell::Estimate(estimate),
        ]
    };
    let mut release = release();
    release.tables = vec![ReleaseTable {
        name: "by_code".parse().expect("name"),
        columns: vec![
            column("code", "", true, false),
            ReleaseColumn {
                nodes: true,
                ..column("code_nodes", "", false, false)
            },
            column("patients", "", false, true),
        ],
        noise: vec![noise("patients", 11.5)],
        threshold: Some(Threshold {
            column: "code".parse().expect("name"),
            patients: 71,
            most: 1000,
            delta: "1e-9".parse().expect("delta"),
        }),
        totals: 0,
        rows: vec![row("A10", 3, 104.0, 39.2), row("B20", 1, 61.0, 22.6)],
    }];
    release
}

#[test]
fn a_key_from_data_says_what_is_missing() {
    let text = table(&release_by_code(), 100, false);
    assert!(text.contains("code  code_nodes  patients"), "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let note = "A node shows a value of code if its noisy count of patients is 71 or more, and at most 1000 values";
    assert!(flat.contains(note), "{text}");
}

fn column(name: &str, unit: &str, key: bool, count: bool) -> ReleaseColumn {
    ReleaseColumn {
        name: name.parse().expect("name"),
        unit: unit.into(),
        key,
        count,
        nodes: false,
    }
}

fn row(age: &str, sex: &str, patients: f64, mean: Option<(f64, f64)>) -> Vec<Cell> {
    let estimate = |(value, half_width)| Estimate { value, half_width };
    vec![
        Cell::Key(age.into()),
        Cell::Key(sex.into()),
        Cell::Estimate(Some(estimate((patients, 39.2)))),
        Cell::Estimate(mean.map(estimate)),
    ]
}

/// The same release with counts alone.
fn counts() -> Release {
    let mut release = release();
    let table = &mut release.tables[0];
    table.columns.pop();
    table.noise.pop();
    table.rows.iter_mut().for_each(|row| drop(row.pop()));
    release
}

#[track_caller]
fn assert_text(text: &str, expected: &str) {
    assert!(
        text == expected,
        "the text is now:\n{text}\nand should be:\n{expected}"
    );
}

#[test]
fn a_release_in_a_terminal() {
    let expected = "\
HbA1c by age and sex
hba1c_by_age_and_sex 1.0.0 since=2020-01-01

age              sex     patients   ±  mean_hba1c [%]      ±
0-17             male           0  40               –
0-17             female       104  40           5.430  0.234  █████████████████████▍
80+, or unknown  male      12,345  40           7.125  0.012  ████████████████████████████
80+, or unknown  female     6,172  40           6.900  0.025  ███████████████████████████▏

2 of 3 nodes answered: hospital-a, hospital-b
Left out
  hospital-c: NODE_UNREACHABLE, hospital-c does not accept connections. Ask again later,
    or tell its operator.
± is half of the 95 % confidence interval: it covers the noise, not the limits on what one
  patient may contribute. Counts below zero are shown as 0. – stands where the noise
  drowns a denominator.
Noise at each node: patients σ 14 (ρ 0.0025), mean_hba1c sum σ 120 (ρ 0.0025).
Privacy loss at each node: ρ 0.005 (by itself ε ≤ 0.43 at δ 1e-6).
Release abababababababababababababababab
";
    assert_text(&table(&release(), 90, false), expected);
}

#[test]
fn a_release_in_a_narrow_terminal_has_no_bars() {
    let expected = "\
HbA1c by age and sex
hba1c_by_age_and_sex 1.0.0 since=2020-01-01

age              sex     patients   ±  mean_hba1c [%]      ±
0-17             male           0  40               –
0-17             female       104  40           5.430  0.234
80+, or unknown  male      12,345  40           7.125  0.012
80+, or unknown  female     6,172  40           6.900  0.025

2 of 3 nodes answered: hospital-a, hospital-b
Left out
  hospital-c: NODE_UNREACHABLE, hospital-c does
    not accept connections. Ask again later, or
    tell its operator.
± is half of the 95 % confidence interval: it
  covers the noise, not the limits on what one
  patient may contribute. Counts below zero are
  shown as 0. – stands where the noise drowns a
  denominator.
Noise at each node: patients σ 14 (ρ 0.0025),
  mean_hba1c sum σ 120 (ρ 0.0025).
Privacy loss at each node: ρ 0.005 (by itself ε ≤
  0.43 at δ 1e-6).
Release abababababababababababababababab
";
    assert_text(&table(&release(), 50, false), expected);
}

#[test]
fn bars_scale_to_the_largest_value() {
    let expected = "\
HbA1c by age and sex
hba1c_by_age_and_sex 1.0.0 since=2020-01-01

age              sex     patients   ±
0-17             male           0  40
0-17             female       104  40  ▏
80+, or unknown  male      12,345  40  █████████████████████
80+, or unknown  female     6,172  40  ██████████▌

2 of 3 nodes answered: hospital-a, hospital-b
Left out
  hospital-c: NODE_UNREACHABLE, hospital-c does not accept
    connections. Ask again later, or tell its operator.
± is half of the 95 % confidence interval: it covers the
  noise, not the limits on what one patient may contribute.
  Counts below zero are shown as 0.
Noise at each node: patients σ 14 (ρ 0.0025).
Privacy loss at each node: ρ 0.005 (by itself ε ≤ 0.43 at δ
  1e-6).
Release abababababababababababababababab
";
    assert_text(&table(&counts(), 60, false), expected);
}

#[test]
fn colour_adds_escapes_and_nothing_else() {
    let colored = table(&release(), 90, true);
    assert!(
        colored.contains("\x1b[36m█"),
        "bars are coloured: {colored}"
    );
    assert_eq!(
        console::strip_ansi_codes(&colored),
        table(&release(), 90, false)
    );
}

#[test]
fn labels_from_elsewhere_cannot_steer_the_terminal() {
    let mut release = release();
    release.tables[0].rows[0][0] = Cell::Key("a\x1b[2J\nb".into());
    release.title = "\x1b]0;owned\x07".into();
    let text = table(&release, 90, false);
    assert!(!text.contains('\x1b') && !text.contains('\x07'));
    assert!(text.contains("a\u{fffd}[2J b"), "{text}");
}

#[test]
fn several_tables_have_their_names() {
    let mut release = counts();
    let mut second = release.tables[0].clone();
    second.name = "second".parse().expect("name");
    release.tables.push(second);
    let text = table(&release, 60, false);
    assert!(
        text.contains("\nby_age_sex\nage") && text.contains("\nsecond\nage"),
        "{text}"
    );
    assert!(text.contains("second.patients σ 14 (ρ 0.0025)"), "{text}");
}

fn plan() -> Plan {
    let expanded = template_file()
        .expand(ContentHash::of_bytes(b"v"), &NoVocabulary)
        .expect("expanded");
    let spec = &expanded.template().tables[0];
    let keys = expanded.keys(&spec.name).expect("keys");
    let grid = spec
        .bounds
        .values()
        .next()
        .expect("bounds")
        .grid()
        .expect("grid");
    let component = |name: &str, unit, bound| Component {
        name: name.into(),
        unit,
        bound,
        weight: 1,
    };
    let measure = |name: &str, unit: &str, expr| PlanColumn {
        name: name.parse().expect("name"),
        unit: unit.into(),
        content: ColumnContent::Measure { expr },
    };
    let centre = "11.5".parse().expect("decimal");
    let origin = grid.centre();
    Plan {
        template: template_ref(),
        engine: ENGINE_VERSION.into(),
        vocabulary: expanded.vocabulary(),
        tables: vec![TablePlan {
            name: spec.name.clone(),
            totals: Vec::new(),
            keys: keys
                .iter()
                .map(|(name, domain)| KeyColumn {
                    name: name.clone(),
                    domain: domain.clone(),
                })
                .collect(),
            data_key: None,
            contribution: spec.contribution,
            rho: spec.rho,
            delta: spec.delta,
            components: vec![
                component("patients", ComponentUnit::One, 1),
                component(
                    "sum",
                    ComponentUnit::Steps { grid, origin },
                    grid.reach(origin),
                ),
            ],
            columns: vec![
                measure("patients", "", Expr::component(0)),
                measure("mean_hba1c", "%", Expr::mean(centre, 1, 0)),
            ],
        }],
    }
}

fn loss(rho: &str, delta: &str) -> Loss {
    Loss {
        rho: rho.parse().expect("rho"),
        delta: delta.parse().expect("delta"),
    }
}

fn meaning() -> EpsilonDelta {
    EpsilonDelta {
        epsilon: "0.429942".parse().expect("epsilon"),
        delta: "1e-6".parse().expect("delta"),
    }
}

fn quotes() -> QuoteReply {
    let accepts = |node: &str, charge: &str| Quote {
        v: 1,
        node: node.parse().expect("name"),
        plan: plan(),
        loss: loss("0.005", "0"),
        meaning: meaning(),
        charge: loss(charge, "0"),
        permit_left: loss("0.045", "0"),
    };
    let node = |name: &str, quote| NodeQuote {
        node: name.parse().expect("name"),
        quote,
    };
    QuoteReply {
        nodes: vec![
            node("hospital-a", Ok(accepts("hospital-a", "0.005"))),
            node("hospital-b", Ok(accepts("hospital-b", "0"))),
            node("hospital-c", Err(unreachable())),
        ],
        assumed: Assumed {
            nodes: 2,
            group: 1000,
        },
        costs: Vec::new(),
    }
}

#[test]
fn a_quote_says_charge_precision_and_meaning() {
    let expected = "\
node        charge               left of the permit
hospital-a  ρ 0.005              ρ 0.045
hospital-b  0 (answered before)  ρ 0.045
hospital-c  refused
hospital-c would be left out: NODE_UNREACHABLE, hospital-c does not accept
  connections. Ask again later, or tell its operator.

Expected precision with 2 nodes (of means and ratios: for groups of 1000)
table   measure     noise σ  95 % interval
by_sex  patients         20  ± 40
by_sex  mean_hba1c     0.17  ± 0.33 %

Privacy loss of the ask at each node: ρ 0.005 (by itself ε ≤ 0.43 at δ 1e-6).
Losses add up over all asks to a node, and a patient known to several nodes
bears it at each.
";
    assert_text(&quote(&quotes(), 1000, 80, false), expected);
}

#[test]
fn a_precision_has_its_price() {
    let within = ["patients=20", "mean_hba1c=0.5"].map(|w| crate::args::within(w).expect(w));
    let reply = quotes();
    let assumed = assumed(&reply, 1000);
    let rho = cost::rho_for(&plan(), &within[0], assumed).expect("a price");
    let expected = "\
patients within ± 20 and mean_hba1c within ± 0.5 at 95 % needs
--rho 0.019207298 at each of 2 nodes (for groups of 1000).

";
    assert_text(&price(&within, rho, assumed, 66), expected);
}

#[test]
fn a_mean_over_too_few_patients_is_said_to_drown() {
    let text = quote(&quotes(), 10, 80, false);
    assert!(text.contains("none: noise drowns a group of 10"), "{text}");
}

#[test]
fn a_quote_that_every_node_refuses_has_no_precision() {
    let mut reply = quotes();
    reply.nodes.drain(..2);
    let text = quote(&reply, 1000, 80, false);
    assert!(
        text.contains("hospital-c would be left out: NODE_UNREACHABLE"),
        "{text}"
    );
    assert!(!text.contains("Expected"), "{text}");
}

fn detail() -> TemplateDetail {
    let node = |name: &str, decision| TemplateAtNode {
        node: name.parse().expect("name"),
        decision,
    };
    TemplateDetail {
        summary: TemplateSummary::new(&template_file(), template_ref()),
        source: TEMPLATE.into(),
        nodes: vec![
            node("hospital-a", Ok(Decision::Approved)),
            node("hospital-c", Err(unreachable())),
        ],
    }
}

#[test]
fn a_templates_source_can_not_drive_the_terminal() {
    assert_eq!(source(&detail()), TEMPLATE);
    let hostile = TemplateDetail {
        source: "# \x1b]0;owned\x07\n\tid = 'a\u{202e}b'\n".into(),
        ..detail()
    };
    let expected = "# \u{fffd}]0;owned\u{fffd}\n\tid = 'a\u{fffd}b'\n";
    assert_eq!(source(&hostile), expected);
}

#[test]
fn a_template_for_people() {
    let expected = "\
HbA1c by age and sex
hba1c_by_age_and_sex 1.0.0
sha256:0707070707070707070707070707070707070707070707070707070707070707

How is HbA1c distributed among people with type 2 diabetes, by age and
sex?

Privacy loss at each node: ρ 0.005

Parameters
  condition: a concept id (a positive whole number); must be given
  since: a date from 2015-01-01 to 2026-12-31; default 2020-01-01.
    Measurements from this day on

Nodes
  hospital-a: approved
  hospital-c: NODE_UNREACHABLE, hospital-c does not accept connections.
    Ask again later, or tell its operator.
";
    assert_text(&template(&detail(), 72, false), expected);
}

#[test]
fn a_list_of_templates() {
    let list = [detail().summary];
    let expected = "\
hba1c_by_age_and_sex 1.0.0
  How is HbA1c distributed among people with type 2
  diabetes, by age and sex?
  ρ 0.005; parameters: condition, since
";
    assert_text(&templates(&list, 60, false), expected);
    assert!(templates(&[], 60, false).contains("no templates"));
}

#[test]
fn a_list_of_releases() {
    let expected = "\
release                           merged                template                    permit     parameters
abababababababababababababababab  2026-02-03 04:05 UTC  hba1c_by_age_and_sex 1.0.0  FI/2026-7  since=2020-01-01
";
    assert_text(&releases(&[(&release()).into()], false), expected);
    assert!(releases(&[], false).contains("ward ask"));
}

fn permit_of(until: &str) -> Permit {
    Permit {
        v: 1,
        id: "FI/2026-7".parse().expect("id"),
        version: 2,
        access_body: "findata".into(),
        issued_at: "2026-01-02T03:04:05Z".parse().expect("time"),
        valid_from: "2026-01-03T00:00:00Z".parse().expect("time"),
        valid_until: until.parse().expect("time"),
        holder: Holder {
            organisation: "University".into(),
            principal_investigator: "Ada Lovelace".into(),
            public_body: false,
        },
        persons: [
            "ada@uni.example".parse().expect("subject"),
            "bob@uni.example".parse().expect("subject"),
        ]
        .into(),
        purpose: ward_schemas::ehds::Purpose::ScientificResearch,
        templates: [template_ref()].into(),
        nodes: [
            "hospital-a".parse().expect("name"),
            "hospital-b".parse().expect("name"),
        ]
        .into(),
        budget: "0.05".parse().expect("rho"),
        budget_delta: Delta::ZERO,
        minimum_nodes: 2,
        requester_key: None,
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("time")
}

#[test]
fn an_unchecked_permit_says_so_first() {
    let permit_ = permit_of("2027-01-03T00:00:00Z");
    let now = at("2026-06-01T00:00:00Z");
    let text = permit(&permit_, &Signature::NotChecked, now, 80, false);
    let expected = "\
Permit FI/2026-7, version 2
SIGNATURE NOT CHECKED: anybody may have written this. Give the access body's
public key with --trust

access body    findata
issued         2026-01-02 03:04 UTC
valid          from 2026-01-03 00:00 UTC until 2027-01-03 00:00 UTC (valid now)
holder         University; principal investigator Ada Lovelace
persons        ada@uni.example
               bob@uni.example
purpose        scientific-research
templates      hba1c_by_age_and_sex 1.0.0
               sha256:0707070707070707070707070707070707070707070707070707070707070707
nodes          hospital-a, hospital-b; at least 2 of 2 must answer
budget         ρ 0.05 at each node
requester key  none bound
";
    assert_text(&text, expected);
}

#[test]
fn permits_say_whether_they_are_valid_and_trusted() {
    let permit_ = permit_of("2027-01-03T00:00:00Z");
    let inspect = |signature, now| permit(&permit_, &signature, at(now), 100, false);
    let bad = Signature::Bad(JwsError::Signature);
    assert!(inspect(bad, "2026-01-01T00:00:00Z").contains("SIGNATURE NOT TRUSTED: the sig"));
    let key = SigningKey::generate().expect("key").verifying_key();
    let good = inspect(Signature::Good(key), "2026-01-01T00:00:00Z");
    assert!(
        good.contains(&format!("signature good, by {key}")),
        "{good}"
    );
    assert!(good.contains("NOT YET VALID"), "{good}");
    let late = inspect(Signature::NotChecked, "2027-01-03T00:00:00Z");
    assert!(late.contains("EXPIRED"), "{late}");
    let impossible = permit_of("2025-01-03T00:00:00Z");
    let text = permit(
        &impossible,
        &Signature::NotChecked,
        at("2026-06-01T00:00:00Z"),
        80,
        false,
    );
    assert!(
        text.contains("NO NODE WILL ACCEPT IT: valid_until"),
        "{text}"
    );
}

#[test]
fn typed_errors_show_code_detail_and_remedy() {
    let refused = Problem::new(
        ErrorCode::BudgetExhausted,
        "the ask costs rho 0.005 and hospital-a has 0.001 left until 2026-12-01",
        "Ask with at most rho 0.001, or wait.",
    );
    let expected = "\
error: The node's privacy budget is spent (BUDGET_EXHAUSTED)
  the ask costs rho 0.005 and hospital-a has 0.001 left until 2026-12-01.
  → Ask with at most rho 0.001, or wait.
";
    let refused = CommandError::Client(ClientError::Problem(refused));
    assert_text(&error(&refused, 80, false), expected);
}

#[test]
fn a_failed_ask_names_the_nodes_left_out() {
    let failed = CommandError::Client(ClientError::Failed {
        problem: Problem::new(
            ErrorCode::TooFewNodes,
            "2 nodes answered and the permit asks for 3",
            "Ask again when more nodes can be reached.",
        ),
        nodes: outcomes(),
    });
    let expected = "\
error: Too few nodes answered (TOO_FEW_NODES)
  2 nodes answered and the permit asks for 3.
  → Ask again when more nodes can be reached.
Left out
  hospital-c: NODE_UNREACHABLE, hospital-c does not accept connections. Ask
    again later, or tell its operator.
";
    assert_text(&error(&failed, 76, false), expected);
}

#[test]
fn other_errors_are_one_line() {
    let text = error(&CommandError::Binary, 80, true);
    assert!(
        text.starts_with("\x1b[1;31merror:\x1b[0m arrow is"),
        "{text}"
    );
    assert!(text.ends_with('\n'));
}
