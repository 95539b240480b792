//! Public vocabulary tables of OMOP CDM 5.4: the content of a vocabulary package.

use super::ColumnType::{Date, Integer, Text};
use super::{Column, ColumnRole, PrivacyClass, Table, column, concept, value};

const fn table(
    name: &'static str,
    primary_key: Option<&'static str>,
    columns: &'static [Column],
    doc: &'static str,
) -> Table {
    Table {
        name,
        class: PrivacyClass::Public,
        category: "",
        primary_key,
        columns,
        doc,
    }
}

pub(super) const TABLES: &[Table] = &[
    table(
        "concept",
        Some("concept_id"),
        CONCEPT,
        "Codes and their names.",
    ),
    table(
        "concept_ancestor",
        None,
        CONCEPT_ANCESTOR,
        "Every ancestor of every concept, itself included.",
    ),
    table(
        "concept_relationship",
        None,
        CONCEPT_RELATIONSHIP,
        "Named relations between concepts.",
    ),
];

const CONCEPT: &[Column] = &[
    concept("concept_id", "The concept."),
    column("concept_name", Text, true, ColumnRole::Value, "Its name."),
    value("domain_id", Text, "Domain: Condition, Drug …"),
    value("vocabulary_id", Text, "Vocabulary: SNOMED, LOINC, ATC …"),
    value("concept_class_id", Text, "Class within the vocabulary."),
    value("standard_concept", Text, "S standard, C classification."),
    value("concept_code", Text, "Code within the vocabulary."),
    value("valid_start_date", Date, "First day of validity."),
    value("valid_end_date", Date, "Last day of validity."),
    value("invalid_reason", Text, "D deleted, U updated."),
];

const CONCEPT_ANCESTOR: &[Column] = &[
    concept("ancestor_concept_id", "The ancestor."),
    concept("descendant_concept_id", "The descendant."),
    value("min_levels_of_separation", Integer, "Shortest path."),
    value("max_levels_of_separation", Integer, "Longest path."),
];

const CONCEPT_RELATIONSHIP: &[Column] = &[
    concept("concept_id_1", "From."),
    concept("concept_id_2", "To."),
    column(
        "relationship_id",
        Text,
        true,
        ColumnRole::Value,
        "The relation's name.",
    ),
    value("valid_start_date", Date, "First day of validity."),
    value("valid_end_date", Date, "Last day of validity."),
    value("invalid_reason", Text, "D deleted, U updated."),
];
