//! Group keys whose values come from data: a node shows those that enough of its patients have.
//!
//! What a hospital's rows hold is not trusted to be fit for display: texts are short and visible,
//! dates have four-digit years, and a list of values is sorted, so that its order tells nothing.

use std::fmt;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::names::Ident;
use crate::template::is_invisible;

/// The most values of such a key that a node may show.
pub const MAX_VALUES: u32 = 10_000;
/// The longest text that is shown, in bytes.
pub const MAX_TEXT_BYTES: usize = 200;

/// The type of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataKeyType {
    /// Visible texts of 1 to [`MAX_TEXT_BYTES`] bytes.
    Text,
    /// Whole numbers.
    Integer,
    /// Days of the years 1 to 9999.
    Date,
}

/// A value of such a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A day.
    Date(NaiveDate),
}

/// A group key whose values come from data, compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKey {
    /// Output name.
    pub name: Ident,
    /// The type of its values.
    pub from_data: DataKeyType,
    /// The most values that a node shows: those with the largest noisy counts.
    pub most: u32,
    /// The component that counts distinct patients by value, over all cells, and that the
    /// threshold looks at.
    pub counted: usize,
}

impl DataKeyType {
    /// Whether a value is of this type and fit for display. Rows with others are in no group.
    pub fn admits(self, value: &DataValue) -> bool {
        match (self, value) {
            (Self::Text, DataValue::Text(text)) => is_showable(text),
            (Self::Integer, DataValue::Integer(_)) => true,
            (Self::Date, DataValue::Date(date)) => (1..=9999).contains(&date.year()),
            _ => false,
        }
    }

    /// Reads what a value is displayed as.
    fn parse(self, text: &str) -> Option<DataValue> {
        let value = match self {
            Self::Text => DataValue::Text(text.to_owned()),
            Self::Integer => DataValue::Integer(text.parse().ok()?),
            Self::Date => DataValue::Date(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?),
        };
        (self.admits(&value) && value.to_string() == text).then_some(value)
    }
}

/// Whether a text is short, and looks like what it is.
pub fn is_showable(text: &str) -> bool {
    let hidden = |c: char| c.is_control() || is_invisible(c);
    (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(hidden)
}

/// As people read it.
impl fmt::Display for DataValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(integer) => integer.fmt(f),
            Self::Date(date) => date.fmt(f),
        }
    }
}

/// The values of a key that a node shows: fit for display, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownValues(Vec<DataValue>);

impl ShownValues {
    /// These values of a key.
    ///
    /// # Errors
    /// When there are too many, or they are not ascending, or one is not fit for display.
    pub fn new(key: &DataKey, values: Vec<DataValue>) -> Result<Self, ShownError> {
        let error = |why| {
            Err(ShownError {
                key: key.name.clone(),
                why,
            })
        };
        if values.len() > usize::try_from(key.most).unwrap_or(usize::MAX) {
            return error(Unfit::Many(key.most));
        }
        if let Some(at) = values.iter().position(|v| !key.from_data.admits(v)) {
            return error(Unfit::Value(at));
        }
        if !values.is_sorted_by(|a, b| a < b) {
            return error(Unfit::Order);
        }
        Ok(Self(values))
    }

    /// Values as they are displayed.
    ///
    /// # Errors
    /// As [`ShownValues::new`], and where a text is not what a value is displayed as.
    pub fn parse(key: &DataKey, texts: &[String]) -> Result<Self, ShownError> {
        let parse = |(at, text): (usize, &String)| {
            key.from_data.parse(text).ok_or_else(|| ShownError {
                key: key.name.clone(),
                why: Unfit::Value(at),
            })
        };
        let values = texts
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        Self::new(key, values)
    }

    /// The values, ascending.
    pub fn values(&self) -> &[DataValue] {
        &self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is shown.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their number and each text's length in four bytes, texts in UTF-8, little-endian.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend(length(self.0.len()));
        for value in self.0.iter().map(ToString::to_string) {
            bytes.extend(length(value.len()));
            bytes.extend(value.as_bytes());
        }
    }

    /// Reads what [`ShownValues::write`] wrote off the front of `bytes`.
    pub(crate) fn read(key: &DataKey, bytes: &mut &[u8]) -> Option<Self> {
        let length = |bytes: &mut &[u8]| {
            let four = bytes.split_off(..4)?;
            Some(u32::from_le_bytes(four.try_into().ok()?))
        };
        let values = length(bytes)?.min(key.most.saturating_add(1));
        let text = |bytes: &mut &[u8]| {
            let length = usize::try_from(length(bytes)?).ok()?;
            String::from_utf8(bytes.split_off(..length)?.to_vec()).ok()
        };
        let texts = (0..values)
            .map(|_| text(bytes))
            .collect::<Option<Vec<_>>>()?;
        Self::parse(key, &texts).ok()
    }
}

/// A list of values that no node shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the values of {key}: {why}")]
pub struct ShownError {
    key: Ident,
    why: Unfit,
}

/// Says where, never what: a value may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("they are more than {0}")]
    Many(u32),
    #[error("number {0} is of another type, too long, or holds invisible characters")]
    Value(usize),
    #[error("they are not ascending")]
    Order,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn data_key(from_data: DataKeyType) -> DataKey {
        DataKey {
            name: "code".parse().expect("name"),
            from_data,
            most: 5,
            counted: 0,
        }
    }

    fn texts(texts: &[&str]) -> Vec<DataValue> {
        texts
            .iter()
            .map(|t| DataValue::Text((*t).to_owned()))
            .collect()
    }

    fn refusal(values: &[&str]) -> String {
        let refused = ShownValues::new(&data_key(DataKeyType::Text), texts(values));
        refused.expect_err("refused").to_string()
    }

    #[test]
    fn lists_that_tell_something_or_deceive_are_refused() {
        assert!(ShownValues::new(&data_key(DataKeyType::Text), texts(&["A", "B"])).is_ok());
        assert!(refusal(&["B", "A"]).contains("ascending"));
        assert!(refusal(&["A", "A"]).contains("ascending"));
        assert!(refusal(&["A", "B", "C", "D", "E", "F"]).contains("more than 5"));
        for bad in [
            "",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}",
            "\u{0}",
            &"x".repeat(201),
        ] {
            assert!(refusal(&["A", bad]).contains("number 1"), "{bad:?}");
        }
        let integers = data_key(DataKeyType::Integer);
        assert!(ShownValues::new(&integers, texts(&["1"])).is_err());
    }

    #[test]
    fn only_what_a_value_is_displayed_as_is_read() {
        let read = |from_data, text: &str| {
            ShownValues::parse(&data_key(from_data), &[text.to_owned()]).is_ok()
        };
        assert!(read(DataKeyType::Integer, "-7"));
        assert!(read(DataKeyType::Date, "2024-02-29"));
        for bad in ["+7", "07", "7.0", " 7", "9223372036854775808"] {
            assert!(!read(DataKeyType::Integer, bad), "{bad}");
        }
        for bad in ["2024-2-29", "2023-02-29", "+12024-01-01", "0000-01-01"] {
            assert!(!read(DataKeyType::Date, bad), "{bad}");
        }
    }

    /// A type, and values of it that may be shown, ascending.
    pub(crate) fn shown() -> impl Strategy<Value = (DataKeyType, Vec<DataValue>)> {
        use prop::collection::btree_set;
        let text = prop_oneof!["[ -~]{1,8}", "\\PC{1,4}"].prop_filter("shown", |t| is_showable(t));
        let date = (1..3_652_059).prop_filter_map("a day", NaiveDate::from_num_days_from_ce_opt);
        let values = |values: std::collections::BTreeSet<_>| values.into_iter().collect();
        prop_oneof![
            btree_set(text.prop_map(DataValue::Text), 0..5)
                .prop_map(move |v| (DataKeyType::Text, values(v))),
            btree_set(any::<i64>().prop_map(DataValue::Integer), 0..5)
                .prop_map(move |v| (DataKeyType::Integer, values(v))),
            btree_set(date.prop_map(DataValue::Date), 0..5)
                .prop_map(move |v| (DataKeyType::Date, values(v))),
        ]
    }

    proptest! {
        #[test]
        fn lists_round_trip((from_data, values) in shown(), rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let key = data_key(from_data);
            let shown = ShownValues::new(&key, values).expect("fit");
            let mut bytes = Vec::new();
            shown.write(&mut bytes);
            bytes.extend(&rest);
            let mut left = bytes.as_slice();
            prop_assert_eq!(ShownValues::read(&key, &mut left), Some(shown));
            prop_assert_eq!(left, rest.as_slice());
        }

        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for from_data in [DataKeyType::Text, DataKeyType::Integer, DataKeyType::Date] {
                let key = data_key(from_data);
                let mut left = bytes.as_slice();
                if let Some(shown) = ShownValues::read(&key, &mut left) {
                    let mut again = Vec::new();
                    shown.write(&mut again);
                    again.extend(left);
                    prop_assert_eq!(&again, &bytes);
                }
            }
        }
    }
}
