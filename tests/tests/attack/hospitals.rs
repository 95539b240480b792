//! Hospitals out of nowhere: few patients, many rows, and every value that a column can hold.

use std::sync::Arc;

use arrow::array::StringArray;
use datafusion::catalog::SchemaProvider;
use proptest::prelude::*;
use ward_tests::attack::hospital::{Layout, Tables, dates, doubles, integers};

/// All rows of all patients. A visit's number is one row to its patient, as imports see to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hospital {
    pub(crate) persons: Vec<Person>,
    pub(crate) visits: Vec<Visit>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) deaths: Vec<(i64, i32)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) patient: i64,
    pub(crate) sex: i64,
    pub(crate) born: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) patient: i64,
    pub(crate) number: i64,
    pub(crate) kind: i64,
    pub(crate) start: i32,
    pub(crate) end: i32,
}

#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) patient: i64,
    pub(crate) concept: i64,
    pub(crate) start: i32,
}

#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) patient: i64,
    pub(crate) concept: i64,
    pub(crate) day: i32,
    pub(crate) value: Option<f64>,
    pub(crate) text: &'static str,
    pub(crate) visit: Option<i64>,
}

/// Who there may be.
pub(crate) const PATIENTS: [i64; 6] = [i64::MIN, -1, 0, 1, 2, i64::MAX];
/// A day of 2020, in days since 1970.
pub(crate) const DAY: i32 = 18_500;
/// Ancestors and descendants: public, the same for all.
const ANCESTORS: [(i64, i64); 4] = [(10, 10), (10, 11), (10, i64::MAX), (1, 10)];

impl Hospital {
    /// Without one patient.
    pub(crate) fn without(&self, patient: i64) -> Self {
        let mut less = self.clone();
        less.persons.retain(|r| r.patient != patient);
        less.visits.retain(|r| r.patient != patient);
        less.conditions.retain(|r| r.patient != patient);
        less.measurements.retain(|r| r.patient != patient);
        less.deaths.retain(|r| r.0 != patient);
        less
    }

    /// With another one's patients.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.persons.extend(other.persons);
        self.visits.extend(other.visits);
        self.conditions.extend(other.conditions);
        self.measurements.extend(other.measurements);
        self.deaths.extend(other.deaths);
        self
    }

    /// As the engine sees it.
    pub(crate) fn serve(&self, layout: Layout) -> Arc<dyn SchemaProvider> {
        self.tables().serve(layout)
    }

    fn tables(&self) -> Tables {
        let (persons, visits) = (&self.persons, &self.visits);
        let (conditions, deaths) = (&self.conditions, &self.deaths);
        let concepts = [
            ("ancestor_concept_id", integers(ANCESTORS.map(|a| a.0))),
            ("descendant_concept_id", integers(ANCESTORS.map(|a| a.1))),
        ];
        let persons = [
            ("person_id", integers(persons.iter().map(|r| r.patient))),
            ("gender_concept_id", integers(persons.iter().map(|r| r.sex))),
            ("year_of_birth", integers(persons.iter().map(|r| r.born))),
        ];
        let visits = [
            ("person_id", integers(visits.iter().map(|r| r.patient))),
            (
                "visit_occurrence_id",
                integers(visits.iter().map(|r| r.number)),
            ),
            ("visit_concept_id", integers(visits.iter().map(|r| r.kind))),
            ("visit_start_date", dates(visits.iter().map(|r| r.start))),
            ("visit_end_date", dates(visits.iter().map(|r| r.end))),
        ];
        let conditions = [
            ("person_id", integers(conditions.iter().map(|r| r.patient))),
            (
                "condition_concept_id",
                integers(conditions.iter().map(|r| r.concept)),
            ),
            (
                "condition_start_date",
                dates(conditions.iter().map(|r| r.start)),
            ),
        ];
        let deaths = [
            ("person_id", integers(deaths.iter().map(|r| r.0))),
            ("death_date", dates(deaths.iter().map(|r| r.1))),
        ];
        let concept = [("concept_id", integers([9, 10, 11]))];
        Tables::default()
            .with("concept", &concept)
            .with("concept_ancestor", &concepts)
            .with("person", &persons)
            .with("visit_occurrence", &visits)
            .with("condition_occurrence", &conditions)
            .with("death", &deaths)
            .with("measurement", &self.measurement_columns())
    }

    fn measurement_columns(&self) -> [ward_tests::attack::hospital::Named; 6] {
        let rows = &self.measurements;
        let texts: StringArray = rows.iter().map(|r| Some(r.text)).collect();
        let visits: arrow::array::Int64Array = rows.iter().map(|r| r.visit).collect();
        [
            ("person_id", integers(rows.iter().map(|r| r.patient))),
            (
                "measurement_concept_id",
                integers(rows.iter().map(|r| r.concept)),
            ),
            ("measurement_date", dates(rows.iter().map(|r| r.day))),
            ("value_as_number", doubles(rows.iter().map(|r| r.value))),
            ("value_source_value", Arc::new(texts)),
            ("visit_occurrence_id", Arc::new(visits)),
        ]
    }
}

/// One patient with so many rows of everything, all the same but for the visits' numbers; or, which
/// must not be, as many patients as identifiers.
pub(crate) fn heavy(rows: i64, value: Option<f64>, identifier: impl Fn(i64) -> i64) -> Hospital {
    let mut hospital = Hospital::default();
    for row in 0..rows {
        let patient = identifier(row);
        if hospital.persons.iter().all(|p| p.patient != patient) {
            hospital.persons.push(Person {
                patient,
                sex: 8507,
                born: 1950,
            });
            hospital.deaths.push((patient, DAY + 9));
        }
        hospital.visits.push(Visit {
            patient,
            number: row,
            kind: 9201,
            start: DAY,
            end: DAY + 7,
        });
        hospital.conditions.push(Condition {
            patient,
            concept: 10,
            start: DAY,
        });
        hospital.measurements.push(Measurement {
            patient,
            concept: 10,
            day: DAY,
            value,
            text: "12",
            visit: Some(row),
        });
    }
    hospital
}

/// Hospitals of the patients above.
pub(crate) fn hospital() -> impl Strategy<Value = Hospital> {
    let persons = Vec::from(PATIENTS.map(person));
    let visits = prop::collection::vec(visit(), 0..12);
    let conditions = prop::collection::vec(condition(), 0..12);
    let measurements = prop::collection::vec(measurement(), 0..40);
    let deaths = prop::sample::subsequence(PATIENTS.to_vec(), 0..4);
    (persons, visits, conditions, measurements, deaths, day()).prop_map(
        |(persons, mut visits, conditions, measurements, deaths, day)| {
            visits.sort_by_key(|v| (v.patient, v.number));
            visits.dedup_by_key(|v| (v.patient, v.number));
            Hospital {
                persons,
                visits,
                conditions,
                measurements,
                deaths: deaths.into_iter().map(|patient| (patient, day)).collect(),
            }
        },
    )
}

/// Layouts.
pub(crate) fn layout() -> impl Strategy<Value = Layout> {
    (1_usize..20, 1_usize..4, any::<bool>()).prop_map(|(batch, partitions, reversed)| Layout {
        batch,
        partitions,
        reversed,
    })
}

fn person(patient: i64) -> impl Strategy<Value = Person> {
    let born = prop_oneof![4 => 1900_i64..2030, 1 => integer()];
    let sex = prop::sample::select(vec![8507, 8532, 0, i64::MIN]);
    (sex, born).prop_map(move |(sex, born)| Person { patient, sex, born })
}

fn visit() -> impl Strategy<Value = Visit> {
    let kind = prop::sample::select(vec![9201, 9202, 5083, i64::MAX]);
    (patient(), 0_i64..4, kind, day(), day()).prop_map(|(patient, number, kind, start, end)| {
        Visit {
            patient,
            number,
            kind,
            start,
            end,
        }
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    (patient(), concept(), day()).prop_map(|(patient, concept, start)| Condition {
        patient,
        concept,
        start,
    })
}

fn measurement() -> impl Strategy<Value = Measurement> {
    let visit = prop::option::of(0_i64..4);
    (patient(), concept(), day(), number(), text(), visit).prop_map(
        |(patient, concept, day, value, text, visit)| Measurement {
            patient,
            concept,
            day,
            value,
            text,
            visit,
        },
    )
}

fn patient() -> impl Strategy<Value = i64> {
    prop::sample::select(PATIENTS.to_vec())
}

fn concept() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![
        9,
        10,
        10,
        11,
        12,
        9_007_199_254_740_991,
        i64::MAX,
        i64::MIN,
    ])
}

fn integer() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX])
}

fn day() -> impl Strategy<Value = i32> {
    let odd = prop::sample::select(vec![i32::MIN, i32::MIN + 1, -1, 0, i32::MAX]);
    prop_oneof![4 => DAY - 2..DAY + 2, 3 => DAY - 400..DAY + 400, 1 => odd]
}

fn number() -> impl Strategy<Value = Option<f64>> {
    let odd = vec![
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        1e12,
    ];
    let tenths = (-20_i32..140).prop_map(|tenths| f64::from(tenths) / 10.0);
    prop::option::weighted(
        0.9,
        prop_oneof![3 => tenths, 1 => prop::sample::select(odd)],
    )
}

fn text() -> impl Strategy<Value = &'static str> {
    let odd = [
        "",
        "x",
        "NaN",
        "-inf",
        "1e400",
        "-0",
        "99999999999999999999",
        "2020-02-30",
        "\u{0}",
    ];
    let fine = ["1", "7.5", "2020-06-01", "12"];
    prop::sample::select([&odd[..], &fine[..]].concat())
}
