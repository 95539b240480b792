//! Public group keys: declared in a template, expanded when it is offered, frozen in its hash.

use std::collections::BTreeSet;

use chrono::{Datelike, Months, NaiveDate};
use serde::{Deserialize, Serialize};

/// A group key as a template declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a key is { values = [..] }, { numbers = [..] }, { concepts = [..], labels = [..] }, { descendants_of = ID } or { calendar = \"month\" or \"year\", from = .., to = .. }"
)]
pub enum KeySpec {
    /// A list of texts.
    Values {
        /// The texts.
        values: Vec<String>,
    },
    /// A list of whole numbers.
    Numbers {
        /// The numbers.
        numbers: Vec<i64>,
    },
    /// A list of concepts.
    Concepts {
        /// Concept ids.
        concepts: Vec<i64>,
        /// Names to show; those of the vocabulary where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<String>>,
    },
    /// All descendants of a concept in the vocabulary, itself included.
    Descendants {
        /// The ancestor's concept id.
        descendants_of: i64,
    },
    /// Calendar periods over a range, each named by its first day.
    Calendar {
        /// Length of a period.
        calendar: CalendarUnit,
        /// First day of the first period.
        from: NaiveDate,
        /// Last day covered.
        to: NaiveDate,
    },
}

/// The length of a calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarUnit {
    /// A month.
    Month,
    /// A year.
    Year,
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "kebab-case")]
pub enum KeyValue {
    /// A text.
    Text(String),
    /// A whole number or concept id.
    Integer(i64),
    /// The first day of a calendar period.
    Date(NaiveDate),
}

/// The values of a key, all of one type, in display order, with a label each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDomain {
    values: Vec<KeyValue>,
    labels: Vec<String>,
}

impl KeyDomain {
    /// The values, in display order.
    pub fn values(&self) -> &[KeyValue] {
        &self.values
    }

    /// A label for each value.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Never: a domain has at least one value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn new(values: Vec<KeyValue>, labels: Vec<String>) -> Result<Self, KeyError> {
        if values.is_empty() {
            return Err(KeyError::Empty);
        }
        if values.len() > crate::template::MAX_CELLS {
            return Err(KeyError::Many(values.len()));
        }
        if labels.len() != values.len() {
            return Err(KeyError::Labels {
                values: values.len(),
                labels: labels.len(),
            });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = values.iter().find(|v| !seen.insert(*v)) {
            return Err(KeyError::Twice(format!("{twice:?}")));
        }
        Ok(Self { values, labels })
    }
}

/// What key expansion needs of a vocabulary package.
pub trait Vocabulary {
    /// The concept's name, if the package has the concept.
    fn concept_name(&self, concept: i64) -> Option<String>;
    /// The concept and its descendants.
    fn descendants(&self, ancestor: i64) -> BTreeSet<i64>;
}

/// A vocabulary without concepts.
#[derive(Clone, Copy, Debug)]
pub struct NoVocabulary;

impl Vocabulary for NoVocabulary {
    fn concept_name(&self, _concept: i64) -> Option<String> {
        None
    }

    fn descendants(&self, _ancestor: i64) -> BTreeSet<i64> {
        BTreeSet::new()
    }
}

/// Lists the values of a key.
///
/// # Errors
/// When there are none, too many, or one twice.
pub(crate) fn expand(spec: &KeySpec, vocabulary: &dyn Vocabulary) -> Result<KeyDomain, KeyError> {
    match spec {
        KeySpec::Values { values } => KeyDomain::new(
            values.iter().cloned().map(KeyValue::Text).collect(),
            values.clone(),
        ),
        KeySpec::Numbers { numbers } => KeyDomain::new(
            numbers.iter().copied().map(KeyValue::Integer).collect(),
            numbers.iter().map(i64::to_string).collect(),
        ),
        KeySpec::Concepts { concepts, labels } => {
            let names = labels
                .clone()
                .unwrap_or_else(|| concept_names(concepts, vocabulary));
            KeyDomain::new(
                concepts.iter().copied().map(KeyValue::Integer).collect(),
                names,
            )
        }
        KeySpec::Descendants { descendants_of } => {
            let concepts: Vec<_> = vocabulary
                .descendants(*descendants_of)
                .into_iter()
                .collect();
            let names = concept_names(&concepts, vocabulary);
            KeyDomain::new(concepts.into_iter().map(KeyValue::Integer).collect(), names)
        }
        KeySpec::Calendar { calendar, from, to } => expand_calendar(*calendar, *from, *to),
    }
}

fn concept_names(concepts: &[i64], vocabulary: &dyn Vocabulary) -> Vec<String> {
    concepts
        .iter()
        .map(|c| vocabulary.concept_name(*c).unwrap_or_else(|| c.to_string()))
        .collect()
}

fn expand_calendar(
    unit: CalendarUnit,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<KeyDomain, KeyError> {
    let (months, starts, width) = match unit {
        CalendarUnit::Month => (1, from.day() == 1, 7),
        CalendarUnit::Year => (12, from.ordinal() == 1, 4),
    };
    if !starts {
        return Err(KeyError::Start(from));
    }
    let days: Vec<_> =
        std::iter::successors(Some(from), |d| d.checked_add_months(Months::new(months)))
            .take_while(|d| *d <= to)
            .take(crate::template::MAX_CELLS + 1)
            .collect();
    let labels = days
        .iter()
        .map(|d| d.to_string().chars().take(width).collect())
        .collect();
    KeyDomain::new(days.into_iter().map(KeyValue::Date).collect(), labels)
}

/// Why a key has no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No value at all.
    #[error("the key has no values; the vocabulary may lack the concept, or the range be empty")]
    Empty,
    /// Too many values.
    #[error("the key has {0} values; use fewer or coarser ones")]
    Many(usize),
    /// A value twice.
    #[error("the key lists {0} twice")]
    Twice(String),
    /// Labels and values differ in number.
    #[error("the key has {values} values and {labels} labels; give one label a value")]
    Labels {
        /// How many values.
        values: usize,
        /// How many labels.
        labels: usize,
    },
    /// The range does not start with a period.
    #[error("{0} is not the first day of a period; start the range with one")]
    Start(NaiveDate),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(unit: &str, from: &str, to: &str) -> Result<KeyDomain, KeyError> {
        let text = format!("calendar = '{unit}'\nfrom = '{from}'\nto = '{to}'");
        expand(&toml::from_str(&text).expect("spec"), &NoVocabulary)
    }

    #[test]
    fn months_cover_the_range() {
        let domain = calendar("month", "2024-11-01", "2025-02-10").expect("domain");
        assert_eq!(
            domain.labels(),
            ["2024-11", "2024-12", "2025-01", "2025-02"]
        );
        let years = calendar("year", "2024-01-01", "2025-12-31").expect("domain");
        assert_eq!(years.labels(), ["2024", "2025"]);
    }

    #[test]
    fn ranges_start_with_a_period_and_are_not_empty() {
        assert!(matches!(
            calendar("month", "2024-11-02", "2025-02-10"),
            Err(KeyError::Start(_))
        ));
        assert!(matches!(
            calendar("month", "2024-11-01", "2024-01-01"),
            Err(KeyError::Empty)
        ));
    }
}
