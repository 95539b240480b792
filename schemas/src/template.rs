//! Templates: versioned, parameterised tabulation plans; SQL plus its privacy declaration.
//!
//! A template is one TOML file. [`Template::parse`] reads and checks it; [`Template::expand`]
//! resolves its group keys against a vocabulary and gives it its identity, the hash that a
//! steward approves.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::canonical::ContentHash;
use crate::data_key::{DataKeyType, MAX_VALUES};
use crate::decimal::{Decimal, Grid, GridError};
use crate::delta::Delta;
use crate::ehds::{Category, Purpose};
use crate::functions;
use crate::key::{self, KeyDomain, KeyError, KeySpec, Vocabulary};
use crate::loss::Loss;
use crate::names::{Ident, Version};
use crate::parameter::{self, Parameter, ParameterError, Parameters, RawParameters};
use crate::release::TOTAL;
use crate::rho::Rho;

/// The largest template file, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;
/// The most cells (product of its keys' sizes) a table may have.
pub const MAX_CELLS: usize = 1_000_000;
/// The most tables a template may have.
pub const MAX_TABLES: usize = 16;
/// The largest `max_groups` and `max_rows_per_group`.
pub const MAX_CONTRIBUTION: u32 = 100_000;
/// The largest weight of a column.
pub const MAX_WEIGHT: u32 = 100;

/// A template as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Name, unique in the network.
    pub id: Ident,
    /// Version; a changed template is a new version.
    pub version: Version,
    /// A few words.
    pub title: String,
    /// The question in plain language.
    pub question: String,
    /// Purposes of Article 53(1) it serves.
    pub purposes: BTreeSet<Purpose>,
    /// Data categories of Article 51(1) it reads.
    pub categories: BTreeSet<Category>,
    /// The vocabulary package it was written for; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<ContentHash>,
    /// Typed parameters.
    #[serde(default)]
    pub parameters: BTreeMap<Ident, Parameter>,
    /// Tables of the answer.
    pub tables: Vec<TableSpec>,
}

/// One table of a template: a statement and its privacy declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Name, unique in the template.
    pub name: Ident,
    /// The statement.
    pub sql: String,
    /// Privacy loss of the whole table's noise at one node.
    pub rho: Rho,
    /// Privacy loss of the whole table's thresholds at one node.
    #[serde(default, skip_serializing_if = "Delta::is_zero")]
    pub delta: Delta,
    /// What one patient may contribute.
    pub contribution: Contribution,
    /// Group keys by output column.
    #[serde(default)]
    pub keys: BTreeMap<Ident, KeySpec>,
    /// Bounds of summed or averaged values by output column.
    #[serde(default)]
    pub bounds: BTreeMap<Ident, Bounds>,
    /// Parts of ρ by output column, relative to one another; 1 where a column is not named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<Ident, u32>,
    /// Group keys over which the release adds cells up, into rows of their own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub totals: BTreeSet<Ident>,
}

/// What one patient may contribute to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// Groups.
    pub max_groups: u32,
    /// Rows in each of them.
    pub max_rows_per_group: u32,
}

/// Bounds of a summed or averaged value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Smaller values count as this.
    pub lower: Decimal,
    /// Larger values count as this.
    pub upper: Decimal,
    /// Values are rounded to multiples of this.
    pub step: Decimal,
    /// Unit, as in `%` or `mmol/mol`; UCUM where it has the unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

impl Bounds {
    /// The integer grid.
    ///
    /// # Errors
    /// When bounds and step make none.
    pub fn grid(&self) -> Result<Grid, GridError> {
        Grid::new(self.lower, self.upper, self.step)
    }
}

/// A template's name and content hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateRef {
    /// Name.
    pub id: Ident,
    /// Version.
    pub version: Version,
    /// Identity: see [`Template::expand`].
    pub hash: ContentHash,
}

/// A template with its group keys resolved: what is hashed, approved and compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpandedTemplate {
    template: Template,
    vocabulary: ContentHash,
    functions: BTreeMap<&'static str, u32>,
    keys: BTreeMap<Ident, BTreeMap<Ident, KeyDomain>>,
    #[serde(skip)]
    hash: ContentHash,
}

impl Template {
    /// Reads and checks a template.
    ///
    /// # Errors
    /// When the text is no template, or declares something that can't be.
    pub fn parse(toml: &str) -> Result<Self, TemplateError> {
        if toml.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::Large(toml.len()));
        }
        refuse_invisible(toml)?;
        let mut table: toml::Value =
            toml::from_str(toml).map_err(|e| TemplateError::Syntax(e.to_string()))?;
        dates_to_text(&mut table);
        let template: Self = table
            .try_into()
            .map_err(|e| TemplateError::Syntax(e.to_string()))?;
        template.check()?;
        Ok(template)
    }

    /// Gives every parameter its typed value.
    ///
    /// # Errors
    /// When the given ones don't fit the declared ones.
    pub fn bind(&self, given: &RawParameters) -> Result<Parameters, ParameterError> {
        parameter::bind(&self.parameters, given)
    }

    /// The ρ of one ask at one node, all tables together, where it names none.
    pub fn rho(&self) -> Rho {
        self.tables
            .iter()
            .fold(Rho::ZERO, |sum, t| sum.saturating_add(t.rho))
    }

    /// The privacy loss of one ask at one node, all tables together, at its own ρ.
    pub fn loss(&self) -> Loss {
        Loss {
            rho: self.rho(),
            delta: self.tables.iter().map(|t| t.delta).sum(),
        }
    }

    /// Resolves the group keys against a vocabulary and computes the identity: SHA-256 of the
    /// canonical form of the template, its expanded key domains, the vocabulary package's hash
    /// and the versions of the functions its SQL names.
    ///
    /// # Errors
    /// When the template names another vocabulary, or a key has no or too many values.
    pub fn expand(
        self,
        vocabulary_hash: ContentHash,
        vocabulary: &dyn Vocabulary,
    ) -> Result<ExpandedTemplate, TemplateError> {
        if let Some(named) = self.vocabulary.filter(|named| *named != vocabulary_hash) {
            return Err(TemplateError::Vocabulary {
                named,
                present: vocabulary_hash,
            });
        }
        let mut keys = BTreeMap::new();
        for table in &self.tables {
            keys.insert(table.name.clone(), expand_keys(table, vocabulary)?);
        }
        let functions = functions::named_in(self.tables.iter().map(|t| t.sql.as_str()));
        let mut expanded = ExpandedTemplate {
            template: self,
            vocabulary: vocabulary_hash,
            functions,
            keys,
            hash: ContentHash::from_digest([0; 32]),
        };
        expanded.hash = ContentHash::of("template", &expanded)
            .map_err(|e| TemplateError::Syntax(e.to_string()))?;
        Ok(expanded)
    }

    fn check(&self) -> Result<(), TemplateError> {
        if self.purposes.is_empty() || self.categories.is_empty() {
            return Err(TemplateError::Empty("purposes and categories"));
        }
        if self.tables.is_empty() || self.tables.len() > MAX_TABLES {
            return Err(TemplateError::Tables(self.tables.len()));
        }
        let units: u64 = self.tables.iter().map(|t| t.rho.units()).sum();
        if Rho::from_units(units).is_none() {
            return Err(TemplateError::RhoTotal);
        }
        let names: BTreeSet<_> = self.tables.iter().map(|t| &t.name).collect();
        if names.len() < self.tables.len() {
            return Err(TemplateError::TableTwice);
        }
        for (name, parameter) in &self.parameters {
            if parameter
                .default_value()
                .is_some_and(|v| !parameter.admits(&v))
            {
                return Err(TemplateError::Default {
                    name: name.clone(),
                    domain: parameter.domain(),
                });
            }
        }
        self.tables.iter().try_for_each(TableSpec::check)
    }
}

impl TableSpec {
    fn check(&self) -> Result<(), TemplateError> {
        let limits = [
            self.contribution.max_groups,
            self.contribution.max_rows_per_group,
        ];
        if limits.iter().any(|n| !(1..=MAX_CONTRIBUTION).contains(n)) {
            return Err(TemplateError::Contribution(self.name.clone()));
        }
        if self.rho == Rho::ZERO {
            return Err(TemplateError::NoRho(self.name.clone()));
        }
        if let Some(column) = self.totals.iter().find(|c| !self.keys.contains_key(*c)) {
            return Err(TemplateError::TotalsKey(column.clone()));
        }
        let weights = self.weights.iter();
        if let Some((column, _)) = weights
            .into_iter()
            .find(|(_, w)| !(1..=MAX_WEIGHT).contains(*w))
        {
            return Err(TemplateError::Weight(column.clone()));
        }
        self.check_data_key()?;
        for (column, bounds) in &self.bounds {
            bounds.grid().map_err(|source| TemplateError::Bounds {
                column: column.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

impl TableSpec {
    /// The key whose values come from data, if there is one: its column, their type, and the most
    /// of them that a node shows.
    pub fn data_key(&self) -> Option<(&Ident, DataKeyType, u32)> {
        self.keys.iter().find_map(|(column, spec)| match spec {
            KeySpec::FromData { from_data, most } => Some((column, *from_data, *most)),
            _ => None,
        })
    }

    /// What a threshold costs is declared, and nothing else is.
    fn check_data_key(&self) -> Result<(), TemplateError> {
        let from_data = |spec: &&KeySpec| matches!(spec, KeySpec::FromData { .. });
        if self.keys.values().filter(from_data).count() > 1 {
            return Err(TemplateError::DataKeys(self.name.clone()));
        }
        match self.data_key() {
            None if self.delta.is_zero() => Ok(()),
            None => Err(TemplateError::DeltaUnused(self.name.clone())),
            Some((column, _, most)) if !(1..=MAX_VALUES).contains(&most) => {
                Err(TemplateError::Most(column.clone()))
            }
            Some((column, _, _)) if self.delta.is_zero() => Err(TemplateError::NoDelta {
                table: self.name.clone(),
                column: column.clone(),
            }),
            Some((column, _, _)) if self.totals.contains(column) => {
                Err(TemplateError::TotalsData(column.clone()))
            }
            Some(_) => Ok(()),
        }
    }
}

fn expand_keys(
    table: &TableSpec,
    vocabulary: &dyn Vocabulary,
) -> Result<BTreeMap<Ident, KeyDomain>, TemplateError> {
    let mut domains = BTreeMap::new();
    let most = table.data_key().map_or(1, |(_, _, most)| most);
    let mut cells = usize::try_from(most).unwrap_or(usize::MAX);
    let is_public = |spec: &KeySpec| !matches!(spec, KeySpec::FromData { .. });
    for (column, spec) in table.keys.iter().filter(|(_, spec)| is_public(spec)) {
        let domain = key::expand(spec, vocabulary).map_err(|source| TemplateError::Key {
            column: column.clone(),
            source,
        })?;
        let totalled = table.totals.contains(column);
        if totalled && domain.labels().iter().any(|label| label == TOTAL) {
            return Err(TemplateError::TotalsLabel(column.clone()));
        }
        // Totals make rows too.
        cells = cells.saturating_mul(domain.len() + usize::from(totalled));
        domains.insert(column.clone(), domain);
    }
    if cells > MAX_CELLS {
        return Err(TemplateError::Cells {
            table: table.name.clone(),
            cells,
        });
    }
    Ok(domains)
}

impl ExpandedTemplate {
    /// The template as its author wrote it.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The vocabulary package it was expanded with.
    pub fn vocabulary(&self) -> ContentHash {
        self.vocabulary
    }

    /// The identity that stewards approve and permits name.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Name, version and identity.
    pub fn reference(&self) -> TemplateRef {
        TemplateRef {
            id: self.template.id.clone(),
            version: self.template.version.clone(),
            hash: self.hash,
        }
    }

    /// The domains of a table's public keys, by output column.
    pub fn keys(&self, table: &Ident) -> Option<&BTreeMap<Ident, KeyDomain>> {
        self.keys.get(table)
    }
}

/// TOML has dates of its own; the fields take them as text.
fn dates_to_text(value: &mut toml::Value) {
    match value {
        toml::Value::Datetime(date) => *value = toml::Value::String(date.to_string()),
        toml::Value::Array(items) => items.iter_mut().for_each(dates_to_text),
        toml::Value::Table(fields) => fields.iter_mut().for_each(|(_, v)| dates_to_text(v)),
        _ => {}
    }
}

/// Characters that make a text look other than it is: control, zero-width, bidirectional.
fn refuse_invisible(text: &str) -> Result<(), TemplateError> {
    let hidden =
        |c: char| (c.is_control() && c != '\n' && c != '\t' && c != '\r') || is_invisible(c);
    match text.char_indices().find(|(_, c)| hidden(*c)) {
        None => Ok(()),
        Some((at, character)) => Err(TemplateError::Invisible {
            line: text[..at].matches('\n').count() + 1,
            character,
        }),
    }
}

/// Whether a character that is no control has no width, or changes the direction of others.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Too many bytes.
    #[error("the template has {0} bytes; the limit is {MAX_TEMPLATE_BYTES}")]
    Large(usize),
    /// An invisible or bidirectional character.
    #[error("line {line} holds the invisible character U+{:04X}; remove it", u32::from(*character))]
    Invisible {
        /// Line, from 1.
        line: usize,
        /// The character.
        character: char,
    },
    /// Not TOML, or not a template's fields.
    #[error("the template can't be read: {0}")]
    Syntax(String),
    /// A list that must not be empty is.
    #[error("{0} must not be empty; name at least one of each")]
    Empty(&'static str),
    /// No or too many tables.
    #[error("the template has {0} tables; it may have 1 to {MAX_TABLES}")]
    Tables(usize),
    /// Two tables of one name.
    #[error("two tables have the same name; name them apart")]
    TableTwice,
    /// A limit out of range.
    #[error("table {0}: max_groups and max_rows_per_group must be from 1 to {MAX_CONTRIBUTION}")]
    Contribution(Ident),
    /// Totals over what is no key.
    #[error("totals names {0}, which is no declared key; declare keys.{0}, or remove it")]
    TotalsKey(Ident),
    /// Totals over a key whose label they would take.
    #[error("keys.{0} has a value labelled {TOTAL:?}, as its totals are; give it another label")]
    TotalsLabel(Ident),
    /// A weight out of range.
    #[error("weights.{0} must be a whole number from 1 to {MAX_WEIGHT}")]
    Weight(Ident),
    /// No privacy loss declared.
    #[error("table {0}: rho must be above zero")]
    NoRho(Ident),
    /// Several keys from data.
    #[error("table {0} has several keys from_data; it may have one: declare the others' values")]
    DataKeys(Ident),
    /// A number of values out of range.
    #[error("keys.{0}: most must be from 1 to {MAX_VALUES}")]
    Most(Ident),
    /// No δ for a threshold.
    #[error(
        "table {table}: keys.{column} takes its values from data, which costs a delta; declare one, such as delta = \"1e-9\""
    )]
    NoDelta {
        /// The table.
        table: Ident,
        /// Output column.
        column: Ident,
    },
    /// Totals over values of which only some are shown.
    #[error(
        "totals over {0} would leave out the values that are not shown; count in a table without that key"
    )]
    TotalsData(Ident),
    /// A δ that nothing costs.
    #[error("table {0} declares a delta and has no key from_data; remove it")]
    DeltaUnused(Ident),
    /// Too much privacy loss declared.
    #[error("the tables' rho add up to more than 1000; declare less")]
    RhoTotal,
    /// Bounds that make no grid.
    #[error("bounds.{column}: {source}")]
    Bounds {
        /// Output column.
        column: Ident,
        /// Why.
        source: GridError,
    },
    /// A key that can't be expanded.
    #[error("keys.{column}: {source}")]
    Key {
        /// Output column.
        column: Ident,
        /// Why.
        source: KeyError,
    },
    /// Too many cells.
    #[error("table {table} has {cells} cells; the limit is {MAX_CELLS}: use fewer or coarser keys")]
    Cells {
        /// The table.
        table: Ident,
        /// Product of its keys' sizes; of a key from data, `most`.
        cells: usize,
    },
    /// A default outside its own domain.
    #[error("parameters.{name}: the default is not {domain}")]
    Default {
        /// The parameter.
        name: Ident,
        /// What is accepted.
        domain: String,
    },
    /// Written for another vocabulary package.
    #[error("the template names the vocabulary {named}, and this network uses {present}")]
    Vocabulary {
        /// What the template names.
        named: ContentHash,
        /// What is there.
        present: ContentHash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::NoVocabulary;

    const TEXT: &str = r#"
id = "patients"
version = "1.0.0"
title = "Patients"
question = "How many?"
purposes = ["scientific-research"]
categories = ["ehr"]

[[tables]]
name = "by_sex"
sql = "SELECT p.gender_concept_id AS sex, COUNT(DISTINCT p.person_id) AS patients FROM person p GROUP BY 1"
rho = "0.005"
contribution = { max_groups = 1, max_rows_per_group = 1 }
keys.sex = { concepts = [8507, 8532] }
"#;

    fn from_data(data_type: &str, most: u32) -> String {
        let spec = format!("{{ from_data = \"{data_type}\", most = {most} }}");
        TEXT.replace("{ concepts = [8507, 8532] }", &spec)
    }

    #[test]
    fn a_key_from_data_costs_a_declared_delta_and_nothing_else_does() {
        let parse = |text: &str, delta: &str| {
            Template::parse(&text.replace("rho =", &format!("delta = \"{delta}\"\nrho =")))
        };
        let text = from_data("text", 10);
        assert!(parse(&text, "1e-9").is_ok());
        assert!(matches!(
            parse(&text, "0"),
            Err(TemplateError::NoDelta { .. })
        ));
        assert!(matches!(
            parse(TEXT, "1e-9"),
            Err(TemplateError::DeltaUnused(_))
        ));
        assert!(matches!(
            parse(&from_data("text", 0), "1e-9"),
            Err(TemplateError::Most(_))
        ));
        let second = format!("{text}keys.x = {{ from_data = \"date\" }}\n");
        assert!(matches!(
            parse(&second, "1e-9"),
            Err(TemplateError::DataKeys(_))
        ));
        let totals = format!("{text}totals = [\"sex\"]\n");
        assert!(matches!(
            parse(&totals, "1e-9"),
            Err(TemplateError::TotalsData(_))
        ));
        let wide = text.replace("most = 10", "most = 10000");
        let wide = format!(
            "{wide}keys.x = {{ numbers = {:?} }}\n",
            Vec::from_iter(0..101)
        );
        let expanded =
            parse(&wide, "1e-9").and_then(|t| t.expand(ContentHash::of_bytes(b"v"), &NoVocabulary));
        assert!(matches!(
            expanded,
            Err(TemplateError::Cells {
                cells: 1_010_000,
                ..
            })
        ));
    }

    fn hash(text: &str) -> ContentHash {
        let vocabulary = ContentHash::of_bytes(b"v");
        Template::parse(text)
            .and_then(|t| t.expand(vocabulary, &NoVocabulary))
            .expect("template")
            .hash()
    }

    #[test]
    fn layout_does_not_change_the_identity_and_content_does() {
        assert_eq!(hash(TEXT), hash(&format!("# a comment\n{TEXT}\n")));
        assert_ne!(hash(TEXT), hash(&TEXT.replace("0.005", "0.006")));
        let with_delta =
            |text: &str, delta: &str| text.replace("rho =", &format!("delta = \"{delta}\"\nrho ="));
        assert_eq!(hash(TEXT), hash(&with_delta(TEXT, "0")));
        let from_data = with_delta(&from_data("integer", 7), "1e-7");
        assert_ne!(hash(&from_data), hash(&from_data.replace("1e-7", "1e-8")));
        assert_ne!(hash(&from_data), hash(&from_data.replace("7 }", "8 }")));
        assert_ne!(hash(TEXT), hash(&TEXT.replace("8532]", "8532, 8551]")));
    }

    #[test]
    fn mistakes_name_the_line_or_the_field() {
        let refuse = |from: &str, to: &str| {
            Template::parse(&TEXT.replacen(from, to, 1))
                .and_then(|t| t.expand(ContentHash::of_bytes(b"v"), &NoVocabulary))
                .expect_err(to)
                .to_string()
        };
        assert!(refuse("title", "titel").contains("titel"));
        assert!(refuse("\"Patients\"", "\"Pat\u{202e}ients\"").contains("line 4"));
        assert!(refuse("max_groups = 1", "max_groups = 0").contains("max_groups"));
        assert!(refuse("0.005", "0").contains("rho"));
        assert!(refuse("[8507, 8532]", "[8507, 8507]").contains("twice"));
        assert!(refuse("[\"ehr\"]", "[]").contains("categories"));
        let keys = "keys.sex = { concepts = [8507, 8532]";
        let with = |more: &str| format!("{more}\n{keys}");
        assert!(refuse(keys, &with("totals = [\"age\"]")).contains("keys.age"));
        assert!(refuse(keys, &with("weights = { patients = 0 }")).contains("weights.patients"));
        let labelled = format!("totals = [\"sex\"]\n{keys}, labels = [\"total\", \"f\"]");
        assert!(refuse(keys, &labelled).contains("labelled"));
    }
}
