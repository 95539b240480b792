//! Is this partial what was asked for? Then, and only then, it is merged.

use ward_schemas::ask::AskContent;
use ward_schemas::canonical::ContentHash;
use ward_schemas::data_key::ShownValues;
use ward_schemas::jws::{KeyRing, MessageKind};
use ward_schemas::names::NodeName;
use ward_schemas::parameter::Parameters;
use ward_schemas::partial::{
    AuditHead, NoiseKind, PARTIAL_FORMAT, PartialClaims, PartialEnvelope, Vectors,
};
use ward_schemas::permit::Permit;
use ward_schemas::plan::{Plan, TablePlan};
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::release::Outcome;
use ward_schemas::rho::Rho;

/// What a node was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// The key that signs its partials.
    pub key: &'a KeyRing<NodeName>,
    /// The agreed plan.
    pub plan: &'a Plan,
    /// Its hash.
    pub plan_hash: ContentHash,
    /// Typed parameters, defaults filled in.
    pub parameters: &'a Parameters,
    /// The permit.
    pub permit: &'a Permit,
    /// Privacy loss.
    pub rho: Rho,
    /// The node's audit head that was sent with the ask.
    pub witness: Option<AuditHead>,
}

/// One row of a partial's record batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentRow {
    /// Name of the table.
    pub table: String,
    /// Name of the component.
    pub component: String,
    /// The shown values of the table's key that comes from data, as text.
    pub shown: Option<Vec<String>>,
    /// The integers.
    pub values: Vec<i64>,
}

/// A partial as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The signed envelope.
    pub envelope: String,
    /// The integers.
    pub rows: Vec<ComponentRow>,
}

/// A partial that may be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it says of itself.
    pub claims: PartialClaims,
    /// The node's audit head when it left.
    pub audit: AuditHead,
    /// The integers.
    pub vectors: Vectors,
}

impl Accepted {
    /// How a release tells of it.
    pub fn outcome(&self) -> Outcome {
        Outcome::Answered {
            snapshot: self.claims.snapshot,
            partial: self.claims.digest,
            audit: self.audit,
        }
    }
}

/// Checks a partial against what was asked.
///
/// # Errors
/// When the node did not sign it, or it is another node's, plan's, ask's or ρ's; when its noise
/// protects nobody; when the integers are not those signed; when the audit log went back.
pub fn accept_partial(expected: &Expected<'_>, received: &Received) -> Result<Accepted, Problem> {
    let (envelope, _) = expected
        .key
        .verify::<PartialEnvelope>(MessageKind::Partial, &received.envelope)
        .map_err(|e| refused(format!("the partial of {}: {e}", expected.node)))?;
    check_claims(expected, &envelope.claims)?;
    check_witness(expected, envelope.audit)?;
    let vectors = vectors(expected.plan, &received.rows)?;
    check_thresholds(expected, &vectors)?;
    if vectors.digest() != envelope.claims.digest {
        return Err(refused("the integers are not those that the node signed"));
    }
    Ok(Accepted {
        claims: envelope.claims,
        audit: envelope.audit,
        vectors,
    })
}

fn check_claims(expected: &Expected<'_>, claims: &PartialClaims) -> Result<(), Problem> {
    if claims.v != PARTIAL_FORMAT {
        return Err(refused(format!(
            "partial format {} is not supported",
            claims.v
        )));
    }
    if claims.node != *expected.node {
        return Err(refused(format!(
            "{} sent a partial of {}",
            expected.node, claims.node
        )));
    }
    if claims.noise != NoiseKind::DiscreteGaussian {
        return Err(refused("its noise is a test's and protects nobody"));
    }
    if claims.plan != expected.plan_hash {
        return Err(refused("it is of another plan than the node quoted"));
    }
    if claims.rho != expected.rho {
        return Err(refused(format!(
            "it is at rho {}, not {}",
            claims.rho, expected.rho
        )));
    }
    let identity = ask_content(expected, claims).identity();
    if identity.ok() != Some(claims.ask) {
        return Err(refused("it answers another ask"));
    }
    Ok(())
}

/// The content that the node must have answered. No exception of Article 71(4) can be asked for.
fn ask_content(expected: &Expected<'_>, claims: &PartialClaims) -> AskContent {
    AskContent {
        template: expected.plan.template.hash,
        engine: expected.plan.engine.clone(),
        vocabulary: expected.plan.vocabulary,
        parameters: expected.parameters.clone(),
        rho: expected.rho,
        snapshot: claims.snapshot,
        opt_out_cutoff: expected.permit.issued_at.date_naive(),
        opt_out_exception: false,
    }
}

fn check_witness(expected: &Expected<'_>, audit: AuditHead) -> Result<(), Problem> {
    // No log gets so long, and the database could not hold it.
    if i64::try_from(audit.sequence).is_err() {
        return Err(refused(format!(
            "the audit log of {} claims {} records, more than there can be",
            expected.node, audit.sequence
        )));
    }
    let Some(seen) = expected.witness else {
        return Ok(());
    };
    let forked = audit.sequence == seen.sequence && audit.hash != seen.hash;
    if audit.sequence < seen.sequence || forked {
        return Err(Problem::new(
            ErrorCode::NodeRolledBack,
            format!(
                "the audit log of {} stands at record {}, and record {} was seen before",
                expected.node, audit.sequence, seen.sequence
            ),
            "The hospital restores its newest state, or its steward explains the loss.",
        ));
    }
    Ok(())
}

/// The integers in the plan's shape: one row a component, in the plan's order, each with the shown
/// values of its table.
fn vectors(plan: &Plan, rows: &[ComponentRow]) -> Result<Vectors, Problem> {
    let mut rest = rows.iter();
    let mut tables = Vec::with_capacity(plan.tables.len());
    let mut all_shown = Vec::with_capacity(plan.tables.len());
    for table in &plan.tables {
        let mut components = Vec::with_capacity(table.components.len());
        let texts = rest.as_slice().first().and_then(|row| row.shown.as_ref());
        for component in &table.components {
            let row = rest
                .next()
                .filter(|row| row.table == table.name.as_str() && row.component == component.name)
                .filter(|row| row.shown.as_ref() == texts);
            let row = row.ok_or_else(|| refused("its rows are not the plan's components"))?;
            components.push(row.values.clone());
        }
        tables.push(components);
        all_shown.push(shown(table, texts)?);
    }
    if rest.next().is_some() {
        return Err(refused("it has more rows than the plan has components"));
    }
    Vectors::with_shown(plan, tables, all_shown).map_err(|e| refused(e.to_string()))
}

/// A hospital's own texts are not trusted: what is not fit for display is refused.
fn shown(table: &TablePlan, texts: Option<&Vec<String>>) -> Result<Option<ShownValues>, Problem> {
    match (&table.data_key, texts) {
        (None, None) => Ok(None),
        (Some(key), Some(texts)) => {
            let shown = ShownValues::parse(key, texts);
            shown.map(Some).map_err(|e| refused(e.to_string()))
        }
        _ => Err(refused(format!(
            "table {}: values are shown of keys that come from data, and of no others",
            table.name
        ))),
    }
}

/// Whether every value that is shown of a key from data has the noisy count that it needs.
fn check_thresholds(expected: &Expected<'_>, vectors: &Vectors) -> Result<(), Problem> {
    let noise = expected.plan.noise(expected.rho);
    let noise = noise.map_err(|e| refused(e.to_string()))?;
    let tables = expected.plan.tables.iter().zip(&noise);
    for ((table, noise), components) in tables.zip(vectors.values()) {
        let counted = table
            .data_key
            .as_ref()
            .and_then(|key| components.get(key.counted));
        let is_low = |count: &i64| {
            let threshold = table.threshold(noise);
            threshold.is_none_or(|t| i128::from(*count) < i128::from(t))
        };
        if counted.is_some_and(|counts| counts.iter().any(is_low)) {
            return Err(refused(format!(
                "table {}: it shows a value whose count is below the threshold",
                table.name
            )));
        }
    }
    Ok(())
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(
        ErrorCode::PartialRefused,
        detail,
        "The node's operator checks its version, its signing key and its configuration here.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, node, permit, plan, rho};
    use ward_schemas::data_key::{DataKey, DataKeyType};
    use ward_schemas::jws::SigningKey;

    /// What `accept_partial` says to an answer of hospital a, after `change`.
    fn judge(change: impl FnOnce(&mut Answer)) -> Result<Accepted, Problem> {
        let mut answer = Answer::new(&node("a"));
        change(&mut answer);
        judge_for(&plan(), answer)
    }

    /// What `accept_partial` says to this answer where this plan was agreed on.
    fn judge_for(plan: &Plan, mut answer: Answer) -> Result<Accepted, Problem> {
        let key = SigningKey::generate().expect("randomness");
        let ring = KeyRing::new([(key.verifying_key(), node("a"))]);
        let expected = Expected {
            node: &node("a"),
            key: &ring,
            plan_hash: plan.hash().expect("hash"),
            plan,
            parameters: &Parameters::new(),
            permit: &permit(&[node("a")]),
            rho: rho(),
            witness: answer.witness,
        };
        let signer = answer.signer.take().unwrap_or(key);
        accept_partial(&expected, &answer.sign(&signer))
    }

    fn refusal(change: impl FnOnce(&mut Answer)) -> String {
        let problem = judge(change).expect_err("refused");
        assert_eq!(problem.code, ErrorCode::PartialRefused);
        problem.detail
    }

    #[test]
    fn a_good_partial_is_accepted_with_its_integers() {
        let accepted = judge(|_| {}).expect("accepted");
        assert_eq!(accepted.vectors.values(), [vec![vec![101, -3]]]);
        assert!(accepted.outcome().answered());
    }

    #[test]
    fn frozen_noise_is_refused() {
        let detail = refusal(|a| a.claims.noise = NoiseKind::Frozen);
        assert!(detail.contains("protects nobody"), "{detail}");
    }

    #[test]
    fn other_claims_are_refused() {
        refusal(|a| a.claims.v = 1);
        refusal(|a| a.claims.node = node("b"));
        refusal(|a| a.claims.plan = ContentHash::of_bytes(b"other"));
        refusal(|a| a.claims.rho = Rho::from_units(1).expect("rho"));
        refusal(|a| a.claims.ask = ContentHash::of_bytes(b"other"));
    }

    #[test]
    fn other_integers_than_signed_are_refused() {
        let detail = refusal(|a| a.rows[0].values[1] += 1);
        assert!(detail.contains("signed"), "{detail}");
        refusal(|a| a.claims.digest = ContentHash::of_bytes(b"other"));
    }

    #[test]
    fn another_shape_is_refused() {
        refusal(|a| a.rows.clear());
        refusal(|a| a.rows.push(a.rows[0].clone()));
        refusal(|a| a.rows[0].component = "rows".into());
        refusal(|a| a.rows[0].values.push(0));
    }

    /// The plan, with a key whose values come from data in place of the public one.
    fn by_code() -> Plan {
        let mut plan = plan();
        plan.tables[0].keys.clear();
        plan.tables[0].delta = "1e-9".parse().expect("delta");
        plan.tables[0].data_key = Some(DataKey {
            name: "code".parse().expect("name"),
            from_data: DataKeyType::Text,
            most: 2,
            counted: 0,
        });
        plan
    }

    /// What is said to a partial that shows these values, 101 patients of each.
    fn show(values: Option<&[&str]>, count: i64) -> Result<(), String> {
        let plan = by_code();
        let shown = values.map(|values| values.iter().map(|v| (*v).to_owned()).collect());
        let row = ComponentRow {
            table: "by_sex".into(),
            component: "patients".into(),
            values: vec![count; values.map_or(0, <[_]>::len)],
            shown,
        };
        let mut answer = Answer::new(&node("a"));
        answer.claims.plan = plan.hash().expect("hash");
        answer.rows = vec![row];
        if let Ok(vectors) = vectors(&plan, &answer.rows) {
            answer.claims.digest = vectors.digest();
        }
        let accepted = judge_for(&plan, answer);
        accepted.map(|_| ()).map_err(|problem| problem.detail)
    }

    #[test]
    fn lists_of_values_that_no_node_makes_are_refused() {
        assert_eq!(show(Some(&["A", "B"]), 101), Ok(()));
        assert_eq!(show(Some(&[]), 101), Ok(()));
        let refusal = |values| show(values, 101).expect_err("refused");
        assert!(refusal(Some(&["B", "A"])).contains("ascending"));
        assert!(refusal(Some(&["A", "A"])).contains("ascending"));
        assert!(refusal(Some(&["A", "B", "C"])).contains("more than 2"));
        assert!(refusal(Some(&["A", "b\u{202e}"])).contains("invisible"));
        assert!(refusal(None).contains("values are shown"));
        let low = show(Some(&["A"]), 40).expect_err("below the threshold");
        assert!(low.contains("below the threshold"), "{low}");
        let mut rows = Answer::new(&node("a")).rows;
        rows[0].shown = Some(vec!["A".into()]);
        assert!(vectors(&plan(), &rows).is_err());
    }

    #[test]
    fn another_key_is_refused() {
        let stranger = SigningKey::generate().expect("randomness");
        refusal(|a| a.signer = Some(stranger));
    }

    #[test]
    fn an_audit_log_longer_than_can_be_is_refused() {
        let longest = i64::MAX.unsigned_abs();
        assert!(judge(|a| a.audit.sequence = longest).is_ok());
        let detail = refusal(|a| a.audit.sequence = longest + 1);
        assert!(detail.contains("log of a"), "{detail}");
    }

    #[test]
    fn an_audit_log_that_went_back_is_refused() {
        let head = |sequence, text: &[u8]| {
            let hash = ContentHash::of_bytes(text);
            Some(AuditHead { sequence, hash })
        };
        for seen in [head(8, b"newer"), head(7, b"another branch")] {
            let problem = judge(|a| a.witness = seen).expect_err("refused");
            assert_eq!(problem.code, ErrorCode::NodeRolledBack);
        }
        assert!(judge(|a| a.witness = head(6, b"older")).is_ok());
    }
}
