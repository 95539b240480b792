//! Personal tables of OMOP CDM 5.4.

use super::ColumnType::{Date, Integer, Number, Text, Timestamp};
use super::{Column, PrivacyClass, Table, concept, concept_opt, date, id, link, patient, value};

const EHR: &str = "ehr";

const fn table(
    name: &'static str,
    primary_key: &'static str,
    columns: &'static [Column],
    doc: &'static str,
) -> Table {
    Table {
        name,
        class: PrivacyClass::Personal,
        category: EHR,
        primary_key: Some(primary_key),
        columns,
        doc,
    }
}

pub(super) const TABLES: &[Table] = &[
    table(
        "person",
        "person_id",
        PERSON,
        "One row a patient: who they are.",
    ),
    table(
        "observation_period",
        "observation_period_id",
        OBSERVATION_PERIOD,
        "Spans of time in which a patient's events are recorded.",
    ),
    table(
        "visit_occurrence",
        "visit_occurrence_id",
        VISIT_OCCURRENCE,
        "Encounters with the health system.",
    ),
    table(
        "condition_occurrence",
        "condition_occurrence_id",
        CONDITION_OCCURRENCE,
        "Diagnoses, signs and symptoms.",
    ),
    table(
        "drug_exposure",
        "drug_exposure_id",
        DRUG_EXPOSURE,
        "Prescriptions, dispensations and administrations.",
    ),
    table(
        "procedure_occurrence",
        "procedure_occurrence_id",
        PROCEDURE_OCCURRENCE,
        "Procedures done to a patient.",
    ),
    table(
        "measurement",
        "measurement_id",
        MEASUREMENT,
        "Laboratory results, vital signs, device readings.",
    ),
    table(
        "observation",
        "observation_id",
        OBSERVATION,
        "Clinical facts that no other table takes.",
    ),
    Table {
        name: "death",
        class: PrivacyClass::Personal,
        category: EHR,
        primary_key: Some("person_id"),
        columns: DEATH,
        doc: "At most one row a patient: when and why they died.",
    },
    table(
        "drug_era",
        "drug_era_id",
        DRUG_ERA,
        "Spans of continuous exposure to one ingredient.",
    ),
    table(
        "condition_era",
        "condition_era_id",
        CONDITION_ERA,
        "Spans of one condition.",
    ),
];

const PERSON: &[Column] = &[
    patient(),
    concept("gender_concept_id", "Sex: 8507 male, 8532 female."),
    super::column(
        "year_of_birth",
        Integer,
        true,
        super::ColumnRole::Value,
        "Year of birth.",
    ),
    value("month_of_birth", Integer, "Month of birth, 1 to 12."),
    value("day_of_birth", Integer, "Day of birth, 1 to 31."),
    value("birth_datetime", Timestamp, "Date and time of birth."),
    concept("race_concept_id", "Race; 0 where unknown."),
    concept("ethnicity_concept_id", "Ethnicity; 0 where unknown."),
    link(
        "location_id",
        "Where the patient lives; the hospital's own code.",
    ),
    link(
        "provider_id",
        "The patient's provider; the hospital's own code.",
    ),
    link(
        "care_site_id",
        "The patient's care site; the hospital's own code.",
    ),
];

const OBSERVATION_PERIOD: &[Column] = &[
    id("observation_period_id", "Row id."),
    patient(),
    date("observation_period_start_date", "First day."),
    date("observation_period_end_date", "Last day."),
    concept("period_type_concept_id", "Where the record comes from."),
];

const VISIT_OCCURRENCE: &[Column] = &[
    id("visit_occurrence_id", "Row id."),
    patient(),
    concept(
        "visit_concept_id",
        "Kind of visit: 9201 inpatient, 9202 outpatient, 9203 emergency, 5083 telehealth.",
    ),
    date("visit_start_date", "First day."),
    value("visit_start_datetime", Timestamp, "Start."),
    date("visit_end_date", "Last day."),
    value("visit_end_datetime", Timestamp, "End."),
    concept("visit_type_concept_id", "Where the record comes from."),
    link("provider_id", "Provider; the hospital's own code."),
    link("care_site_id", "Care site; the hospital's own code."),
    concept_opt("admitted_from_concept_id", "Where the patient came from."),
    concept_opt("discharged_to_concept_id", "Where the patient went."),
    link(
        "preceding_visit_occurrence_id",
        "The visit before this one.",
    ),
];

const CONDITION_OCCURRENCE: &[Column] = &[
    id("condition_occurrence_id", "Row id."),
    patient(),
    concept("condition_concept_id", "The condition."),
    date("condition_start_date", "First day."),
    value("condition_start_datetime", Timestamp, "Start."),
    value("condition_end_date", Date, "Last day."),
    value("condition_end_datetime", Timestamp, "End."),
    concept("condition_type_concept_id", "Where the record comes from."),
    concept_opt(
        "condition_status_concept_id",
        "Admitting, primary, secondary diagnosis …",
    ),
    value("stop_reason", Text, "Why it ended."),
    link("visit_occurrence_id", "The visit it was recorded at."),
    value(
        "condition_source_value",
        Text,
        "The code in the hospital's system.",
    ),
    concept_opt("condition_source_concept_id", "The concept of that code."),
];

const DRUG_EXPOSURE: &[Column] = &[
    id("drug_exposure_id", "Row id."),
    patient(),
    concept("drug_concept_id", "The drug."),
    date("drug_exposure_start_date", "First day."),
    value("drug_exposure_start_datetime", Timestamp, "Start."),
    date("drug_exposure_end_date", "Last day."),
    value("drug_exposure_end_datetime", Timestamp, "End."),
    value("verbatim_end_date", Date, "Last day as the source has it."),
    concept("drug_type_concept_id", "Where the record comes from."),
    value("stop_reason", Text, "Why it ended."),
    value("refills", Integer, "Refills after the first."),
    value("quantity", Number, "Quantity dispensed."),
    value("days_supply", Integer, "Days of supply."),
    concept_opt("route_concept_id", "Route of administration."),
    link("visit_occurrence_id", "The visit it was prescribed at."),
    value(
        "drug_source_value",
        Text,
        "The code in the hospital's system.",
    ),
    concept_opt("drug_source_concept_id", "The concept of that code."),
];

const PROCEDURE_OCCURRENCE: &[Column] = &[
    id("procedure_occurrence_id", "Row id."),
    patient(),
    concept("procedure_concept_id", "The procedure."),
    date("procedure_date", "Day."),
    value("procedure_datetime", Timestamp, "Start."),
    value("procedure_end_date", Date, "Last day."),
    value("procedure_end_datetime", Timestamp, "End."),
    concept("procedure_type_concept_id", "Where the record comes from."),
    concept_opt("modifier_concept_id", "Modifier."),
    value("quantity", Integer, "How many."),
    link("visit_occurrence_id", "The visit it was done at."),
    value(
        "procedure_source_value",
        Text,
        "The code in the hospital's system.",
    ),
    concept_opt("procedure_source_concept_id", "The concept of that code."),
];

const MEASUREMENT: &[Column] = &[
    id("measurement_id", "Row id."),
    patient(),
    concept("measurement_concept_id", "What was measured."),
    date("measurement_date", "Day."),
    value("measurement_datetime", Timestamp, "Time."),
    concept(
        "measurement_type_concept_id",
        "Where the record comes from; a device at home among them.",
    ),
    concept_opt("operator_concept_id", "<, ≤, =, ≥, >."),
    value("value_as_number", Number, "The result, as a number."),
    concept_opt("value_as_concept_id", "The result, as a concept."),
    concept_opt("unit_concept_id", "Unit of the result."),
    value("range_low", Number, "Lower end of the normal range."),
    value("range_high", Number, "Upper end of the normal range."),
    link("visit_occurrence_id", "The visit it was taken at."),
    value(
        "measurement_source_value",
        Text,
        "The code in the hospital's system.",
    ),
    concept_opt("measurement_source_concept_id", "The concept of that code."),
    value(
        "unit_source_value",
        Text,
        "The unit in the hospital's system.",
    ),
    value(
        "value_source_value",
        Text,
        "The result in the hospital's system.",
    ),
];

const OBSERVATION: &[Column] = &[
    id("observation_id", "Row id."),
    patient(),
    concept("observation_concept_id", "What was observed."),
    date("observation_date", "Day."),
    value("observation_datetime", Timestamp, "Time."),
    concept(
        "observation_type_concept_id",
        "Where the record comes from.",
    ),
    value("value_as_number", Number, "The value, as a number."),
    value("value_as_string", Text, "The value, as text."),
    concept_opt("value_as_concept_id", "The value, as a concept."),
    concept_opt("qualifier_concept_id", "Qualifier."),
    concept_opt("unit_concept_id", "Unit."),
    link("visit_occurrence_id", "The visit it was recorded at."),
    value(
        "observation_source_value",
        Text,
        "The code in the hospital's system.",
    ),
    concept_opt("observation_source_concept_id", "The concept of that code."),
    value(
        "unit_source_value",
        Text,
        "The unit in the hospital's system.",
    ),
];

const DEATH: &[Column] = &[
    patient(),
    date("death_date", "Day."),
    value("death_datetime", Timestamp, "Time."),
    concept_opt("death_type_concept_id", "Where the record comes from."),
    concept_opt("cause_concept_id", "Cause."),
    value(
        "cause_source_value",
        Text,
        "The cause's code in the hospital's system.",
    ),
    concept_opt("cause_source_concept_id", "The concept of that code."),
];

const DRUG_ERA: &[Column] = &[
    id("drug_era_id", "Row id."),
    patient(),
    concept("drug_concept_id", "The ingredient."),
    date("drug_era_start_date", "First day."),
    date("drug_era_end_date", "Last day."),
    value("drug_exposure_count", Integer, "Exposures in the era."),
    value("gap_days", Integer, "Days in the era without supply."),
];

const CONDITION_ERA: &[Column] = &[
    id("condition_era_id", "Row id."),
    patient(),
    concept("condition_concept_id", "The condition."),
    date("condition_era_start_date", "First day."),
    date("condition_era_end_date", "Last day."),
    value(
        "condition_occurrence_count",
        Integer,
        "Occurrences in the era.",
    ),
];
