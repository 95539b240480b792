//! Group keys: public ones are declared in a template, expanded when it is offered, frozen in its
//! hash; [`crate::data_key`] has those whose values come from data.

use std::collections::BTreeSet;

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use serde::{Deserialize, Serialize};

use crate::data_key::DataKeyType;
use crate::decimal::Decimal;

/// A group key as a template declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a key is { values = [..] }, { numbers = [..] }, { bands = [\"0\", \"5.5\", ..], below = true, above = true, labels = [..] }, { booleans = [true, false] }, { concepts = [..], labels = [..] }, { descendants_of = ID }, { calendar = \"day\", \"week\", \"month\", \"quarter\" or \"year\", from = .., to = .. } or { from_data = \"text\", \"integer\" or \"date\", most = .. }"
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
    /// Bands of numbers between edges: each holds its lower edge and not its upper one.
    Bands {
        /// The edges, rising.
        bands: Vec<Decimal>,
        /// Whether what lies below the first edge makes a band.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        below: bool,
        /// Whether the last edge and what lies above it make a band.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        above: bool,
        /// Names to show, lowest band first; the edges where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<String>>,
    },
    /// Truth values.
    Booleans {
        /// Which, in the order to show.
        booleans: Vec<bool>,
        /// Names to show.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<String>>,
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
    /// Whatever values the patients have: those that enough of them have are shown, which costs δ.
    FromData {
        /// Their type.
        from_data: DataKeyType,
        /// The most values that a node shows.
        #[serde(default = "default_most")]
        most: u32,
    },
}

fn default_most() -> u32 {
    1000
}

/// The length of a calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarUnit {
    /// A day.
    Day,
    /// A week of ISO 8601: from Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A quarter of a year, from January, April, July or October.
    Quarter,
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
    /// A truth value.
    Boolean(bool),
    /// The numbers from one edge up to, and without, another. A whole number is compared exactly; a
    /// double with the double nearest to the edge, so that a value written 5.7 lies at the edge 5.7.
    /// NaN lies in no band.
    Band {
        /// The lower edge; none below the first.
        from: Option<Decimal>,
        /// The upper edge; none above the last.
        to: Option<Decimal>,
    },
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

/// Lists the values of a public key.
///
/// # Errors
/// When there are none, too many, or one twice; when they come from data.
pub fn expand(spec: &KeySpec, vocabulary: &dyn Vocabulary) -> Result<KeyDomain, KeyError> {
    match spec {
        KeySpec::Values { values } => KeyDomain::new(
            values.iter().cloned().map(KeyValue::Text).collect(),
            values.clone(),
        ),
        KeySpec::Numbers { numbers } => KeyDomain::new(
            numbers.iter().copied().map(KeyValue::Integer).collect(),
            numbers.iter().map(i64::to_string).collect(),
        ),
        KeySpec::Bands {
            bands,
            below,
            above,
            labels,
        } => expand_bands(bands, *below, *above, labels.clone()),
        KeySpec::Booleans { booleans, labels } => KeyDomain::new(
            booleans.iter().copied().map(KeyValue::Boolean).collect(),
            labels
                .clone()
                .unwrap_or_else(|| booleans.iter().map(bool::to_string).collect()),
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
        KeySpec::FromData { .. } => Err(KeyError::FromData),
    }
}

fn concept_names(concepts: &[i64], vocabulary: &dyn Vocabulary) -> Vec<String> {
    concepts
        .iter()
        .map(|c| vocabulary.concept_name(*c).unwrap_or_else(|| c.to_string()))
        .collect()
}

fn expand_bands(
    edges: &[Decimal],
    below: bool,
    above: bool,
    labels: Option<Vec<String>>,
) -> Result<KeyDomain, KeyError> {
    if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(KeyError::Edges(pair[0], pair[1]));
    }
    let band = |from: Option<&Decimal>, to: Option<&Decimal>| (from.copied(), to.copied());
    let first = edges.first().filter(|_| below);
    let last = edges.last().filter(|_| above);
    let bands: Vec<_> = first
        .map(|edge| band(None, Some(edge)))
        .into_iter()
        .chain(edges.windows(2).map(|e| band(e.first(), e.last())))
        .chain(last.map(|edge| band(Some(edge), None)))
        .collect();
    let labels = labels.unwrap_or_else(|| bands.iter().map(band_label).collect());
    let values = bands.into_iter();
    KeyDomain::new(
        values
            .map(|(from, to)| KeyValue::Band { from, to })
            .collect(),
        labels,
    )
}

fn band_label((from, to): &(Option<Decimal>, Option<Decimal>)) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("[{from}, {to})"),
        (None, Some(to)) => format!("< {to}"),
        (Some(from), None) => format!(">= {from}"),
        (None, None) => "any".to_owned(),
    }
}

fn expand_calendar(
    unit: CalendarUnit,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<KeyDomain, KeyError> {
    if !unit.starts(from) {
        return Err(KeyError::Start(from));
    }
    let days: Vec<_> = std::iter::successors(Some(from), |d| unit.next(*d))
        .take_while(|d| *d <= to)
        .take(crate::template::MAX_CELLS + 1)
        .collect();
    let labels = days.iter().map(|d| unit.label(*d)).collect();
    KeyDomain::new(days.into_iter().map(KeyValue::Date).collect(), labels)
}

impl CalendarUnit {
    fn starts(self, day: NaiveDate) -> bool {
        match self {
            Self::Day => true,
            Self::Week => day.weekday() == Weekday::Mon,
            Self::Month => day.day() == 1,
            Self::Quarter => day.day() == 1 && day.month0().is_multiple_of(3),
            Self::Year => day.ordinal() == 1,
        }
    }

    fn next(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => day.checked_add_days(Days::new(1)),
            Self::Week => day.checked_add_days(Days::new(7)),
            Self::Month => day.checked_add_months(Months::new(1)),
            Self::Quarter => day.checked_add_months(Months::new(3)),
            Self::Year => day.checked_add_months(Months::new(12)),
        }
    }

    fn label(self, day: NaiveDate) -> String {
        match self {
            Self::Day => day.to_string(),
            Self::Week => day.format("%G-W%V").to_string(),
            Self::Month => day.format("%Y-%m").to_string(),
            Self::Quarter => format!("{}-Q{}", day.format("%Y"), day.month0() / 3 + 1),
            Self::Year => day.format("%Y").to_string(),
        }
    }
}

/// Why a key has no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No value at all.
    #[error("the key has no values; the vocabulary may lack the concept, or the range be empty")]
    Empty,
    /// Not public.
    #[error("the key's values come from data: there is no list of them")]
    FromData,
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
    /// Edges that don't rise.
    #[error("the edges of bands must rise, and {0} stands before {1}")]
    Edges(Decimal, Decimal),
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
        let quarters = calendar("quarter", "2024-10-01", "2025-03-31").expect("domain");
        assert_eq!(quarters.labels(), ["2024-Q4", "2025-Q1"]);
        let days = calendar("day", "2024-02-28", "2024-03-01").expect("domain");
        assert_eq!(days.labels(), ["2024-02-28", "2024-02-29", "2024-03-01"]);
        // The ISO year of a week is that of its Thursday.
        let weeks = calendar("week", "2024-12-23", "2025-01-06").expect("domain");
        assert_eq!(weeks.labels(), ["2024-W52", "2025-W01", "2025-W02"]);
    }

    #[test]
    fn bands_lie_between_rising_edges() {
        let bands = |text: &str| expand(&toml::from_str(text).expect("spec"), &NoVocabulary);
        let open = bands("bands = ['0', '5.7', '9']\nbelow = true\nabove = true").expect("domain");
        assert_eq!(open.labels(), ["< 0", "[0, 5.7)", "[5.7, 9)", ">= 9"]);
        let closed = bands("bands = ['0', '5.7', '9']\nlabels = ['low', 'high']").expect("domain");
        assert_eq!(closed.labels(), ["low", "high"]);
        assert!(matches!(
            bands("bands = ['1', '1']"),
            Err(KeyError::Edges(..))
        ));
        assert!(matches!(bands("bands = ['1']"), Err(KeyError::Empty)));
        assert!(matches!(
            bands("bands = ['1']\nbelow = true\nlabels = []"),
            Err(KeyError::Labels { .. })
        ));
    }

    #[test]
    fn ranges_start_with_a_period_and_are_not_empty() {
        assert!(matches!(
            calendar("month", "2024-11-02", "2025-02-10"),
            Err(KeyError::Start(_))
        ));
        for (unit, from) in [
            ("week", "2024-11-05"),
            ("quarter", "2024-11-01"),
            ("year", "2024-02-01"),
        ] {
            assert!(matches!(
                calendar(unit, from, "2025-12-31"),
                Err(KeyError::Start(_))
            ));
        }
        assert!(matches!(
            calendar("month", "2024-11-01", "2024-01-01"),
            Err(KeyError::Empty)
        ));
    }
}
