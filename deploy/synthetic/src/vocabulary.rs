//! The public vocabulary, written as OMOP vocabulary tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::NaiveDate;

use crate::concept::{self, Concept, Kind};
use crate::sink::{Field, Row, Sink};
use crate::{Rows, SyntheticError};

/// Writes `concept`, `concept_ancestor` and `concept_relationship` into a folder, which is made if
/// it is not there; files of the same names are replaced. Every concept id that [`generate`]
/// writes is in them, 0 too.
///
/// [`generate`]: crate::generate
///
/// # Errors
/// When a file can't be written.
pub fn vocabulary(folder: &Path) -> Result<Rows, SyntheticError> {
    fs::create_dir_all(folder).map_err(|e| SyntheticError::file(folder, e))?;
    let mut concepts = Sink::create(folder)?;
    let mut ancestors = Sink::create(folder)?;
    let mut relationships = Sink::create(folder)?;
    let mut all: Vec<&'static Concept> = concept::all().collect();
    all.sort_unstable_by_key(|c| c.id);
    for concept in all {
        concepts.write(&[ConceptRow(concept)])?;
        ancestors.write(&ancestors_of(concept))?;
        relationships.write(&relationships_of(concept))?;
    }
    Ok(Rows::from([
        concepts.finish()?,
        ancestors.finish()?,
        relationships.finish()?,
    ]))
}

struct ConceptRow(&'static Concept);

struct Ancestor {
    ancestor: i64,
    descendant: i64,
    nearest: i64,
    farthest: i64,
}

struct Relationship {
    from: i64,
    to: i64,
    name: &'static str,
}

/// Every concept above this one, itself included, with the shortest and longest way to it.
fn ancestors_of(concept: &'static Concept) -> Vec<Ancestor> {
    let mut found = BTreeMap::new();
    climb(concept, 0, &mut found);
    found
        .into_iter()
        .map(|(ancestor, (nearest, farthest))| Ancestor {
            ancestor,
            descendant: concept.id,
            nearest,
            farthest,
        })
        .collect()
}

fn climb(concept: &Concept, steps: i64, found: &mut BTreeMap<i64, (i64, i64)>) {
    let (nearest, farthest) = found.entry(concept.id).or_insert((steps, steps));
    *nearest = steps.min(*nearest);
    *farthest = steps.max(*farthest);
    for parent in parents(concept) {
        climb(parent, steps + 1, found);
    }
}

fn parents(concept: &Concept) -> impl Iterator<Item = &'static Concept> {
    let ids = concept.parents;
    concept::all().filter(|c| ids.contains(&c.id))
}

/// The concept to itself and to its parents, and its parents to it.
fn relationships_of(concept: &'static Concept) -> Vec<Relationship> {
    let link = |from, to, name| Relationship { from, to, name };
    let mut links = Vec::new();
    if concept.kind.standard() == Some("S") {
        links.push(link(concept.id, concept.id, "Maps to"));
        links.push(link(concept.id, concept.id, "Mapped from"));
    }
    for parent in parents(concept) {
        let (up, down) = match (concept.kind, parent.kind) {
            (Kind::Product, Kind::Ingredient) => ("RxNorm has ing", "RxNorm ing of"),
            (Kind::Ingredient, Kind::Class) => ("RxNorm - ATC pr lat", "ATC - RxNorm pr lat"),
            _ => ("Is a", "Subsumes"),
        };
        links.push(link(concept.id, parent.id, up));
        links.push(link(parent.id, concept.id, down));
    }
    links
}

const VALID_FROM: NaiveDate = day(1970, 1, 1);
const VALID_TO: NaiveDate = day(2099, 12, 31);

const fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("both days exist")
}

impl Row for ConceptRow {
    const TABLE: &'static str = "concept";
    const FIELDS: &'static [Field<Self>] = &[
        ("concept_id", |r| r.0.id.into()),
        ("concept_name", |r| r.0.name.into()),
        ("domain_id", |r| r.0.kind.names()[0].into()),
        ("vocabulary_id", |r| r.0.kind.names()[1].into()),
        ("concept_class_id", |r| r.0.kind.names()[2].into()),
        ("standard_concept", |r| r.0.kind.standard().into()),
        ("concept_code", |r| {
            Some(r.0.code).filter(|c| !c.is_empty()).into()
        }),
        ("valid_start_date", |_| VALID_FROM.into()),
        ("valid_end_date", |_| VALID_TO.into()),
    ];
}

impl Row for Ancestor {
    const TABLE: &'static str = "concept_ancestor";
    const FIELDS: &'static [Field<Self>] = &[
        ("ancestor_concept_id", |r| r.ancestor.into()),
        ("descendant_concept_id", |r| r.descendant.into()),
        ("min_levels_of_separation", |r| r.nearest.into()),
        ("max_levels_of_separation", |r| r.farthest.into()),
    ];
}

impl Row for Relationship {
    const TABLE: &'static str = "concept_relationship";
    const FIELDS: &'static [Field<Self>] = &[
        ("concept_id_1", |r| r.from.into()),
        ("concept_id_2", |r| r.to.into()),
        ("relationship_id", |r| r.name.into()),
        ("valid_start_date", |_| VALID_FROM.into()),
        ("valid_end_date", |_| VALID_TO.into()),
    ];
}
