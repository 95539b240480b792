//! What a statement may name: the tables of the model, Ward's functions, a dozen aggregates. This is
//! the allow-list; nothing else can be planned.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, plan_err};
use datafusion::functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion::functions_aggregate::{
    approx_median, approx_percentile_cont, average, count, median, min_max, percentile_cont,
    stddev, sum, variance,
};
use datafusion::functions_window::planner::WindowFunctionPlanner;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF,
    logical_plan::builder::LogicalTableSource,
};
use ward_schemas::parameter::ValueType;

use crate::functions;
use crate::model::Model;
use crate::syntax::Syntax;
use crate::windows;

/// The planner's view of the model.
pub(crate) struct Context<'a> {
    model: &'a Model,
    options: ConfigOptions,
    functions: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    windows: HashMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        let mut options = ConfigOptions::new();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.parse_float_as_decimal = false;
        let functions = functions::all().into_iter();
        let aggregates = [
            count::count_udaf(),
            sum::sum_udaf(),
            average::avg_udaf(),
            variance::var_samp_udaf(),
            variance::var_pop_udaf(),
            stddev::stddev_udaf(),
            stddev::stddev_pop_udaf(),
            median::median_udaf(),
            approx_median::approx_median_udaf(),
            percentile_cont::percentile_cont_udaf(),
            approx_percentile_cont::approx_percentile_cont_udaf(),
            min_max::min_udaf(),
            min_max::max_udaf(),
        ];
        Self {
            model,
            options,
            functions: functions.map(|f| (f.name().to_owned(), f)).collect(),
            aggregates: aggregates.iter().flat_map(by_name).collect(),
            windows: windows::all()
                .into_iter()
                .map(|f| (f.name().to_owned(), f))
                .collect(),
            planners: vec![
                Arc::new(AggregateFunctionPlanner),
                Arc::new(WindowFunctionPlanner),
                Arc::new(Syntax),
            ],
        }
    }
}

/// Under its name and its other names.
fn by_name(function: &Arc<AggregateUDF>) -> Vec<(String, Arc<AggregateUDF>)> {
    let names = [function.name()].into_iter();
    let names = names.chain(function.aliases().iter().map(String::as_str));
    names
        .map(|name| (name.to_owned(), Arc::clone(function)))
        .collect()
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match (&name, self.model.table(name.table())) {
            (TableReference::Bare { .. }, Some(table)) => {
                Ok(Arc::new(LogicalTableSource::new(table.read_schema())))
            }
            _ => plan_err!("the model has no table {name}"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Syntax))
    }

    /// Functions that there aren't are planned too: their refusal can say what to write instead.
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = functions::sql_name(name);
        match self.functions.get(name) {
            Some(function) => Some(Arc::clone(function)),
            None => {
                let known = self.aggregates.contains_key(name) || self.windows.contains_key(name);
                (!known).then(|| functions::other(name))
            }
        }
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.windows.get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.windows.keys().cloned().collect()
    }
}

/// The planner's field of a parameter.
pub(crate) fn parameter_field(name: &str, value_type: ValueType) -> FieldRef {
    let data_type = match value_type {
        ValueType::Date => DataType::Date32,
        ValueType::Integer => DataType::Int64,
        ValueType::Number => DataType::Float64,
        ValueType::Boolean => DataType::Boolean,
        ValueType::Text => DataType::Utf8,
    };
    Arc::new(Field::new(name, data_type, false))
}
