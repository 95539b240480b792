//! The clinical data model: the OMOP CDM 5.4 tables that a template may read.
//!
//! Source: OHDSI, *OMOP Common Data Model v5.4* (<https://ohdsi.github.io/CommonDataModel/cdm54.html>).
//! Columns that nothing but free text or hospital-internal bookkeeping needs
//! (`*_source_value` of providers, `note` …) are left out; what is not here is not imported.

use serde::{Deserialize, Serialize};

mod clinical;
mod vocabulary;

/// Whose data a table holds, and so what may leave a node about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivacyClass {
    /// Rows about patients: only noisy aggregates leave, and every row carries `person_id`.
    Personal,
    /// Network-public code lists out of the vocabulary package, the same at every node.
    Public,
}

/// The type of a column, as it is stored in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// 64-bit signed integer (Arrow `Int64`); identifiers and concept ids.
    Integer,
    /// IEEE double (Arrow `Float64`); finite, or the row is rejected at import.
    Number,
    /// UTF-8 text (Arrow `Utf8`).
    Text,
    /// Calendar date (Arrow `Date32`).
    Date,
    /// Date and time without zone, microseconds (Arrow `Timestamp(Microsecond, None)`).
    Timestamp,
}

/// What a column means to the privacy checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnRole {
    /// The patient: the privacy unit. Never an output, a group key or a filter operand.
    Patient,
    /// Identifies a row or links rows (`visit_occurrence_id`): usable in joins only.
    Identifier,
    /// A concept id that the vocabulary package explains.
    Concept,
    /// Anything else: a value.
    Value,
}

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Lower-case name, as in OMOP.
    pub name: &'static str,
    /// Stored type.
    pub column_type: ColumnType,
    /// Whether a row without this value is rejected at import.
    pub required: bool,
    /// What it means to the privacy checks.
    pub role: ColumnRole,
    /// One line for people.
    pub doc: &'static str,
}

/// One table of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Lower-case name, as in OMOP.
    pub name: &'static str,
    /// Personal or public.
    pub class: PrivacyClass,
    /// Article 51(1) category code of EHDS (`ehr` …); empty for public tables.
    pub category: &'static str,
    /// The column that names a row, if the table has one. Real exports repeat it now and then; only
    /// a [referenced](Table::referenced_key) one is unique among a patient's rows of a snapshot.
    pub primary_key: Option<&'static str>,
    /// Columns, in storage order.
    pub columns: &'static [Column],
    /// One line for people.
    pub doc: &'static str,
}

impl Table {
    /// The column of this name (lower case), if the table has it.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The primary key, where other personal tables have it too (a person's, a visit's). An import
    /// keeps one row a patient and key of such a table, and joins may rely on it.
    pub fn referenced_key(&self) -> Option<&'static str> {
        let is_elsewhere = |key: &&str| {
            let mut others = personal_tables().filter(|t| t.name != self.name);
            others.any(|t| t.column(key).is_some())
        };
        self.primary_key.filter(is_elsewhere)
    }
}

/// Every table of the model, personal ones first.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    clinical::TABLES.iter().chain(vocabulary::TABLES)
}

/// The personal tables: those of a snapshot.
pub fn personal_tables() -> impl Iterator<Item = &'static Table> {
    clinical::TABLES.iter()
}

/// The public tables: those of a vocabulary package.
pub fn public_tables() -> impl Iterator<Item = &'static Table> {
    vocabulary::TABLES.iter()
}

/// The table of this name (lower case), if the model has it.
pub fn table(name: &str) -> Option<&'static Table> {
    tables().find(|t| t.name == name)
}

/// The name of the privacy unit's column in every personal table.
pub const PATIENT: &str = "person_id";

const fn column(
    name: &'static str,
    column_type: ColumnType,
    required: bool,
    role: ColumnRole,
    doc: &'static str,
) -> Column {
    Column {
        name,
        column_type,
        required,
        role,
        doc,
    }
}

const fn patient() -> Column {
    column(
        PATIENT,
        ColumnType::Integer,
        true,
        ColumnRole::Patient,
        "The patient: the privacy unit.",
    )
}

const fn id(name: &'static str, doc: &'static str) -> Column {
    column(name, ColumnType::Integer, true, ColumnRole::Identifier, doc)
}

const fn link(name: &'static str, doc: &'static str) -> Column {
    column(
        name,
        ColumnType::Integer,
        false,
        ColumnRole::Identifier,
        doc,
    )
}

const fn concept(name: &'static str, doc: &'static str) -> Column {
    column(name, ColumnType::Integer, true, ColumnRole::Concept, doc)
}

const fn concept_opt(name: &'static str, doc: &'static str) -> Column {
    column(name, ColumnType::Integer, false, ColumnRole::Concept, doc)
}

const fn date(name: &'static str, doc: &'static str) -> Column {
    column(name, ColumnType::Date, true, ColumnRole::Value, doc)
}

const fn value(name: &'static str, column_type: ColumnType, doc: &'static str) -> Column {
    column(name, column_type, false, ColumnRole::Value, doc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_personal_table_carries_the_patient() {
        for table in personal_tables() {
            let patient = table.column(PATIENT).expect(table.name);
            assert_eq!(patient.role, ColumnRole::Patient);
            assert!(patient.required);
            assert!(!table.category.is_empty());
        }
    }

    #[test]
    fn names_are_unique_and_keys_exist() {
        let mut names = HashSet::new();
        for table in tables() {
            assert!(names.insert(table.name), "{} twice", table.name);
            let mut columns = HashSet::new();
            for c in table.columns {
                assert!(columns.insert(c.name), "{}.{} twice", table.name, c.name);
            }
            if let Some(key) = table.primary_key {
                assert!(table.column(key).is_some_and(|c| c.required));
            }
        }
    }

    #[test]
    fn public_tables_name_no_patient() {
        for table in public_tables() {
            assert!(table.columns.iter().all(|c| c.role != ColumnRole::Patient));
        }
    }
}
