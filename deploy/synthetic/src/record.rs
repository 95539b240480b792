//! The rows of one patient, and which column takes which field.

use chrono::{Datelike, NaiveDate, NaiveDateTime};

use crate::concept::{EHR, EHR_ENCOUNTER, UNKNOWN};
use crate::sink::{Field, Row};

/// Everything a hospital knows of one patient.
pub(crate) struct Record {
    pub(crate) person: Person,
    pub(crate) period: Period,
    pub(crate) visits: Vec<Visit>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) drugs: Vec<Exposure>,
    pub(crate) procedures: Vec<Procedure>,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) observations: Vec<Observation>,
    pub(crate) death: Option<Death>,
    pub(crate) drug_eras: Vec<DrugEra>,
    pub(crate) condition_eras: Vec<ConditionEra>,
}

/// More rows than a patient has in any table.
const ROWS_A_PATIENT: i64 = 100_000;

/// The id of a patient's next row in a table: unique in the hospital, whatever else is in it.
pub(crate) fn next_id<T>(person: i64, rows: &[T]) -> i64 {
    let rows = i64::try_from(rows.len()).expect("far fewer rows than ids");
    person * ROWS_A_PATIENT + rows + 1
}

pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) sex: i64,
    pub(crate) birth: NaiveDate,
    pub(crate) location: i64,
    pub(crate) care_site: i64,
}

pub(crate) struct Period {
    pub(crate) person: i64,
    pub(crate) first: NaiveDate,
    pub(crate) last: NaiveDate,
}

pub(crate) struct Visit {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) kind: i64,
    pub(crate) start: NaiveDateTime,
    pub(crate) end: NaiveDateTime,
    pub(crate) care_site: i64,
    pub(crate) admitted_from: Option<i64>,
    pub(crate) discharged_to: Option<i64>,
    pub(crate) preceding: Option<i64>,
}

pub(crate) struct Condition {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) concept: i64,
    pub(crate) start: NaiveDate,
    pub(crate) end: Option<NaiveDate>,
    pub(crate) status: i64,
    pub(crate) visit: i64,
    pub(crate) icd10: &'static str,
}

pub(crate) struct Exposure {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) drug: &'static crate::drug::Drug,
    pub(crate) start: NaiveDate,
    pub(crate) end: NaiveDate,
    pub(crate) provenance: i64,
    pub(crate) visit: Option<i64>,
}

pub(crate) struct Procedure {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) concept: i64,
    pub(crate) day: NaiveDate,
    pub(crate) visit: i64,
}

pub(crate) struct Measurement {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) scale: &'static crate::analyte::Scale,
    pub(crate) at: NaiveDateTime,
    pub(crate) provenance: i64,
    pub(crate) value: f64,
    pub(crate) visit: Option<i64>,
}

pub(crate) struct Observation {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) concept: i64,
    pub(crate) day: NaiveDate,
    pub(crate) answer: i64,
    pub(crate) visit: i64,
}

pub(crate) struct Death {
    pub(crate) person: i64,
    pub(crate) day: NaiveDate,
    pub(crate) cause: Option<i64>,
}

pub(crate) struct DrugEra {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) ingredient: i64,
    pub(crate) start: NaiveDate,
    pub(crate) end: NaiveDate,
    pub(crate) exposures: i64,
    pub(crate) gap_days: i64,
}

pub(crate) struct ConditionEra {
    pub(crate) id: i64,
    pub(crate) person: i64,
    pub(crate) concept: i64,
    pub(crate) start: NaiveDate,
    pub(crate) end: NaiveDate,
    pub(crate) occurrences: i64,
}

impl Row for Person {
    const TABLE: &'static str = "person";
    const FIELDS: &'static [Field<Self>] = &[
        ("person_id", |r| r.id.into()),
        ("gender_concept_id", |r| r.sex.into()),
        ("year_of_birth", |r| i64::from(r.birth.year()).into()),
        ("month_of_birth", |r| i64::from(r.birth.month()).into()),
        ("day_of_birth", |r| i64::from(r.birth.day()).into()),
        ("race_concept_id", |_| UNKNOWN.into()),
        ("ethnicity_concept_id", |_| UNKNOWN.into()),
        ("location_id", |r| r.location.into()),
        ("care_site_id", |r| r.care_site.into()),
    ];
}

impl Row for Period {
    const TABLE: &'static str = "observation_period";
    const FIELDS: &'static [Field<Self>] = &[
        ("observation_period_id", |r| r.person.into()),
        ("person_id", |r| r.person.into()),
        ("observation_period_start_date", |r| r.first.into()),
        ("observation_period_end_date", |r| r.last.into()),
        ("period_type_concept_id", |_| EHR.into()),
    ];
}

impl Row for Visit {
    const TABLE: &'static str = "visit_occurrence";
    const FIELDS: &'static [Field<Self>] = &[
        ("visit_occurrence_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("visit_concept_id", |r| r.kind.into()),
        ("visit_start_date", |r| r.start.date().into()),
        ("visit_start_datetime", |r| r.start.into()),
        ("visit_end_date", |r| r.end.date().into()),
        ("visit_end_datetime", |r| r.end.into()),
        ("visit_type_concept_id", |_| EHR_ENCOUNTER.into()),
        ("care_site_id", |r| r.care_site.into()),
        ("admitted_from_concept_id", |r| r.admitted_from.into()),
        ("discharged_to_concept_id", |r| r.discharged_to.into()),
        ("preceding_visit_occurrence_id", |r| r.preceding.into()),
    ];
}

impl Row for Condition {
    const TABLE: &'static str = "condition_occurrence";
    const FIELDS: &'static [Field<Self>] = &[
        ("condition_occurrence_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("condition_concept_id", |r| r.concept.into()),
        ("condition_start_date", |r| r.start.into()),
        ("condition_end_date", |r| r.end.into()),
        ("condition_type_concept_id", |_| EHR.into()),
        ("condition_status_concept_id", |r| r.status.into()),
        ("visit_occurrence_id", |r| r.visit.into()),
        ("condition_source_value", |r| r.icd10.into()),
        ("condition_source_concept_id", |_| UNKNOWN.into()),
    ];
}

impl Row for Exposure {
    const TABLE: &'static str = "drug_exposure";
    const FIELDS: &'static [Field<Self>] = &[
        ("drug_exposure_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("drug_concept_id", |r| r.drug.concept.into()),
        ("drug_exposure_start_date", |r| r.start.into()),
        ("drug_exposure_end_date", |r| r.end.into()),
        ("drug_type_concept_id", |r| r.provenance.into()),
        ("refills", |_| 0_i64.into()),
        ("quantity", |r| r.drug.quantity().into()),
        ("days_supply", |r| r.drug.days.into()),
        ("route_concept_id", |r| r.drug.route.into()),
        ("visit_occurrence_id", |r| r.visit.into()),
        ("drug_source_value", |r| r.drug.atc.into()),
        ("drug_source_concept_id", |_| UNKNOWN.into()),
    ];
}

impl Row for Procedure {
    const TABLE: &'static str = "procedure_occurrence";
    const FIELDS: &'static [Field<Self>] = &[
        ("procedure_occurrence_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("procedure_concept_id", |r| r.concept.into()),
        ("procedure_date", |r| r.day.into()),
        ("procedure_end_date", |r| r.day.into()),
        ("procedure_type_concept_id", |_| EHR.into()),
        ("quantity", |_| 1_i64.into()),
        ("visit_occurrence_id", |r| r.visit.into()),
    ];
}

impl Row for Measurement {
    const TABLE: &'static str = "measurement";
    const FIELDS: &'static [Field<Self>] = &[
        ("measurement_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("measurement_concept_id", |r| r.scale.concept.into()),
        ("measurement_date", |r| r.at.date().into()),
        ("measurement_datetime", |r| r.at.into()),
        ("measurement_type_concept_id", |r| r.provenance.into()),
        ("value_as_number", |r| r.value.into()),
        ("unit_concept_id", |r| r.scale.unit.into()),
        ("range_low", |r| r.scale.normal.map(|n| n.0).into()),
        ("range_high", |r| r.scale.normal.map(|n| n.1).into()),
        ("visit_occurrence_id", |r| r.visit.into()),
        ("measurement_source_value", |r| r.scale.loinc.into()),
        ("measurement_source_concept_id", |_| UNKNOWN.into()),
        ("unit_source_value", |r| r.scale.ucum.into()),
    ];
}

impl Row for Observation {
    const TABLE: &'static str = "observation";
    const FIELDS: &'static [Field<Self>] = &[
        ("observation_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("observation_concept_id", |r| r.concept.into()),
        ("observation_date", |r| r.day.into()),
        ("observation_type_concept_id", |_| EHR.into()),
        ("value_as_concept_id", |r| r.answer.into()),
        ("visit_occurrence_id", |r| r.visit.into()),
    ];
}

impl Row for Death {
    const TABLE: &'static str = "death";
    const FIELDS: &'static [Field<Self>] = &[
        ("person_id", |r| r.person.into()),
        ("death_date", |r| r.day.into()),
        ("death_type_concept_id", |_| EHR.into()),
        ("cause_concept_id", |r| r.cause.into()),
    ];
}

impl Row for DrugEra {
    const TABLE: &'static str = "drug_era";
    const FIELDS: &'static [Field<Self>] = &[
        ("drug_era_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("drug_concept_id", |r| r.ingredient.into()),
        ("drug_era_start_date", |r| r.start.into()),
        ("drug_era_end_date", |r| r.end.into()),
        ("drug_exposure_count", |r| r.exposures.into()),
        ("gap_days", |r| r.gap_days.into()),
    ];
}

impl Row for ConditionEra {
    const TABLE: &'static str = "condition_era";
    const FIELDS: &'static [Field<Self>] = &[
        ("condition_era_id", |r| r.id.into()),
        ("person_id", |r| r.person.into()),
        ("condition_concept_id", |r| r.concept.into()),
        ("condition_era_start_date", |r| r.start.into()),
        ("condition_era_end_date", |r| r.end.into()),
        ("condition_occurrence_count", |r| r.occurrences.into()),
    ];
}
