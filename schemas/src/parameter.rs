//! Typed parameters of a template: declared with a domain, parsed from text, canonical.

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::names::Ident;

/// Parameters as they travel: name and text.
pub type RawParameters = BTreeMap<Ident, String>;

/// Parameters with their types and defaults filled in: the canonical form.
pub type Parameters = BTreeMap<Ident, Value>;

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Parameter {
    /// A calendar date, `YYYY-MM-DD`.
    Date {
        /// Earliest value.
        minimum: NaiveDate,
        /// Latest value.
        maximum: NaiveDate,
        /// Value where an ask gives none; without it the parameter must be given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<NaiveDate>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doc: String,
    },
    /// A whole number.
    Integer {
        /// Smallest value.
        minimum: i64,
        /// Largest value.
        maximum: i64,
        /// Value where an ask gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<i64>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doc: String,
    },
    /// A decimal.
    Number {
        /// Smallest value.
        minimum: Decimal,
        /// Largest value.
        maximum: Decimal,
        /// Value where an ask gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<Decimal>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doc: String,
    },
    /// `true` or `false`.
    Boolean {
        /// Value where an ask gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<bool>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doc: String,
    },
    /// An OMOP concept id: positive, and one of `values` where they are given.
    Concept {
        /// The only values allowed; any concept id where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<Vec<i64>>,
        /// Value where an ask gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<i64>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doc: String,
    },
    /// One of a list of texts.
    Text {
        /// The values allowed.
        values: Vec<String>,
        /// Value where an ask gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        doc: String,
    },
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "kebab-case")]
pub enum Value {
    /// A calendar date.
    Date(NaiveDate),
    /// A whole number or a concept id.
    Integer(i64),
    /// A decimal; a double to the statement.
    Number(Decimal),
    /// True or false.
    Boolean(bool),
    /// A text.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Date(d) => d.fmt(f),
            Self::Integer(i) => i.fmt(f),
            Self::Number(n) => n.fmt(f),
            Self::Boolean(b) => b.fmt(f),
            Self::Text(t) => t.fmt(f),
        }
    }
}

/// The type of a parameter's value, for the SQL planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A calendar date.
    Date,
    /// A 64-bit integer.
    Integer,
    /// A double.
    Number,
    /// True or false.
    Boolean,
    /// A text.
    Text,
}

impl Parameter {
    /// The type of the values.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Date { .. } => ValueType::Date,
            Self::Integer { .. } | Self::Concept { .. } => ValueType::Integer,
            Self::Number { .. } => ValueType::Number,
            Self::Boolean { .. } => ValueType::Boolean,
            Self::Text { .. } => ValueType::Text,
        }
    }

    /// What is accepted, in words.
    pub fn domain(&self) -> String {
        match self {
            Self::Date {
                minimum, maximum, ..
            } => format!("a date from {minimum} to {maximum}"),
            Self::Integer {
                minimum, maximum, ..
            } => format!("a whole number from {minimum} to {maximum}"),
            Self::Number {
                minimum, maximum, ..
            } => format!("a decimal from {minimum} to {maximum}"),
            Self::Boolean { .. } => "true or false".into(),
            Self::Concept { values: None, .. } => "a concept id (a positive whole number)".into(),
            Self::Concept {
                values: Some(values),
                ..
            } => format!("one of the concept ids {values:?}"),
            Self::Text { values, .. } => format!("one of {values:?}"),
        }
    }

    /// The value where an ask gives none.
    pub fn default_value(&self) -> Option<Value> {
        match self {
            Self::Date { default, .. } => default.map(Value::Date),
            Self::Integer { default, .. } | Self::Concept { default, .. } => {
                default.map(Value::Integer)
            }
            Self::Number { default, .. } => default.map(Value::Number),
            Self::Boolean { default, .. } => default.map(Value::Boolean),
            Self::Text { default, .. } => default.clone().map(Value::Text),
        }
    }

    /// Reads a value of this parameter's type and domain.
    fn parse(&self, name: &Ident, text: &str) -> Result<Value, ParameterError> {
        let wrong_type = || ParameterError::Type {
            name: name.clone(),
            text: text.to_owned(),
            domain: self.domain(),
        };
        let value = match self.value_type() {
            ValueType::Date => Value::Date(canonical_date(text).ok_or_else(wrong_type)?),
            ValueType::Integer => Value::Integer(text.parse().map_err(|_| wrong_type())?),
            ValueType::Number => Value::Number(text.parse().map_err(|_| wrong_type())?),
            ValueType::Boolean => Value::Boolean(text.parse().map_err(|_| wrong_type())?),
            ValueType::Text => Value::Text(text.to_owned()),
        };
        if self.admits(&value) {
            Ok(value)
        } else {
            Err(ParameterError::Domain {
                name: name.clone(),
                text: text.to_owned(),
                domain: self.domain(),
            })
        }
    }

    /// Whether the value lies in the domain.
    pub fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (
                Self::Date {
                    minimum, maximum, ..
                },
                Value::Date(d),
            ) => minimum <= d && d <= maximum,
            (
                Self::Integer {
                    minimum, maximum, ..
                },
                Value::Integer(i),
            ) => minimum <= i && i <= maximum,
            (
                Self::Number {
                    minimum, maximum, ..
                },
                Value::Number(n),
            ) => minimum <= n && n <= maximum,
            (Self::Boolean { .. }, Value::Boolean(_)) => true,
            (Self::Concept { values, .. }, Value::Integer(i)) => {
                (1..1 << 53).contains(i) && values.as_ref().is_none_or(|v| v.contains(i))
            }
            (Self::Text { values, .. }, Value::Text(t)) => values.contains(t),
            _ => false,
        }
    }
}

fn canonical_date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    (date.to_string() == text).then_some(date)
}

/// Gives every declared parameter its value.
///
/// # Errors
/// When a parameter is missing, unknown, of the wrong type or out of its domain.
pub fn bind(
    declared: &BTreeMap<Ident, Parameter>,
    given: &RawParameters,
) -> Result<Parameters, ParameterError> {
    if let Some(name) = given.keys().find(|name| !declared.contains_key(*name)) {
        return Err(ParameterError::Unknown {
            name: name.clone(),
            known: declared.keys().cloned().collect(),
        });
    }
    declared
        .iter()
        .map(|(name, parameter)| {
            let value = match given.get(name) {
                Some(text) => parameter.parse(name, text)?,
                None => parameter
                    .default_value()
                    .ok_or_else(|| ParameterError::Missing {
                        name: name.clone(),
                        domain: parameter.domain(),
                    })?,
            };
            Ok((name.clone(), value))
        })
        .collect()
}

/// Why parameters don't fit a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The template has no such parameter.
    #[error("the template has no parameter {name}; it has {known:?}")]
    Unknown {
        /// What was given.
        name: Ident,
        /// What the template declares.
        known: Vec<Ident>,
    },
    /// A parameter without default was not given.
    #[error("the parameter {name} is missing; give {domain}")]
    Missing {
        /// The parameter.
        name: Ident,
        /// What is accepted.
        domain: String,
    },
    /// The text is not of the parameter's type.
    #[error("the parameter {name} can't be {text:?}; give {domain}")]
    Type {
        /// The parameter.
        name: Ident,
        /// What was given.
        text: String,
        /// What is accepted.
        domain: String,
    },
    /// The value is of the right type and out of the domain.
    #[error("the parameter {name} may not be {text:?}; give {domain}")]
    Domain {
        /// The parameter.
        name: Ident,
        /// What was given.
        text: String,
        /// What is accepted.
        domain: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<Ident, Parameter> {
        toml::from_str(
            r#"
            [since]
            type = "date"
            minimum = "2015-01-01"
            maximum = "2026-12-31"
            default = "2020-01-01"
            [concept]
            type = "concept"
            "#,
        )
        .expect("parameters")
    }

    #[test]
    fn numbers_and_truth_values_have_one_spelling_each() {
        let declared: BTreeMap<Ident, Parameter> = toml::from_str(
            r#"
            [above]
            type = "number"
            minimum = "-1.5"
            maximum = "20"
            [fatal]
            type = "boolean"
            default = false
            "#,
        )
        .expect("parameters");
        let above = |text| bind(&declared, &given(&[("above", text)]));
        assert_eq!(above("6.50"), above("6.5"));
        assert_eq!(above("-0"), above("0"));
        let values: Vec<_> = above("6.5").expect("bound").into_values().collect();
        assert_eq!(values[0].to_string(), "6.5");
        assert_eq!(values[1], Value::Boolean(false));
        for text in ["NaN", "1e3", "inf", "", "1.", "0x1"] {
            assert!(
                matches!(above(text), Err(ParameterError::Type { .. })),
                "{text}"
            );
        }
        assert!(matches!(above("20.1"), Err(ParameterError::Domain { .. })));
        let fatal = |text| bind(&declared, &given(&[("above", "1"), ("fatal", text)]));
        assert!(fatal("true").is_ok());
        assert!(fatal("True").is_err() && fatal("1").is_err());
    }

    fn given(pairs: &[(&str, &str)]) -> RawParameters {
        pairs
            .iter()
            .map(|(k, v)| (k.parse().expect("name"), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn defaults_are_filled_in() {
        let bound = bind(&declared(), &given(&[("concept", "201826")])).expect("bound");
        let date = NaiveDate::from_ymd_opt(2020, 1, 1).expect("date");
        assert_eq!(
            bound.values().cloned().collect::<Vec<_>>(),
            [Value::Integer(201_826), Value::Date(date)]
        );
    }

    #[test]
    fn each_mistake_has_its_error() {
        let bind = |pairs: &[(&str, &str)]| bind(&declared(), &given(pairs)).expect_err("refused");
        assert!(matches!(bind(&[]), ParameterError::Missing { .. }));
        assert!(matches!(
            bind(&[("x", "1")]),
            ParameterError::Unknown { .. }
        ));
        assert!(matches!(
            bind(&[("concept", "x")]),
            ParameterError::Type { .. }
        ));
        assert!(matches!(
            bind(&[("concept", "-3")]),
            ParameterError::Domain { .. }
        ));
        let late = bind(&[("concept", "1"), ("since", "2030-01-01")]);
        assert!(late.to_string().contains("2026-12-31"), "{late}");
        assert!(matches!(
            bind(&[("concept", "1"), ("since", "2020-1-1")]),
            ParameterError::Type { .. }
        ));
    }
}
