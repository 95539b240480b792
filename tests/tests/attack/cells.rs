//! A measure over the measurements of a concept, in thousands of cells: each is a release.

use ward_schemas::key::KeySpec;
use ward_schemas::template::Template;
use ward_tests::attack::engine::{Tabulation, template};
use ward_tests::attack::hospital::{Tables, doubles, integers};

/// One cell for each concept below `cells`; the measure is `x`, and a patient may have so many rows in
/// one cell.
pub(crate) fn tabulation(
    measure: &str,
    rho: &str,
    rows: u32,
    bounds: &str,
    cells: i64,
) -> Tabulation {
    let sql = format!(
        "SELECT measurement_concept_id AS cell, {measure} AS x FROM measurement GROUP BY 1"
    );
    let declarations = format!(
        "contribution = {{ max_groups = 1, max_rows_per_group = {rows} }}\nkeys.cell = {{ numbers = [0] }}\n{bounds}"
    );
    let mut template = Template::parse(&template(&sql, rho, &declarations)).expect("a template");
    // More than a file may list.
    let numbers = (0..cells).collect();
    let cell = "cell".parse().expect("a name");
    let keys = &mut template.tables[0].keys;
    keys.insert(cell, KeySpec::Numbers { numbers });
    Tabulation::of(template).expect("accepted")
}

/// A hospital of measurements: patient, concept, value.
pub(crate) fn hospital(rows: impl IntoIterator<Item = (i64, i64, f64)>) -> Tables {
    let rows: Vec<_> = rows.into_iter().collect();
    let columns = [
        ("person_id", integers(rows.iter().map(|r| r.0))),
        ("measurement_concept_id", integers(rows.iter().map(|r| r.1))),
        ("value_as_number", doubles(rows.iter().map(|r| Some(r.2)))),
    ];
    Tables::default().with("measurement", &columns)
}
