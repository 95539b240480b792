//! A measure over the measurements of a concept, in thousands of cells: each is a release.

use ward_schemas::key::KeySpec;
use ward_schemas::template::Template;
use ward_tests::attack::engine::{Tabulation, template};

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
