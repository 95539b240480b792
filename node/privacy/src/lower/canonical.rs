//! Doubles under which rows are grouped and compared: NaN is NULL, and zero has one sign. So values that are equal are the same.

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The expression, of which doubles are made canonical.
pub(super) fn canonical(expr: Expr, data_type: &DataType) -> Expr {
    match data_type {
        DataType::Float64 => {
            let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
            ScalarUDF::from(Canonical { signature }).call(vec![expr])
        }
        _ => expr,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Canonical {
    signature: Signature,
}

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &'static str {
        "ward_canonical"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        match arrays.as_slice() {
            [array] => Ok(ColumnarValue::Array(Arc::new(values(array.as_primitive())))),
            _ => exec_err!("ward_canonical takes one argument"),
        }
    }
}

fn values(array: &Float64Array) -> Float64Array {
    // Minus zero and zero is zero.
    let value = |v: f64| (!v.is_nan()).then_some(v + 0.0);
    array.iter().map(|v| v.and_then(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_the_same() {
        let odd = [-0.0, 0.0, f64::NAN, -f64::NAN, f64::INFINITY, 1.5];
        let found = values(&Float64Array::from(odd.to_vec()));
        let bits: Vec<_> = found.iter().map(|v| v.map(f64::to_bits)).collect();
        let expected = [
            Some(0.0),
            Some(0.0),
            None,
            None,
            Some(f64::INFINITY),
            Some(1.5),
        ];
        assert_eq!(bits, expected.map(|v: Option<f64>| v.map(f64::to_bits)));
    }
}
