//! Group keys: each has a declared domain of its type.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr as SqlExpr;
use ward_schemas::key::{KeyDomain, KeyValue};
use ward_schemas::names::Ident;
use ward_schemas::plan::{Column, ColumnContent, KeyColumn};

use super::columns::Compiler;
use super::data_key;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::scalar::Scalar;

impl Compiler<'_> {
    /// The keys' columns and expressions, in the order of GROUP BY.
    pub(super) fn keys(
        &self,
        columns: &[Column],
        domains: &BTreeMap<Ident, KeyDomain>,
        data_key: Option<&data_key::Found>,
    ) -> Result<(Vec<KeyColumn>, Vec<Scalar>), Rule> {
        let from_data = data_key.map(|key| key.index);
        let keys = self.aggregate.group_expr.iter().enumerate();
        let public = keys.filter(|(index, _)| Some(*index) != from_data);
        public
            .map(|(index, expr)| self.key(index, expr, columns, domains))
            .collect::<Result<Vec<_>, _>>()
            .map(|pairs| pairs.into_iter().unzip())
    }
    fn key(
        &self,
        index: usize,
        expr: &SqlExpr,
        columns: &[Column],
        domains: &BTreeMap<Ident, KeyDomain>,
    ) -> Result<(KeyColumn, Scalar), Rule> {
        let scalar = self.scope.scalar(expr)?;
        let is_this = |c: &&Column| c.content == ColumnContent::Key { index };
        let undeclared = |column: String| Rule::KeyUndeclared { column };
        let column = columns.iter().find(is_this);
        let name = &column
            .ok_or_else(|| undeclared(shorten(&expr.to_string())))?
            .name;
        let domain = domains
            .get(name)
            .ok_or_else(|| undeclared(name.to_string()))?;
        let found = self.scope.type_of(expr)?;
        let (declared, accepted) = domain_types(domain);
        if !accepted.contains(&found) {
            return Err(Rule::KeyType {
                column: name.to_string(),
                found: found.to_string(),
                declared,
            });
        }
        let key = KeyColumn {
            name: name.clone(),
            domain: domain.clone(),
        };
        Ok((key, scalar))
    }
}

/// What a domain's values are, and the types of expressions whose values they can be.
fn domain_types(domain: &KeyDomain) -> (&'static str, &'static [DataType]) {
    match domain.values().first() {
        Some(KeyValue::Integer(_)) => ("whole numbers or concepts", &[DataType::Int64]),
        Some(KeyValue::Date(_)) => ("calendar periods", &[DataType::Date32]),
        Some(KeyValue::Boolean(_)) => ("truth values", &[DataType::Boolean]),
        Some(KeyValue::Band { .. }) => ("bands of numbers", &[DataType::Float64, DataType::Int64]),
        Some(KeyValue::Text(_)) | None => ("texts", &[DataType::Utf8]),
    }
}
