//! Functions of texts, which compare byte by byte. No result has more bytes than its argument, so a
//! batch that fits in memory stays one that fits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::DataType::{Boolean, Int64, Utf8};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;

use super::Function;

const OF_TEXT: &[(&[DataType], DataType)] = &[(&[Utf8], Utf8)];

pub(super) static FUNCTIONS: [Function; 6] = [
    Function::new("left", &[(&[Utf8, Int64], Utf8)], |a| {
        let texts = a[0].as_string::<i32>().iter();
        let pairs = texts.zip(a[1].as_primitive::<Int64Type>());
        let starts = pairs.map(|(text, n)| left(text?, n?));
        Ok(Arc::new(starts.collect::<StringArray>()))
    }),
    Function::new("length", &[(&[Utf8], Int64)], |a| {
        let texts = a[0].as_string::<i32>().iter();
        let lengths = texts.map(|text| i64::try_from(text?.chars().count()).ok());
        Ok(Arc::new(lengths.collect::<Int64Array>()))
    }),
    Function::new("lower", OF_TEXT, |a| {
        each(&a[0], |c| same_width(c, c.to_lowercase()))
    }),
    Function::new("starts_with", &[(&[Utf8, Utf8], Boolean)], |a| {
        let texts = a[0].as_string::<i32>().iter();
        let pairs = texts.zip(a[1].as_string::<i32>());
        let found = pairs.map(|(text, start)| Some(text?.starts_with(start?)));
        Ok(Arc::new(found.collect::<BooleanArray>()))
    }),
    Function::new("trim", OF_TEXT, |a| {
        let texts = a[0].as_string::<i32>().iter();
        let trimmed = texts.map(|text| text.map(|t| t.trim_matches(' ')));
        Ok(Arc::new(trimmed.collect::<StringArray>()))
    }),
    Function::new("upper", OF_TEXT, |a| {
        each(&a[0], |c| same_width(c, c.to_uppercase()))
    }),
];

fn left(text: &str, characters: i64) -> Option<&str> {
    let count = usize::try_from(characters).ok()?;
    let end = text.char_indices().nth(count);
    Some(end.map_or(text, |(end, _)| &text[..end]))
}

fn each(texts: &ArrayRef, f: fn(char) -> char) -> Result<ArrayRef, ArrowError> {
    let texts = texts.as_string::<i32>().iter();
    let changed = texts.map(|text| text.map(|t| t.chars().map(f).collect::<String>()));
    Ok(Arc::new(changed.collect::<StringArray>()))
}

fn same_width(character: char, mut other: impl Iterator<Item = char>) -> char {
    match (other.next(), other.next()) {
        (Some(one), None) if one.len_utf8() == character.len_utf8() => one,
        _ => character,
    }
}
