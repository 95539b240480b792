//! The group key whose values come from data: any expression of its type; its threshold looks at a
//! count of distinct patients, the statement's own where there is one by this key alone.

use arrow::datatypes::DataType;
use ward_schemas::data_key::{DataKey, DataKeyType};
use ward_schemas::names::Ident;
use ward_schemas::plan::{Column, ColumnContent, Component, ComponentUnit, TablePlan};

use super::columns::Compiler;
use super::parts::Parts;
use super::{InputKind, Query, TallyKind};
use crate::refusal::Rule;
use crate::scalar::Scalar;

/// The key as the statement has it.
pub(super) struct Found {
    /// Its place among the statement's keys.
    pub(super) index: usize,
    pub(super) scalar: Scalar,
    name: Ident,
    from_data: DataKeyType,
    most: u32,
}

impl Compiler<'_> {
    /// The declared key that comes from data, if there is one and the statement groups by it.
    pub(super) fn data_key(&self, columns: &[Column]) -> Result<Option<Found>, Rule> {
        let Some((name, from_data, most)) = self.spec.data_key() else {
            return Ok(None);
        };
        let content = columns.iter().find(|c| c.name == *name).map(|c| &c.content);
        let Some(ColumnContent::Key { index }) = content else {
            return Ok(None);
        };
        let expr = &self.aggregate.group_expr[*index];
        let (declared, accepted) = match from_data {
            DataKeyType::Text => ("texts from data", DataType::Utf8),
            DataKeyType::Integer => ("whole numbers from data", DataType::Int64),
            DataKeyType::Date => ("dates from data", DataType::Date32),
        };
        let found = self.scope.type_of(expr)?;
        if found != accepted {
            return Err(Rule::KeyType {
                column: name.to_string(),
                found: found.to_string(),
                declared,
            });
        }
        Ok(Some(Found {
            index: *index,
            scalar: self.scope.scalar(expr)?,
            name: name.clone(),
            from_data,
            most,
        }))
    }
}

impl Found {
    /// A value's sums are one integer for each measure.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), Rule> {
        let is_tree = |tally: &super::Tally| matches!(tally.kind, TallyKind::Bins { .. });
        if !parts.tallies.iter().any(is_tree) {
            return Ok(());
        }
        Err(Rule::Unsupported {
            what: "a quantile by a key that comes from data",
            fragment: self.name.to_string(),
            remedy: "Declare the key's values",
        })
    }

    /// Adds the key to a table that was compiled without it.
    pub(super) fn add(self, table: &mut TablePlan, query: &mut Query) -> Result<(), Rule> {
        let counted = counted(table, query).unwrap_or_else(|| {
            table.components.push(self.count(table));
            table.components.len() - 1
        });
        self.add_columns(table)?;
        table.data_key = Some(DataKey {
            name: self.name,
            from_data: self.from_data,
            most: self.most,
            counted,
        });
        query.data_key = Some(self.scalar);
        Ok(())
    }

    /// A count for the threshold alone, of the weight of an average measure.
    fn count(&self, table: &TablePlan) -> Component {
        let measures = table.columns.iter();
        let measures = measures.filter(|c| matches!(c.content, ColumnContent::Measure { .. }));
        let measures = u64::try_from(measures.count()).unwrap_or(u64::MAX).max(1);
        let weights: u64 = table.components.iter().map(|c| u64::from(c.weight)).sum();
        Component {
            name: format!("patients by {}", self.name),
            unit: ComponentUnit::One,
            bound: 1,
            weight: u32::try_from(weights / measures).unwrap_or(u32::MAX).max(1),
        }
    }

    /// The key's column, and behind it how many nodes are in the row; other keys move up.
    fn add_columns(&self, table: &mut TablePlan) -> Result<(), Rule> {
        let name = format!("{}_nodes", self.name);
        if table.columns.iter().any(|c| c.name.as_str() == name) {
            return Err(Rule::ColumnTwice(name));
        }
        let nodes = Column {
            name: name.parse().map_err(|_| Rule::Unnamed(name))?,
            unit: String::new(),
            content: ColumnContent::Nodes,
        };
        for column in &mut table.columns {
            if let ColumnContent::Key { index } = &mut column.content {
                match (*index).cmp(&self.index) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => column.content = ColumnContent::DataKey,
                    std::cmp::Ordering::Greater => *index -= 1,
                }
            }
        }
        let key = table.columns.iter().position(|c| c.name == self.name);
        table.columns.insert(key.map_or(0, |at| at + 1), nodes);
        Ok(())
    }
}

/// The component that counts each patient of a value, if there is one: with other keys beside this
/// one a patient would be counted in several cells.
fn counted(table: &TablePlan, query: &Query) -> Option<usize> {
    let counts_all = |source: &super::Source| {
        let tally = &query.tallies[source.tally];
        let input = &query.inputs[tally.input];
        let every_row = match &input.kind {
            InputKind::Presence(None) => true,
            InputKind::Presence(Some(Scalar::Column(column))) => *column == query.patient,
            _ => false,
        };
        tally.kind == TallyKind::Patients && input.filter.is_none() && every_row
    };
    let counted = query.sources.iter().position(counts_all);
    counted.filter(|_| table.keys.is_empty())
}
