//! Reading OMOP exports as hospitals have them, and the vocabulary package.
//!
//! | module | what |
//! | --- | --- |
//! | [`folder`] | one folder of OMOP tables, Parquet or CSV, read leniently and row by row |
//! | [`vocabulary`] | the vocabulary package: the public tables in one file, named by its hash |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use ward_schemas::cdm::{Column, ColumnType, Table};

pub mod folder;
pub mod vocabulary;

/// The Arrow schema of a table as snapshots and vocabulary packages store it and as queries see it.
pub fn arrow_schema(table: &Table) -> SchemaRef {
    schema_of(table, |column| {
        Field::new(
            column.name,
            arrow_type(column.column_type),
            !column.required,
        )
    })
}

/// The Arrow type of a column type.
pub fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
    }
}

fn schema_of(table: &Table, field: impl Fn(&Column) -> Field) -> SchemaRef {
    Arc::new(Schema::new(
        table.columns.iter().map(field).collect::<Vec<_>>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ward_schemas::cdm;

    #[test]
    fn schemas_follow_the_model() {
        let person = arrow_schema(cdm::table("person").expect("person"));
        let year = person.field_with_name("year_of_birth").expect("column");
        assert_eq!(year.data_type(), &DataType::Int64);
        assert!(!year.is_nullable());
        let birth = person.field_with_name("birth_datetime").expect("column");
        assert!(birth.is_nullable());
        assert_eq!(
            birth.data_type(),
            &DataType::Timestamp(TimeUnit::Microsecond, None)
        );
    }
}
