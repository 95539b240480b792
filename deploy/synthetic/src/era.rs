//! Eras: the spans that drug exposures and condition occurrences make up.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::record::{Condition, ConditionEra, DrugEra, Exposure, next_id};

/// Days without record that an era may hold, as OMOP has it.
const PERSISTENCE_DAYS: i64 = 30;

/// Events of one concept that follow each other closely.
struct Era {
    start: NaiveDate,
    end: NaiveDate,
    events: i64,
    /// Days that events cover; none twice.
    covered: i64,
}

/// The eras of each ingredient in the exposures.
pub(crate) fn of_drugs(person: i64, exposures: &[Exposure]) -> Vec<DrugEra> {
    let events = exposures.iter().flat_map(|e| {
        let ingredients = e.drug.ingredients.iter();
        ingredients.map(move |ingredient| (*ingredient, e.start, e.end))
    });
    let mut eras = Vec::new();
    for (ingredient, era) in merge(events) {
        eras.push(DrugEra {
            id: next_id(person, &eras),
            person,
            ingredient,
            start: era.start,
            end: era.end,
            exposures: era.events,
            gap_days: days(era.start, era.end) - era.covered,
        });
    }
    eras
}

/// The eras of each condition.
pub(crate) fn of_conditions(person: i64, conditions: &[Condition]) -> Vec<ConditionEra> {
    let events = conditions
        .iter()
        .map(|c| (c.concept, c.start, c.end.unwrap_or(c.start)));
    let mut eras = Vec::new();
    for (concept, era) in merge(events) {
        eras.push(ConditionEra {
            id: next_id(person, &eras),
            person,
            concept,
            start: era.start,
            end: era.end,
            occurrences: era.events,
        });
    }
    eras
}

/// Eras by concept, then in time.
fn merge(events: impl Iterator<Item = (i64, NaiveDate, NaiveDate)>) -> Vec<(i64, Era)> {
    let mut by_concept = BTreeMap::<i64, Vec<_>>::new();
    for (concept, start, end) in events {
        by_concept.entry(concept).or_default().push((start, end));
    }
    let mut eras = Vec::new();
    for (concept, mut spans) in by_concept {
        spans.sort_unstable();
        eras.extend(chain(&spans).into_iter().map(|era| (concept, era)));
    }
    eras
}

/// Eras of spans that are in order.
fn chain(spans: &[(NaiveDate, NaiveDate)]) -> Vec<Era> {
    let mut eras = Vec::<Era>::new();
    for &(start, end) in spans {
        match eras.last_mut() {
            Some(era) if (start - era.end).num_days() <= PERSISTENCE_DAYS => {
                let fresh = start.max(era.end.succ_opt().unwrap_or(era.end));
                era.covered += days(fresh, end).max(0);
                era.end = era.end.max(end);
                era.events += 1;
            }
            _ => eras.push(Era {
                start,
                end,
                events: 1,
                covered: days(start, end),
            }),
        }
    }
    eras
}

/// Days from the first to the last, both included.
fn days(first: NaiveDate, last: NaiveDate) -> i64 {
    (last - first).num_days() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i64) -> NaiveDate {
        NaiveDate::default() + chrono::TimeDelta::days(number)
    }

    #[test]
    fn close_spans_join_and_distant_ones_do_not() {
        let eras = chain(&[
            (day(0), day(9)),
            (day(20), day(29)),
            (day(25), day(34)),
            (day(65), day(70)),
        ]);
        assert_eq!(eras.len(), 2);
        let joined = &eras[0];
        assert_eq!((joined.end, joined.events), (day(34), 3));
        assert_eq!(days(joined.start, joined.end) - joined.covered, 10);
        assert_eq!(eras[1].start, day(65));
    }
}
