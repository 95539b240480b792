//! The budget as a steward reads it.

use std::fmt;

use chrono::{DateTime, Duration, Utc};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use ward_schemas::names::{NodeName, PermitId};
use ward_schemas::rho::Rho;

use crate::config::Policy;
use crate::ledger::{self, YEAR_DAYS};

/// The δ at which a ρ is shown as an ε.
pub const DELTA: f64 = 1e-6;

/// What was spent of a node's budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetReport {
    /// Which node.
    pub node: NodeName,
    /// The steward's limits.
    pub policy: Policy,
    /// Spent in the last 365 days, in units of ρ (10⁻⁹).
    pub spent_year: u64,
    /// Spent ever, in units of ρ.
    pub spent_lifetime: u64,
    /// When the oldest charge of the last 365 days was made.
    pub oldest_of_year: Option<DateTime<Utc>>,
    /// What each permit has used.
    pub permits: Vec<PermitLine>,
}

/// What one permit has used at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitLine {
    /// Who issued it.
    pub access_body: String,
    /// The permit.
    pub permit: PermitId,
    /// Asks that were charged.
    pub asks: u64,
    /// What they cost together.
    pub charged: Rho,
}

impl BudgetReport {
    /// What may still be spent now: in the year, and in the lifetime.
    pub fn left(&self) -> Rho {
        let year = ledger::left(self.policy.yearly_rho, self.spent_year);
        year.min(ledger::left(self.policy.lifetime_rho, self.spent_lifetime))
    }

    fn budgets(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY);
        table.set_header(["", "spent", "left", "of", "spent is (ε, δ)"]);
        let lines = [
            ("last 365 days", self.spent_year, self.policy.yearly_rho),
            ("lifetime", self.spent_lifetime, self.policy.lifetime_rho),
        ];
        for (name, spent, budget) in lines {
            let spent_rho = Rho::from_units(spent).unwrap_or(budget);
            table.add_row([
                name.to_owned(),
                format!("{spent_rho} ({} %)", percent(spent, budget)),
                ledger::left(budget, spent).to_string(),
                budget.to_string(),
                format!("({:.2}, {DELTA:e})", spent_rho.epsilon(DELTA)),
            ]);
        }
        table
    }

    fn by_permit(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_HORIZONTAL_ONLY);
        table.set_header(["permit", "access body", "asks", "charged"]);
        for line in &self.permits {
            table.add_row([
                line.permit.to_string(),
                line.access_body.clone(),
                line.asks.to_string(),
                line.charged.to_string(),
            ]);
        }
        table
    }
}

impl fmt::Display for BudgetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Privacy budget of {} (privacy loss rho)", self.node)?;
        writeln!(f, "{}", self.budgets())?;
        let typical = Rho::from_units(5_000_000).unwrap_or_default();
        let asks = self.left().units() / typical.units();
        writeln!(f, "Room now for about {asks} asks of rho {typical}.")?;
        if let Some(back) = self
            .oldest_of_year
            .and_then(|at| at.checked_add_signed(Duration::days(YEAR_DAYS)))
        {
            let day = back.date_naive();
            writeln!(f, "The year's oldest charge comes free after {day}.")?;
        }
        if self.permits.is_empty() {
            write!(f, "No permit has charged anything yet.")
        } else {
            write!(f, "{}", self.by_permit())
        }
    }
}

fn percent(spent: u64, budget: Rho) -> u128 {
    u128::from(spent) * 100 / u128::from(budget.units()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steward_reads_what_is_spent_and_what_is_left() {
        let report = BudgetReport {
            node: "hospital-a".parse().expect("a name"),
            policy: Policy::default(),
            spent_year: 15_000_000,
            spent_lifetime: 4_900_000_000,
            oldest_of_year: DateTime::from_timestamp(1_700_000_000, 0),
            permits: vec![PermitLine {
                access_body: "Body".to_owned(),
                permit: "P-1".parse().expect("a permit"),
                asks: 3,
                charged: "0.015".parse().expect("a rho"),
            }],
        };
        let text = report.to_string();
        assert!(text.contains("0.015 (3 %)"), "{text}");
        assert!(text.contains("0.485"), "{text}");
        assert!(text.contains("Room now for about 20 asks"), "{text}");
        assert!(text.contains("2024-11-13"), "{text}");
        assert!(text.contains("P-1"), "{text}");
    }
}
