//! One patient more or fewer in the files that a hospital imports, with identifiers spelled in many
//! ways, rows that are rejected, and rows that are there twice: through import and engine, what comes out
//! moves by no more than was declared.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use ward_omop::vocabulary::Package;
use ward_tests::attack::engine::Tabulation;
use ward_tests::attack::neighbour::{Excess, excess};
use ward_tests::attack::raw::{Imported, VOCABULARY, package};

use crate::statements::ACCEPTED;

static VOCABULARY_PACKAGE: LazyLock<Arc<Package>> =
    LazyLock::new(|| package(&VOCABULARY.map(|(name, text)| (name, text.to_owned()))));
/// A row: of which table, whose, under which spelling, and its other fields.
#[derive(Clone, Debug)]
struct Row {
    table: Table,
    patient: usize,
    spelling: usize,
    fields: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Person,
    Visit,
    Condition,
    Measurement,
    Death,
}

impl Table {
    const ALL: [Self; 5] = [
        Self::Person,
        Self::Visit,
        Self::Condition,
        Self::Measurement,
        Self::Death,
    ];

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Person => ("person.csv", "person_id,gender_concept_id,year_of_birth"),
            Self::Visit => (
                "visit_occurrence.csv",
                "person_id,visit_occurrence_id,visit_concept_id,visit_start_date,visit_end_date",
            ),
            Self::Condition => (
                "condition_occurrence.csv",
                "person_id,condition_occurrence_id,condition_concept_id,condition_start_date",
            ),
            Self::Measurement => (
                "measurement.csv",
                "person_id,measurement_id,measurement_concept_id,measurement_date,value_as_number,value_source_value,visit_occurrence_id",
            ),
            Self::Death => ("death.csv", "person_id,death_date"),
        }
    }
}

/// Who is who, whatever the spelling: three with numbers, one with a name.
const SPELLINGS: [&[&str]; 4] = [
    &["7", "007", "7.0", "+7", " 7 ", "7.00"],
    &["-7", "-07", "-7.0"],
    &["9007199254740993", "09007199254740993"],
    &["A-7", " A-7", "A-7 "],
];

proptest! {
    #![proptest_config(crate::cases(12))]

    #[test]
    fn one_patient_moves_no_component_further_than_declared(
        rows in prop::collection::vec(row(), 0..80),
        leaver in 0..SPELLINGS.len(),
        seed in any::<u64>(),
    ) {
        let stay: Vec<_> = rows.iter().filter(|r| r.patient != leaver).cloned().collect();
        let moved = moved(&import(&rows), &import(&shuffled(stay, seed)));
        prop_assert_eq!(moved, []);
    }
}

/// Mutant: spellings that an import takes for other people.
#[test]
fn a_patient_who_becomes_forty_would_show() {
    let row = |i| Row {
        table: Table::Person,
        patient: 0,
        spelling: i,
        fields: "8507,1950".to_owned(),
    };
    let persons: Vec<_> = (0..40).map(row).collect();
    let measured = |person: &Row| Row {
        table: Table::Measurement,
        fields: "1,10,2020-08-26,1e12,12,".to_owned(),
        ..person.clone()
    };
    let rows = [persons.clone(), persons.iter().map(measured).collect()].concat();
    let spelled = |spell: &dyn Fn(&Row) -> String| import_as(&rows, spell);
    let without = import(&[]);
    let one = |row: &Row| format!("{:0>1$}", 7, row.spelling + 1);
    assert_eq!(moved(&spelled(&one), &without), []);
    let many = |row: &Row| format!("{:0>1$}x", 7, row.spelling + 1);
    assert_ne!(moved(&spelled(&many), &without), []);
}

/// Mutant: an import that counts patients. When the first one leaves, all others have other
/// identifiers, and with them other groups.
#[test]
fn an_import_that_counts_would_show() {
    let patient = |i: usize| {
        let row = |table, fields: String| Row {
            table,
            patient: i,
            spelling: 0,
            fields,
        };
        let measured =
            |concept: usize| row(Table::Measurement, format!("1,{concept},2020-08-26,4,12,"));
        let concepts = (9..12).map(|concept| concept + i % 2);
        let mut rows: Vec<_> = concepts.map(measured).collect();
        rows.push(row(Table::Person, "8507,1950".to_owned()));
        rows
    };
    let everybody: Vec<_> = (0..40).flat_map(patient).collect();
    let rest = &everybody[4..];
    let by_name = |row: &Row| format!("name {}", row.patient);
    let with = import_as(&everybody, &by_name);
    assert_eq!(moved(&with, &import_as(rest, &by_name)), []);
    let counted = |row: &Row| format!("name {}", row.patient - 1);
    assert_ne!(moved(&with, &import_as(rest, &counted)), []);
}

fn moved(with: &Imported, without: &Imported) -> Vec<Excess> {
    let answer = |tabulation: &Tabulation, import: &Imported| {
        tabulation.bounded(import.serve(&VOCABULARY_PACKAGE))
    };
    let moved = |t: &Tabulation| excess(t.plan(), &answer(t, with), &answer(t, without));
    ACCEPTED.iter().flat_map(|(_, t)| moved(t)).collect()
}

fn import(rows: &[Row]) -> Imported {
    import_as(rows, &|row| {
        let spellings = SPELLINGS[row.patient];
        spellings[row.spelling % spellings.len()].to_owned()
    })
}

/// With somebody who is always there: a folder without patients is no hospital.
fn import_as(rows: &[Row], spell: &dyn Fn(&Row) -> String) -> Imported {
    let file = |table: Table| {
        let (name, header) = table.file();
        let rows = rows.iter().filter(|r| r.table == table);
        let rows = rows.map(|r| format!("{},{}\n", spell(r), r.fields));
        let always = if table == Table::Person {
            "1,8532,1970\n"
        } else {
            ""
        };
        (
            name,
            format!("{header}\n{always}{}", rows.collect::<String>()),
        )
    };
    Imported::new(&Table::ALL.map(file))
}

fn shuffled(mut rows: Vec<Row>, seed: u64) -> Vec<Row> {
    let mut random = ward_tests::attack::random::SplitMix::new(seed);
    rows.sort_by_cached_key(|_| random.bits());
    rows
}

/// Rows that an import keeps, and rows that it doesn't. So few values that rows repeat.
fn row() -> impl Strategy<Value = Row> {
    let person = (
        one_of(&["8507", "8532", "", "x"]),
        one_of(&["1950", "1950.0", "", "x"]),
    );
    let person = person.prop_map(|(sex, born)| (Table::Person, format!("{sex},{born}")));
    let visit = (
        one_of(&["1", "2", "2.0", ""]),
        one_of(&["9201", "9202"]),
        day(),
        day(),
    );
    let visit = visit
        .prop_map(|(id, kind, start, end)| (Table::Visit, format!("{id},{kind},{start},{end}")));
    let condition = (one_of(&["10", "11", "x"]), day());
    let condition =
        condition.prop_map(|(concept, day)| (Table::Condition, format!("1,{concept},{day}")));
    let value = one_of(&["4", "4.0", "-1.5", "1e300", "inf", "NaN", "", "x"]);
    let measurement = (
        one_of(&["1", "2"]),
        one_of(&["9", "10", "11", "12"]),
        day(),
        value,
        one_of(&["12", "x", ""]),
        one_of(&["1", "2", ""]),
    );
    let measurement = measurement.prop_map(|(id, concept, day, value, text, visit)| {
        (
            Table::Measurement,
            format!("{id},{concept},{day},{value},{text},{visit}"),
        )
    });
    let death = day().prop_map(|day| (Table::Death, day.to_owned()));
    let row = prop_oneof![2 => person, 1 => visit, 1 => condition, 4 => measurement, 1 => death];
    (row, 0..SPELLINGS.len(), 0_usize..6).prop_map(|((table, fields), patient, spelling)| Row {
        table,
        patient,
        spelling,
        fields,
    })
}

fn day() -> impl Strategy<Value = &'static str> {
    one_of(&["2020-08-26", "20200826", "2020-09-01", "2020-02-30", ""])
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(values)
}
