//! What a template costs, as a steward reads it before deciding.

use std::fmt;

use ward_schemas::cost::{self, Assumed, MeasureCost, USUAL_GROUP};
use ward_schemas::loss::Loss;
use ward_schemas::plan::{Noise, Plan, TablePlan};

use crate::budget::spent_units;
use crate::engine;

/// The cost and precision of one ask at this node alone, at the template's own ρ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostReport(pub Plan);

impl fmt::Display for CostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.0;
        let loss = Loss {
            rho: plan.rho(),
            delta: plan.delta(),
        };
        write!(
            f,
            "One ask costs {} units ({loss}; {}) at this node:",
            spent_units(loss.rho),
            engine::stated(loss)
        )?;
        let assumed = Assumed {
            nodes: 1,
            group: USUAL_GROUP,
        };
        let noise = plan.noise(plan.rho()).unwrap_or_default();
        let costs = cost::measures(plan, plan.rho(), assumed);
        for (table, noise) in plan.tables.iter().zip(&noise) {
            write!(f, "\n  table {}: {}", table.name, shape(table, noise))?;
            for cost in costs.iter().filter(|cost| cost.table == table.name) {
                write!(f, "\n    {}: {}", cost.column, precision(cost))?;
            }
        }
        Ok(())
    }
}

fn shape(table: &TablePlan, noise: &[Noise]) -> String {
    let keys = table.keys.iter();
    let keys: Vec<_> = keys
        .map(|key| format!("{} {}", key.domain.len(), key.name))
        .collect();
    let cells = match table.cells() {
        1 => "1 cell".to_owned(),
        cells => format!("{cells} cells ({})", keys.join(" × ")),
    };
    let most = table.contribution.max_groups;
    match (&table.data_key, table.threshold(noise)) {
        (Some(key), Some(least)) => format!(
            "{cells} for each value of {} that at least about {least} patients have, a patient counts in at most {most} groups",
            key.name
        ),
        _ => format!("{cells}, a patient counts in at most {most} of them"),
    }
}

fn precision(cost: &MeasureCost) -> String {
    let unit = match cost.unit.as_str() {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    let group = match cost.count {
        true => String::new(),
        false => format!(" for groups of {USUAL_GROUP}"),
    };
    match cost.precision {
        None => format!("nothing{group}: the noise drowns them"),
        Some(p) => format!(
            "noise of standard deviation {:.2}{unit}, ± {:.2}{unit} at 95 %{group}",
            p.sigma, p.half_width
        ),
    }
}

#[cfg(test)]
mod tests {
    use ward_privacy::Program;
    use ward_schemas::canonical::ContentHash;
    use ward_schemas::key::NoVocabulary;
    use ward_schemas::template::Template;

    use super::*;

    const TEMPLATE: &str = r#"
id = "weight"
version = "1.0.0"
title = "Weight"
question = "How heavy?"
purposes = ["scientific-research"]
categories = ["ehr"]

[[tables]]
name = "people"
sql = "SELECT COUNT(DISTINCT person_id) AS patients FROM person"
rho = "0.005"
contribution = { max_groups = 1, max_rows_per_group = 1 }

[[tables]]
name = "by_sex"
sql = """
SELECT p.gender_concept_id AS sex, AVG(m.value_as_number) AS kilograms
FROM measurement m JOIN person p ON p.person_id = m.person_id GROUP BY 1"""
rho = "0.007"
contribution = { max_groups = 1, max_rows_per_group = 1 }
keys.sex = { concepts = [8507, 8532] }
bounds.kilograms = { lower = "20", upper = "220", step = "1", unit = "kg" }
"#;

    #[test]
    fn a_steward_reads_what_an_ask_costs() {
        let template = Template::parse(TEMPLATE).expect("a template");
        let expanded = template.expand(ContentHash::of_bytes(b"v"), &NoVocabulary);
        let program = Program::compile(&expanded.expect("expanded")).expect("accepted");
        let report = CostReport(program.plan().clone()).to_string();
        let beginning = "\
One ask costs 2.4 units (ρ 0.012; epsilon <= 0.69 at delta = 1e-6) at this node:
  table people: 1 cell, a patient counts in at most 1 of them
    patients: noise of standard deviation 10.00, ± 19.60 at 95 %
  table by_sex: 2 cells (2 sex), a patient counts in at most 1 of them
    kilograms: noise of standard deviation ";
        assert!(report.starts_with(beginning), "{report}");
        assert!(
            report.ends_with(" kg at 95 % for groups of 1000"),
            "{report}"
        );
    }
}
