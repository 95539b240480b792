//! Functions that statements may not call. They are planned, so that their refusal can quote the
//! call and say what to write instead; nothing translates them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

/// A function of this name, of any arguments.
pub(crate) fn other(name: &str) -> Arc<ScalarUDF> {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    Arc::new(ScalarUDF::from(Other {
        name: name.to_owned(),
        signature: Signature::one_of(any, Volatility::Volatile),
    }))
}

/// What to write instead of such a function.
pub(crate) fn instead_of(name: &str) -> &'static str {
    let known = INSTEAD.iter().find(|(names, _)| names.contains(&name));
    known.map_or(OURS, |(_, remedy)| remedy)
}

const OURS: &str = "Call abs, add_days, add_hours, add_months, age_at, age_band, age_on, ceil, coalesce, date_part, date_trunc, day_of, days_between, floor, greatest, hours_between, least, left, length, length_of_stay, ln, lower, month_of, months_between, nullif, power, quarter_of, round, sqrt, starts_with, trim, upper, week_of, year_of, years_between";

const INSTEAD: [(&[&str], &str); 15] = [
    (
        &[
            "now",
            "current_date",
            "current_time",
            "current_timestamp",
            "localtime",
            "localtimestamp",
            "today",
            "getdate",
        ],
        "It depends on the moment, and the same ask must have the same answer: declare a date parameter",
    ),
    (
        &["random", "rand", "uuid", "gen_random_uuid", "newid"],
        "It depends on chance, and the same ask must have the same answer",
    ),
    (
        &["substr", "substring", "right", "split_part"],
        "Use left(text, n), starts_with(text, start) or LIKE",
    ),
    (
        &[
            "regexp_like",
            "regexp_match",
            "regexp_replace",
            "regexp_substr",
            "strpos",
            "position",
            "instr",
            "contains",
            "ends_with",
        ],
        "Use starts_with(text, start), or LIKE with one piece of text: 'E11%', '%E11' or '%E11%'",
    ),
    (
        &["concat", "concat_ws", "repeat", "replace", "lpad", "rpad"],
        "It makes longer texts of texts, until memory ends; compare the parts",
    ),
    (
        &["age", "datediff", "date_diff", "timestampdiff"],
        "Use days_between, months_between or years_between(from, to); age_on for a birth date",
    ),
    (
        &["dateadd", "date_add", "date_sub", "timestampadd"],
        "Add an interval, as in date + INTERVAL '3 months', or use add_days or add_months(date, n)",
    ),
    (
        &["year", "quarter", "month", "week", "day", "hour"],
        "Use EXTRACT(YEAR FROM date), or year_of, quarter_of, month_of or week_of(date), which give its first day",
    ),
    (
        &["to_date", "to_timestamp", "to_char", "date_format"],
        "Cast instead: CAST(text AS DATE), CAST(date AS VARCHAR)",
    ),
    (
        &["log", "log2", "log10", "exp"],
        "Use ln(x) and power(x, y)",
    ),
    (&["ifnull", "nvl", "isnull"], "Use coalesce(a, b)"),
    (
        &["if", "iif", "decode", "nvl2"],
        "Use CASE WHEN … THEN … ELSE … END",
    ),
    (&["mod", "div", "pow"], "Use a % b, a / b and power(x, y)"),
    (&["ceiling"], "Use ceil(x)"),
    (
        &["char_length", "character_length", "len", "ltrim", "rtrim"],
        "Use length(text) and trim(text)",
    ),
];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Other {
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for Other {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is not accepted", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    #[test]
    fn the_refusal_names_every_function() {
        let names: Vec<_> = all().iter().map(|f| f.name().to_owned()).collect();
        assert_eq!(OURS, format!("Call {}", names.join(", ")));
    }

    #[test]
    fn no_function_is_refused_that_there_is() {
        let refused = || INSTEAD.iter().flat_map(|(names, _)| *names);
        assert!(
            all()
                .iter()
                .all(|f| refused().all(|name| *name != f.name()))
        );
    }
}
