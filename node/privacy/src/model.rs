//! The tables that a statement may name, and what is known of their columns.
//!
//! [`Model::clinical`] is the OMOP clinical data model, on which nodes run. Anybody else describes
//! their own tables: which rows are personal, and which column holds the patient.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use ward_schemas::cdm::{self, ColumnRole, ColumnType, PrivacyClass};

use crate::multiplicity::Multiplicity;
use crate::relation::{Field, Node, Owner, Relation, Role};
use crate::scalar::Extent;

/// The tables that statements may name.
#[derive(Clone, Debug, Default)]
pub struct Model {
    tables: BTreeMap<String, Arc<Table>>,
}

impl Model {
    /// The OMOP CDM of [`ward_schemas::cdm`], as nodes serve it.
    pub fn clinical() -> Self {
        let table = |t| (cdm_name(t), Arc::new(Table::clinical(t)));
        Self {
            tables: cdm::tables().map(table).collect(),
        }
    }

    /// No table yet.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a table whose rows are each about the patient in the column `patient`. Integers are read
    /// as 64 bits, floating-point numbers and decimals as doubles; columns of other types than
    /// numbers, text, dates, timestamps and Booleans can't be named. Rows without a patient are
    /// left out.
    ///
    /// # Errors
    /// When the table is there already, or has no integer column of that name.
    pub fn personal(
        self,
        name: &str,
        schema: SchemaRef,
        patient: &str,
    ) -> Result<Self, ModelError> {
        let missing = || ModelError::Patient {
            table: name.to_owned(),
            column: patient.to_owned(),
        };
        let mut fields = readable(&schema);
        let column = fields.iter().position(|f| f.name == patient);
        let column = column.ok_or_else(missing)?;
        if fields[column].data_type != DataType::Int64 {
            return Err(missing());
        }
        fields[column].role = Role::Patient;
        fields[column].of_patient = true;
        let owner = Owner::Patient {
            column,
            multiplicity: Multiplicity::many(),
        };
        self.with(name, schema, fields, owner)
    }

    /// Adds a table that is about nobody and that everybody may read.
    ///
    /// # Errors
    /// When the table is there already.
    pub fn public(self, name: &str, schema: SchemaRef) -> Result<Self, ModelError> {
        let fields = readable(&schema);
        self.with(name, schema, fields, Owner::Public)
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    fn with(
        mut self,
        name: &str,
        served: SchemaRef,
        fields: Vec<Field>,
        owner: Owner,
    ) -> Result<Self, ModelError> {
        let table = Table {
            name: name.to_owned(),
            served,
            fields,
            owner,
        };
        match self.tables.insert(name.to_owned(), Arc::new(table)) {
            None => Ok(self),
            Some(_) => Err(ModelError::Twice(name.to_owned())),
        }
    }
}

/// A table that can't be part of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Two tables of one name.
    #[error("two tables are named {0}; name them apart")]
    Twice(String),
    /// No proper patient column.
    #[error(
        "{table} has no integer column {column} that could name its patients; cast it, or name another"
    )]
    Patient {
        /// The table.
        table: String,
        /// What should hold the patient.
        column: String,
    },
}

/// A table of the model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// How it is served.
    pub(crate) served: SchemaRef,
    /// The columns that can be named, with the types in which they are read.
    pub(crate) fields: Vec<Field>,
    owner: Owner,
}

impl Table {
    fn clinical(table: &cdm::Table) -> Self {
        let position = |name: &str| table.columns.iter().position(|c| c.name == name);
        let (owner, one_row) = match (table.class, position(cdm::PATIENT)) {
            (PrivacyClass::Personal, Some(column)) => {
                let multiplicity = match table.referenced_key() {
                    Some(cdm::PATIENT) => Multiplicity::one(),
                    Some(key) => position(key)
                        .map_or_else(Multiplicity::many, |key| Multiplicity::one_per([key])),
                    None => Multiplicity::many(),
                };
                let one_row = multiplicity.is_one();
                (
                    Owner::Patient {
                        column,
                        multiplicity,
                    },
                    one_row,
                )
            }
            _ => (Owner::Public, false),
        };
        let served = arrow_schema(table);
        let fields = table
            .columns
            .iter()
            .zip(served.fields())
            .map(|(c, f)| Field {
                name: c.name.to_owned(),
                data_type: f.data_type().clone(),
                role: role(table, c),
                extent: Extent::COLUMN,
                of_patient: one_row || role(table, c) == Role::Patient,
                ordinal: false,
            });
        Self {
            name: table.name.to_owned(),
            fields: fields.collect(),
            served,
            owner,
        }
    }

    /// All its rows.
    pub(crate) fn scan(self: &Arc<Self>) -> Relation {
        Relation {
            fields: self.fields.clone(),
            owner: self.owner.clone(),
            node: Node::Scan {
                table: Arc::clone(self),
            },
        }
    }

    /// The schema against which statements are planned.
    pub(crate) fn read_schema(&self) -> SchemaRef {
        let field = |f: &Field| {
            let nullable = self
                .served
                .field_with_name(&f.name)
                .is_ok_and(ArrowField::is_nullable);
            ArrowField::new(f.name.as_str(), f.data_type.clone(), nullable)
        };
        Arc::new(Schema::new(
            self.fields.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}

fn cdm_name(table: &cdm::Table) -> String {
    table.name.to_owned()
}

fn role(table: &cdm::Table, column: &cdm::Column) -> Role {
    match (table.class, column.role) {
        (PrivacyClass::Public, _) => Role::Value,
        (PrivacyClass::Personal, ColumnRole::Patient) => Role::Patient,
        (PrivacyClass::Personal, ColumnRole::Identifier) => Role::Identifier,
        (PrivacyClass::Personal, ColumnRole::Concept | ColumnRole::Value) => Role::Value,
    }
}

fn arrow_schema(table: &cdm::Table) -> SchemaRef {
    let field = |c: &cdm::Column| ArrowField::new(c.name, arrow_type(c.column_type), !c.required);
    Arc::new(Schema::new(
        table.columns.iter().map(field).collect::<Vec<_>>(),
    ))
}

fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

fn readable(schema: &SchemaRef) -> Vec<Field> {
    let field = |f: &Arc<ArrowField>| {
        Some(Field {
            name: f.name().clone(),
            data_type: read_as(f.data_type())?,
            role: Role::Value,
            extent: Extent::COLUMN,
            of_patient: false,
            ordinal: false,
        })
    };
    schema.fields().iter().filter_map(field).collect()
}

/// The type in which a column is read: casts to it are total.
fn read_as(served: &DataType) -> Option<DataType> {
    match served {
        DataType::Boolean => Some(DataType::Boolean),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => Some(DataType::Int64),
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Some(DataType::Float64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Date32 => Some(DataType::Date32),
        DataType::Timestamp(TimeUnit::Microsecond, None) => Some(served.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            ArrowField::new("patient", DataType::Int32, true),
            ArrowField::new("ward", DataType::Utf8View, true),
            ArrowField::new("photos", DataType::Binary, true),
        ]))
    }

    #[test]
    fn columns_are_read_in_few_types() {
        let model = Model::empty()
            .personal("stays", schema(), "patient")
            .expect("model");
        let table = model.table("stays").expect("table");
        let types: Vec<_> = table.fields.iter().map(|f| &f.data_type).collect();
        assert_eq!(types, [&DataType::Int64, &DataType::Utf8]);
        assert_eq!(table.fields[0].role, Role::Patient);
    }

    #[test]
    fn a_personal_table_has_its_patients() {
        let refuse = |column| {
            Model::empty()
                .personal("stays", schema(), column)
                .expect_err(column)
        };
        assert!(
            refuse("person")
                .to_string()
                .contains("no integer column person")
        );
        assert!(matches!(refuse("ward"), ModelError::Patient { .. }));
        let twice = Model::empty()
            .public("a", schema())
            .and_then(|m| m.public("a", schema()));
        assert!(matches!(twice, Err(ModelError::Twice(_))));
    }
}
