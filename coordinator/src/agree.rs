//! One plan for all: whose quotes count, and what the merged answer will mean.

use std::collections::BTreeMap;

use ward_schemas::canonical::ContentHash;
use ward_schemas::loss::{EpsilonDelta, Loss};
use ward_schemas::names::NodeName;
use ward_schemas::plan::{ColumnContent, Component, ComponentUnit, Noise, Plan, TablePlan};
use ward_schemas::problem::{ErrorCode, Problem};
use ward_schemas::rho::Rho;
use ward_schemas::template::{Contribution, ExpandedTemplate, TableSpec};
use ward_schemas::wire::{Quote, WIRE_FORMAT};

/// What every node said to a quote request.
pub type Quotes = BTreeMap<NodeName, Result<Quote, Problem>>;

/// The plan that the most nodes compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The plan.
    pub plan: Plan,
    /// Its hash.
    pub hash: ContentHash,
    /// The noise of each component, by table.
    pub noise: Vec<Vec<Noise>>,
    /// What the ask's privacy loss means by itself: the most that a node states.
    pub meaning: EpsilonDelta,
}

/// Checks every quote of an ask for `template` at `rho`, and finds the plan that more nodes
/// compiled than any other: nodes with another one are left out with
/// [`ErrorCode::PlanDiffers`], all of them where two plans are equally frequent. `None` when no
/// node is left.
pub fn choose_plan(
    template: &ExpandedTemplate,
    rho: Rho,
    quotes: Quotes,
) -> (Option<Agreed>, Quotes) {
    let mut checked: Quotes = quotes
        .into_iter()
        .map(|(node, quote)| {
            let quote = quote.and_then(|q| check_quote(template, rho, &node, q));
            (node, quote)
        })
        .collect();
    let chosen = most_frequent(checked.values().flatten());
    for quote in checked.values_mut() {
        if quote.as_ref().is_ok_and(|q| q.plan.hash().ok() != chosen) {
            *quote = Err(plan_differs());
        }
    }
    let agreed = checked.values().flatten();
    let agreed = agreed.max_by_key(|quote| quote.meaning.epsilon);
    let agreed = agreed.zip(chosen).and_then(|(quote, hash)| {
        Some(Agreed {
            plan: quote.plan.clone(),
            hash,
            noise: quote.plan.noise(rho).ok()?,
            meaning: quote.meaning,
        })
    });
    (agreed, checked)
}

fn most_frequent<'a>(quotes: impl Iterator<Item = &'a Quote>) -> Option<ContentHash> {
    let mut counts: BTreeMap<ContentHash, usize> = BTreeMap::new();
    for hash in quotes.filter_map(|q| q.plan.hash().ok()) {
        *counts.entry(hash).or_default() += 1;
    }
    let most = *counts.values().max()?;
    let mut frequent = counts.iter().filter(|(_, count)| **count == most);
    let (hash, _) = frequent.next()?;
    frequent.next().is_none().then_some(*hash)
}

fn plan_differs() -> Problem {
    Problem::new(
        ErrorCode::PlanDiffers,
        "the node compiled the template to another plan than the most frequent one",
        "Bring the nodes to the same version of Ward and the same vocabulary package.",
    )
}

fn check_quote(
    template: &ExpandedTemplate,
    rho: Rho,
    node: &NodeName,
    quote: Quote,
) -> Result<Quote, Problem> {
    let refused = |detail: &str| {
        let remedy = "Bring the node to the version of Ward that the coordinator runs.";
        Problem::new(ErrorCode::PlanDiffers, detail, remedy)
    };
    if quote.v != WIRE_FORMAT || quote.node != *node {
        return Err(refused("the quote is of another format or node"));
    }
    let loss = Loss {
        rho,
        delta: template.template().loss().delta,
    };
    if quote.loss != loss || !quote.charge.is_within(loss) {
        return Err(refused("the quote is for another loss than was asked"));
    }
    if !plan_fits(template, &quote.plan) {
        return Err(refused("the quoted plan is not one of the template asked"));
    }
    if let Err(error) = quote.plan.noise(rho) {
        let remedy = "Leave rho out, or ask with a larger one.";
        return Err(Problem::new(
            ErrorCode::RhoRefused,
            error.to_string(),
            remedy,
        ));
    }
    Ok(quote)
}

/// Whether the plan computes the template's tables over its groups. What a node quotes is not
/// trusted: it decides labels and sizes of the merged answer.
fn plan_fits(template: &ExpandedTemplate, plan: &Plan) -> bool {
    let tables = &template.template().tables;
    plan.template == template.reference()
        && plan.vocabulary == template.vocabulary()
        && plan.tables.len() == tables.len()
        && tables
            .iter()
            .zip(&plan.tables)
            .all(|(spec, table)| table_fits(template, spec, table))
}

fn table_fits(template: &ExpandedTemplate, spec: &TableSpec, table: &TablePlan) -> bool {
    let Some(domains) = template.keys(&spec.name) else {
        return false;
    };
    let keys_fit = table.keys.len() == domains.len()
        && table
            .keys
            .iter()
            .all(|key| domains.get(&key.name) == Some(&key.domain));
    let columns_fit = table.columns.iter().all(|column| match column.content {
        ColumnContent::Key { index } => index < table.keys.len(),
        ColumnContent::DataKey | ColumnContent::Nodes => table.data_key.is_some(),
        ColumnContent::Measure { .. } => true,
    });
    let weights = table
        .components
        .iter()
        .try_fold(0_u32, |sum, c| sum.checked_add(c.weight));
    table.name == spec.name
        && table.rho == spec.rho
        && table.delta == spec.delta
        && contribution_fits(spec.contribution, table.contribution)
        && keys_fit
        && data_key_fits(spec, table)
        && columns_fit
        && weights.is_some()
}

/// Fewer groups than declared are enough where a patient's rows can't fall into more.
fn contribution_fits(declared: Contribution, compiled: Contribution) -> bool {
    (1..=declared.max_groups).contains(&compiled.max_groups)
        && compiled.max_rows_per_group == declared.max_rows_per_group
}

/// Whether the key that comes from data is the declared one, and its threshold looks at a count of
/// patients.
fn data_key_fits(spec: &TableSpec, table: &TablePlan) -> bool {
    let (declared, compiled) = match (spec.data_key(), &table.data_key) {
        (None, None) => return true,
        (Some(declared), Some(compiled)) => (declared, compiled),
        _ => return false,
    };
    let counts_patients = |c: &Component| c.unit == ComponentUnit::One && c.bound == 1;
    declared == (&compiled.name, compiled.from_data, compiled.most)
        && table
            .components
            .get(compiled.counted)
            .is_some_and(counts_patients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::data_key::{DataKey, DataKeyType};
    use ward_schemas::delta::Delta;

    use crate::testing::{node, plan, quote, rho, template};

    fn choose(quotes: impl IntoIterator<Item = (&'static str, Quote)>) -> (Option<Agreed>, Quotes) {
        let quotes = quotes.into_iter().map(|(name, q)| (node(name), Ok(q)));
        choose_plan(&template(), rho(), quotes.collect())
    }

    fn other_plan(name: &str) -> Quote {
        let mut quote = quote(name);
        quote.plan.engine = "ward-privacy/0".into();
        quote
    }

    #[test]
    fn the_minority_is_left_out_by_name() {
        let (agreed, quotes) =
            choose([("a", quote("a")), ("b", other_plan("b")), ("c", quote("c"))]);
        assert_eq!(agreed.expect("agreed").plan, plan());
        let refused = quotes[&node("b")].as_ref().expect_err("left out");
        assert_eq!(refused.code, ErrorCode::PlanDiffers);
        assert!(quotes[&node("a")].is_ok() && quotes[&node("c")].is_ok());
    }

    #[test]
    fn a_tie_has_no_plan() {
        let (agreed, quotes) = choose([("a", quote("a")), ("b", other_plan("b"))]);
        assert_eq!(agreed, None);
        assert!(quotes.values().all(Result::is_err));
    }

    #[test]
    fn refusals_stay_as_they_are() {
        let problem = Problem::new(ErrorCode::BudgetExhausted, "spent", "Wait.");
        let quotes = [
            (node("a"), Err(problem.clone())),
            (node("b"), Ok(quote("b"))),
        ];
        let (agreed, quotes) = choose_plan(&template(), rho(), quotes.into());
        assert!(agreed.is_some());
        assert_eq!(quotes[&node("a")], Err(problem));
    }

    #[test]
    fn a_quote_must_be_of_this_node_ask_and_template() {
        type Change = fn(&mut Quote);
        let changes: [Change; 14] = [
            |q| q.node = node("z"),
            |q| q.v = WIRE_FORMAT + 1,
            |q| q.loss.rho = Rho::ZERO,
            |q| q.charge.rho = Rho::from_units(1_000_000_000).expect("rho"),
            |q| q.plan.template.hash = ContentHash::of_bytes(b"other"),
            |q| q.plan.tables[0].keys.clear(),
            |q| {
                q.plan.tables[0].data_key = Some(DataKey {
                    name: "sex".parse().expect("name"),
                    from_data: DataKeyType::Integer,
                    most: 10,
                    counted: 0,
                });
            },
            |q| q.plan.tables[0].columns[0].content = ColumnContent::DataKey,
            |q| q.plan.tables[0].columns[0].content = ColumnContent::Key { index: 7 },
            |q| q.plan.tables[0].rho = Rho::ZERO,
            |q| q.plan.tables[0].contribution.max_groups = 0,
            |q| q.plan.tables[0].contribution.max_groups = 2,
            |q| q.plan.tables[0].contribution.max_rows_per_group = 2,
            |q| q.plan.tables[0].delta = Delta::from_units(1).expect("delta"),
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut changed = quote("a");
            change(&mut changed);
            let (agreed, _) = choose([("a", changed)]);
            assert_eq!(agreed, None, "change {i}");
        }
    }
}
