//! The budget as a steward reads it.

use std::fmt;

use chrono::{DateTime, Datelike as _, Duration, Months, Utc};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use ward_schemas::loss::Loss;
use ward_schemas::names::{NodeName, PermitId};
use ward_schemas::rho::Rho;

use crate::config::Policy;
use crate::engine;
use crate::ledger::{Total, YEAR_DAYS};

/// What stewards count in, in units of ρ (10⁻⁹): an ask of this cost counts patients with a noise
/// of σ = 10.
const UNIT: u64 = 5_000_000;

/// How many calendar months are listed.
const MONTHS: u32 = 12;

/// What was spent of a node's budgets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetReport {
    /// Which node.
    pub node: NodeName,
    /// The steward's limits.
    pub policy: Policy,
    /// Charged in the last 365 days.
    pub year: Total,
    /// Charged ever.
    pub lifetime: Total,
    /// When the oldest charge of the last 365 days was made.
    pub oldest_of_year: Option<DateTime<Utc>>,
    /// What was charged in each of the last 12 calendar months (`2026-11`, UTC), the oldest first.
    pub months: Vec<(String, Total)>,
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
    /// What was charged on it.
    pub total: Total,
}

impl BudgetReport {
    /// What may still be spent now: in the year, and in the lifetime.
    pub fn left(&self) -> Loss {
        let year = self.policy.yearly().saturating_sub(self.year.loss);
        let ever = self.policy.lifetime().saturating_sub(self.lifetime.loss);
        Loss {
            rho: year.rho.min(ever.rho),
            delta: year.delta.min(ever.delta),
        }
    }

    fn by_month(&self) -> Table {
        let mut table = table(&["month", "asks", "units", "by itself"]);
        for (month, total) in &self.months {
            table.add_row([vec![month.clone()], charged(*total)].concat());
        }
        table
    }

    fn by_permit(&self) -> Table {
        let mut table = table(&["permit", "access body", "asks", "units", "by itself"]);
        for line in &self.permits {
            let whose = vec![line.permit.to_string(), line.access_body.clone()];
            table.add_row([whose, charged(line.total)].concat());
        }
        table
    }
}

/// The first moment of the calendar month (UTC) so many months before now's.
fn month_start(now: DateTime<Utc>, before: u32) -> Option<DateTime<Utc>> {
    let first = now.date_naive().with_day(1)?;
    let start = first.checked_sub_months(Months::new(before))?;
    Some(start.and_time(chrono::NaiveTime::MIN).and_utc())
}

/// The first moments of the calendar months that are listed, the oldest first.
pub(crate) fn months(now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let starts = (0..MONTHS).rev();
    starts
        .filter_map(|before| month_start(now, before))
        .collect()
}

/// How months are named.
pub(crate) fn month_name(month: DateTime<Utc>) -> String {
    month.format("%Y-%m").to_string()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header);
    table
}

fn charged(total: Total) -> Vec<String> {
    let meaning = match total.loss {
        Loss::ZERO => String::new(),
        loss => engine::stated(loss).to_string(),
    };
    vec![total.asks.to_string(), spent_units(total.loss.rho), meaning]
}

impl fmt::Display for BudgetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Privacy budget of {}\n", self.node)?;
        let budgets = [
            ("last 365 days", self.year, self.policy.yearly()),
            ("lifetime", self.lifetime, self.policy.lifetime()),
        ];
        for (name, spent, budget) in budgets {
            writeln!(f, "{name}: {}", Line { spent, budget })?;
        }
        writeln!(f, "room now: {} units", whole_units(self.left().rho))?;
        if let Some(back) = self
            .oldest_of_year
            .and_then(|at| at.checked_add_signed(Duration::days(YEAR_DAYS)))
        {
            let day = back.date_naive();
            writeln!(f, "The year's oldest charge comes free after {day}.")?;
        }
        writeln!(f, "\n{}", explanation(self.year.loss))?;
        writeln!(f, "\n{}", self.by_month())?;
        if self.permits.is_empty() {
            write!(f, "No permit has charged anything yet.")
        } else {
            write!(f, "{}", self.by_permit())
        }
    }
}

/// `31 of 100 units in 31 asks, epsilon <= 2.73 at delta = 1e-6`, and δ where there is one.
struct Line {
    spent: Total,
    budget: Loss,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { asks, loss } = self.spent;
        write!(
            f,
            "{} of {} units in {asks} {}, {}",
            spent_units(loss.rho),
            whole_units(self.budget.rho),
            if asks == 1 { "ask" } else { "asks" },
            engine::stated(loss),
        )?;
        if loss.delta.is_zero() {
            return Ok(());
        }
        write!(
            f,
            " (thresholds took a delta of {}, of {})",
            loss.delta, self.budget.delta
        )
    }
}

fn explanation(year: Loss) -> String {
    format!(
        "A unit is a privacy loss rho of 0.005: for one unit a number of patients gets noise of\n\
         standard deviation 10, which is ± 20 at 95 % at this node. Losses add up. Whoever sees all\n\
         that left in the last 365 days, and knows everything about everybody else, can guess\n\
         whether one given patient is in the data rightly in at most {} % of cases; without any\n\
         answer, in 50 %.",
        engine::best_guess_percent(year)
    )
}

/// So many units, rounded up to a tenth.
pub(crate) fn spent_units(rho: Rho) -> String {
    let tenths = rho.units().div_ceil(UNIT / 10);
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        tenth => format!("{}.{tenth}", tenths / 10),
    }
}

/// So many units, rounded down.
fn whole_units(rho: Rho) -> u64 {
    rho.units() / UNIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(asks: u64, rho: &str, delta: &str) -> Total {
        Total {
            asks,
            loss: Loss {
                rho: rho.parse().expect("a rho"),
                delta: delta.parse().expect("a delta"),
            },
        }
    }

    fn report(year: Total, lifetime: Total) -> BudgetReport {
        BudgetReport {
            node: "hospital-a".parse().expect("a name"),
            policy: Policy::default(),
            year,
            lifetime,
            oldest_of_year: DateTime::from_timestamp(1_700_000_000, 0),
            months: vec![
                ("2023-10".into(), Total::default()),
                ("2023-11".into(), year),
            ],
            permits: vec![PermitLine {
                access_body: "Body".to_owned(),
                permit: "P-1".parse().expect("a permit"),
                total: year,
            }],
        }
    }

    #[test]
    fn a_steward_reads_what_is_spent_and_what_is_left() {
        let text = report(total(31, "0.155", "0"), total(980, "4.9", "0")).to_string();
        let beginning = "\
Privacy budget of hospital-a

last 365 days: 31 of 100 units in 31 asks, epsilon <= 2.73 at delta = 1e-6
lifetime: 980 of 1000 units in 980 asks, epsilon <= 20.30 at delta = 1e-6
room now: 20 units
The year's oldest charge comes free after 2024-11-13.

A unit is a privacy loss rho of 0.005: for one unit a number of patients gets noise of
standard deviation 10, which is ± 20 at 95 % at this node. Losses add up. Whoever sees all
that left in the last 365 days, and knows everything about everybody else, can guess
whether one given patient is in the data rightly in at most 64 % of cases; without any
answer, in 50 %.
";
        assert!(text.starts_with(beginning), "{text}");
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for line in [
            "2023-10 0 0",
            "2023-11 31 31 epsilon <= 2.73 at delta = 1e-6",
            "P-1 Body 31 31 epsilon <= 2.73 at delta = 1e-6",
        ] {
            assert!(squeezed.contains(line), "{text}");
        }
    }

    #[test]
    fn delta_is_told_where_thresholds_took_any() {
        let text = report(total(1, "0.0051", "2e-7"), total(9, "0.045", "6e-7")).to_string();
        for line in [
            "last 365 days: 1.1 of 100 units in 1 ask, epsilon <= 0.44 at delta = 1e-6 \
             (thresholds took a delta of 2e-7, of 5e-7)\n",
            "at delta = 1.2e-6 (thresholds took a delta of 6e-7, of 5e-6)\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn twelve_months_end_with_this_one() {
        let now = "2026-03-31T23:00:00Z".parse().expect("a time");
        let names: Vec<_> = months(now).into_iter().map(month_name).collect();
        assert_eq!(names.len(), 12);
        assert_eq!(
            [&names[0], &names[10], &names[11]],
            ["2025-04", "2026-02", "2026-03"]
        );
    }
}
