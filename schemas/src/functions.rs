//! The scalar functions that ship with the model, and their versions.
//!
//! A function's version is part of the identity of every template that names it: a changed
//! meaning makes new templates, which stewards approve anew.

use std::collections::BTreeMap;

/// A function that statements may call: a total function of the values in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// What stands between its brackets.
    pub arguments: &'static str,
    /// What it is, in a line. It is NULL where an argument is NULL, unless this says otherwise, and
    /// where the result would be out of its type or the calendar.
    pub meaning: &'static str,
}

impl Function {
    const fn new(
        name: &'static str,
        version: u32,
        arguments: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            name,
            version,
            arguments,
            meaning,
        }
    }
}

/// Every function, by name. Implemented in `ward-privacy`.
pub const FUNCTIONS: &[Function] = &[
    Function::new(
        "abs",
        1,
        "x",
        "The magnitude; NULL of the smallest whole number, which has none of 64 bits",
    ),
    Function::new(
        "add_days",
        1,
        "date, n",
        "So many days later; earlier where n is negative. Also of a timestamp",
    ),
    Function::new("add_hours", 1, "timestamp, n", "So many hours later"),
    Function::new(
        "add_months",
        1,
        "date, n",
        "So many months later; on the month's last day where it has no such day. Also of a timestamp",
    ),
    Function::new(
        "age_at",
        1,
        "year_of_birth, date",
        "The age reached in the date's year; NULL below zero",
    ),
    Function::new(
        "age_band",
        1,
        "year_of_birth, date",
        "The band of that age: 0-17, 18-39, 40-64, 65-79, 80+",
    ),
    Function::new(
        "age_on",
        1,
        "year, month, day, date",
        "Completed years since a birth date. A day that is NULL is taken as the 15th, a month that is NULL as the 1st of July. NULL below zero",
    ),
    Function::new("ceil", 1, "x", "The next whole number above"),
    Function::new("coalesce", 1, "a, b, …", "The first that is not NULL"),
    Function::new(
        "date_part",
        1,
        "unit, date",
        "A number, also written EXTRACT(unit FROM date): year, quarter, month, week (of ISO 8601), day, dow (from Sunday = 0), isodow (from Monday = 1), doy, hour. Also of a timestamp",
    ),
    Function::new(
        "date_trunc",
        1,
        "unit, date",
        "The first day of the date's year, quarter, month, week or day",
    ),
    Function::new("day_of", 1, "timestamp", "Its date"),
    Function::new(
        "days_between",
        1,
        "from, to",
        "Days from one date to another; negative where to is earlier",
    ),
    Function::new("floor", 1, "x", "The next whole number below"),
    Function::new(
        "greatest",
        1,
        "a, b, …",
        "The greatest of those that are not NULL",
    ),
    Function::new(
        "hours_between",
        1,
        "from, to",
        "Completed hours from one timestamp to another",
    ),
    Function::new(
        "least",
        1,
        "a, b, …",
        "The least of those that are not NULL",
    ),
    Function::new(
        "left",
        1,
        "text, n",
        "Its first n characters; NULL where n is negative",
    ),
    Function::new("length", 1, "text", "Its characters"),
    Function::new(
        "length_of_stay",
        1,
        "start, end",
        "Nights between two dates; 0 on one day, NULL below",
    ),
    Function::new("ln", 1, "x", "The natural logarithm; NULL from zero down"),
    Function::new(
        "lower",
        1,
        "text",
        "With small letters, where these are one character of as many bytes",
    ),
    Function::new("month_of", 1, "date", "The first day of the date's month"),
    Function::new(
        "months_between",
        1,
        "from, to",
        "Completed months; one is when its day of the month is reached",
    ),
    Function::new("nullif", 1, "a, b", "a; NULL where it equals b"),
    Function::new(
        "power",
        1,
        "x, y",
        "x raised to y; NULL where that is no finite number",
    ),
    Function::new(
        "quarter_of",
        1,
        "date",
        "The first day of the date's quarter",
    ),
    Function::new(
        "round",
        1,
        "x",
        "The nearest whole number; the even one of two that are as near",
    ),
    Function::new("sqrt", 1, "x", "The square root; NULL below zero"),
    Function::new(
        "starts_with",
        1,
        "text, start",
        "Whether it does, byte by byte",
    ),
    Function::new("trim", 1, "text", "Without spaces at both ends"),
    Function::new(
        "upper",
        1,
        "text",
        "With capitals, where these are one character of as many bytes",
    ),
    Function::new("week_of", 1, "date", "The Monday of the date's week"),
    Function::new("year_of", 1, "date", "The first day of the date's year"),
    Function::new(
        "years_between",
        1,
        "from, to",
        "Completed years: twelve completed months each",
    ),
];

/// Words that stand for calls: what `EXTRACT(YEAR FROM date)` and `date + INTERVAL '1 month'` mean
/// is what these functions do.
const SPELLINGS: &[(&str, &str)] = &[
    ("extract", "date_part"),
    ("interval", "add_days"),
    ("interval", "add_hours"),
    ("interval", "add_months"),
];

/// The functions whose names occur as words in the statements: at least those they call.
pub(crate) fn named_in<'a>(
    statements: impl Iterator<Item = &'a str>,
) -> BTreeMap<&'static str, u32> {
    let mut found = BTreeMap::new();
    for statement in statements {
        let lower = statement.to_ascii_lowercase();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in lower.split(|c| !is_word(c)) {
            let spelled = SPELLINGS.iter().filter(|(w, _)| *w == word);
            let names: Vec<_> = spelled.map(|(_, name)| *name).chain([word]).collect();
            let called = FUNCTIONS.iter().filter(|f| names.contains(&f.name));
            found.extend(called.map(|f| (f.name, f.version)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_syntax_stands_for() {
        let found = named_in(["SELECT Extract(year FROM d), d + INTERVAL '1 day'"].into_iter());
        let names: Vec<_> = found.into_keys().collect();
        assert_eq!(names, ["add_days", "add_hours", "add_months", "date_part"]);
    }

    #[test]
    fn finds_words_in_any_case() {
        let found = named_in(["SELECT Age_Band(x), my_month_of(y)"].into_iter());
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["age_band"]);
    }
}
