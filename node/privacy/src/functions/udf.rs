//! A [`Function`] as DataFusion calls it.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{Function, TIMESTAMP, Takes};

#[derive(Debug)]
pub(super) struct Udf {
    function: &'static Function,
    signature: Signature,
}

impl Udf {
    pub(super) fn new(function: &'static Function) -> Self {
        Self {
            function,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    pub(super) fn function(&self) -> &'static Function {
        self.function
    }
}

/// Names are unique.
impl PartialEq for Udf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Udf {}

impl std::hash::Hash for Udf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        self.function.accept(found).map(|(types, _)| types)
    }

    fn return_type(&self, found: &[DataType]) -> Result<DataType> {
        self.function.accept(found).map(|(_, result)| result)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let types: Vec<_> = arrays.iter().map(|a| a.data_type().clone()).collect();
        if self.function.accept(&types)?.0 != types {
            return internal_err!("{} got {types:?}", self.name());
        }
        let result = (self.function.evaluate)(&arrays)?;
        constant_if_all_are(result, &args)
    }
}

/// Of constants alone there is one value, which stands for every row.
fn constant_if_all_are(result: ArrayRef, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
    if args.args.iter().all(constant) {
        return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
    }
    Ok(ColumnarValue::Array(result))
}

impl Function {
    /// The types as which arguments of the found types are taken, and that of the result.
    fn accept(&self, found: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
        match self.takes {
            Takes::Types(choices) => {
                let fits = |(types, _): &&(&[DataType], DataType)| all_fit(found, types);
                let exact = choices.iter().find(|(types, _)| *types == found);
                let choice = exact.or_else(|| choices.iter().find(fits));
                let (types, result) = choice
                    .ok_or_else(|| plan_datafusion_err!("{} takes {}", self.name, list(choices)))?;
                Ok((types.to_vec(), result.clone()))
            }
            Takes::Alike(least, most) => {
                if !(least..=most).contains(&found.len()) {
                    return plan_err!("{} takes {least} to {most} arguments", self.name);
                }
                let common = ALIKE.iter().find(|to| found.iter().all(|f| fits(f, to)));
                let common = common.ok_or_else(|| {
                    plan_datafusion_err!("{} takes arguments of one type", self.name)
                })?;
                Ok((vec![common.clone(); found.len()], common.clone()))
            }
        }
    }
}

/// The types of values, each before those that its values can be taken as.
const ALIKE: [DataType; 6] = [
    DataType::Boolean,
    DataType::Int64,
    DataType::Float64,
    DataType::Utf8,
    DataType::Date32,
    TIMESTAMP,
];

fn all_fit(found: &[DataType], types: &[DataType]) -> bool {
    let day = |f: &DataType, t: &DataType| *f == TIMESTAMP && *t == DataType::Date32;
    let fits = |(f, t)| fits(f, t) || day(f, t);
    found.len() == types.len() && found.iter().zip(types).all(fits)
}

/// Whether an argument of one type is taken as another without being asked. Such casts are total.
fn fits(found: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Float64, Int64, Null};
    match (found, to) {
        _ if found == to => true,
        (Null, _) | (Int64, Float64) => true,
        (Date32, timestamp) => *timestamp == TIMESTAMP,
        _ => false,
    }
}

fn list(choices: &[(&[DataType], DataType)]) -> String {
    let names = |types: &[DataType]| types.iter().map(word).collect::<Vec<_>>().join(", ");
    let lists = choices
        .iter()
        .map(|(types, _)| format!("({})", names(types)));
    lists.collect::<Vec<_>>().join(" or ")
}

fn word(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Utf8 => "text",
        DataType::Date32 => "date",
        _ => "timestamp",
    }
}
