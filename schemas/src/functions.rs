//! The scalar functions that ship with the model, and their versions.
//!
//! A function's version is part of the identity of every template that names it: a changed
//! meaning makes new templates, which stewards approve anew.

use std::collections::BTreeMap;

/// Name and version of every function. Implemented in `ward-privacy`.
pub const FUNCTIONS: &[(&str, u32)] = &[
    ("age_at", 1),
    ("age_band", 1),
    ("days_between", 1),
    ("length_of_stay", 1),
    ("month_of", 1),
    ("year_of", 1),
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
            if let Some((name, version)) = FUNCTIONS.iter().find(|(name, _)| *name == word) {
                found.insert(*name, *version);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_words_in_any_case() {
        let found = named_in(["SELECT Age_Band(x), my_month_of(y)"].into_iter());
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["age_band"]);
    }
}
