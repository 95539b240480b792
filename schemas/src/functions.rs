//! The scalar functions that ship with the model, and their versions.
//!
//! A function's version is part of the identity of every template that names it: a changed
//! meaning makes new templates, which stewards approve anew.

use std::collections::BTreeMap;

/// Name and version of every function. Implemented in `ward-privacy`.
pub const FUNCTIONS: &[(&str, u32)] = &[
    ("abs", 1),
    ("add_days", 1),
    ("add_hours", 1),
    ("add_months", 1),
    ("age_at", 1),
    ("age_band", 1),
    ("age_on", 1),
    ("ceil", 1),
    ("coalesce", 1),
    ("date_part", 1),
    ("date_trunc", 1),
    ("day_of", 1),
    ("days_between", 1),
    ("floor", 1),
    ("greatest", 1),
    ("hours_between", 1),
    ("least", 1),
    ("left", 1),
    ("length", 1),
    ("length_of_stay", 1),
    ("ln", 1),
    ("lower", 1),
    ("month_of", 1),
    ("months_between", 1),
    ("nullif", 1),
    ("power", 1),
    ("quarter_of", 1),
    ("round", 1),
    ("sqrt", 1),
    ("starts_with", 1),
    ("trim", 1),
    ("upper", 1),
    ("week_of", 1),
    ("year_of", 1),
    ("years_between", 1),
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
            let called = FUNCTIONS.iter().filter(|(name, _)| names.contains(name));
            found.extend(called.copied());
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
