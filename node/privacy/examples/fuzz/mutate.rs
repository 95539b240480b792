//! Mutations of inputs by tokens: of SQL, and of TOML, which has much the same ones.

use ward_schemas::cdm;
use ward_schemas::functions::FUNCTIONS;

use crate::input::Input;

/// A deterministic source of choices: SplitMix64 (Steele, Lea and Flood, *Fast Splittable
/// Pseudorandom Number Generators*, OOPSLA 2014).
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a number above zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Words to put into inputs.
pub(crate) struct Words {
    all: Vec<String>,
    /// Words that may stand for one another: columns, tables, functions, numbers, signs.
    alike: Vec<Vec<String>>,
}

impl Words {
    pub(crate) fn new() -> Self {
        let columns = cdm::tables().flat_map(|t| t.columns.iter().map(|c| c.name));
        let tables = cdm::tables().map(|t| t.name);
        let functions = FUNCTIONS.iter().map(|f| f.name);
        let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        let alike: Vec<Vec<String>> = vec![
            owned(columns.collect()),
            owned(tables.collect()),
            owned(functions.collect()),
            owned(vec![
                "0",
                "1",
                "2",
                "5",
                "10",
                "8507",
                "1950",
                "2.5",
                "9223372036854775807",
            ]),
            owned(vec!["=", "<", ">", "+", "-", "*", "/", "%"]),
            owned(vec!["AND", "OR"]),
            owned(vec!["COUNT", "SUM", "AVG", "MIN", "MAX"]),
            owned(vec!["m", "p", "a", "b", "v", "d", "c"]),
            owned(vec!["$since", "$concept", "$above", "$all", "$code"]),
            owned(vec!["'E11%'", "'2020-01-01'", "'3 months'", "'year'", "''"]),
        ];
        let words = include_str!("words.txt").lines().chain(INVISIBLE);
        let words = words.map(str::to_owned);
        Self {
            all: alike.iter().flatten().cloned().chain(words).collect(),
            alike,
        }
    }

    fn any(&self, choices: &mut Choices) -> String {
        choices.one(&self.all).clone()
    }

    /// Another word of the same kind, if it is of one.
    fn like(&self, choices: &mut Choices, word: &str) -> Option<String> {
        let word = word.trim();
        let kinds = self.alike.iter();
        let kind = kinds.filter(|kind| kind.iter().any(|w| w.eq_ignore_ascii_case(word)));
        let kind = kind.collect::<Vec<_>>();
        Some(choices.one(kind.first()?).clone())
    }
}

const INVISIBLE: [&str; 5] = ["\u{301}", "\u{200b}", "\u{202e}", "\u{0}", "\u{feff}"];

/// Each word in a row, and each that goes around something as deep as is parsed: on these parsers that
/// go back and try again take for ever.
pub(crate) fn repetitions(words: &Words) -> Vec<Input> {
    const PLACES: [(&str, &str); 4] = [
        ("SELECT COUNT(*) AS n FROM person WHERE ", ""),
        ("SELECT COUNT(*) AS n FROM ", ""),
        ("SELECT ", " AS n FROM person"),
        ("", ""),
    ];
    let rows = words.all.iter().flat_map(|word| {
        let pairs = [
            format!("{word} "),
            format!("{word} p "),
            format!("p{word}"),
            format!("{word}, "),
        ];
        pairs.into_iter().map(|pair| pair.repeat(300))
    });
    let nested = AROUND.iter().flat_map(|(before, after)| {
        let deep = |times: usize| {
            let (open, close) = (format!("{before} "), format!(" {after}"));
            format!("{}1{}", open.repeat(times), close.repeat(times))
        };
        [deep(12), deep(19), deep(38)]
    });
    let statements = rows
        .chain(nested)
        .flat_map(|part| PLACES.map(|(before, after)| format!("{before}{part}{after}")));
    let declared = "contribution = { max_groups = 1, max_rows_per_group = 2 }";
    let input = |sql| Input::Statement {
        sql,
        declared: declared.to_owned(),
    };
    statements.map(input).collect()
}

/// Splits a text into words, numbers, quoted texts, blanks and signs.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut quoted = None;
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    for c in text.chars() {
        let last = tokens.last_mut();
        match (quoted, last) {
            (Some(end), Some(last)) => {
                last.push(c);
                quoted = (c != end).then_some(end);
            }
            (None, Some(last))
                if (word(c) && last.ends_with(word))
                    || (c.is_whitespace() && last.ends_with(char::is_whitespace)) =>
            {
                last.push(c);
            }
            (None, _) if c == '\'' => {
                tokens.push(c.to_string());
                quoted = Some(c);
            }
            _ => tokens.push(c.to_string()),
        }
    }
    tokens
}

/// A changed input, with parts of another now and then.
pub(crate) fn mutate(choices: &mut Choices, words: &Words, input: &Input, other: &Input) -> Input {
    match input {
        Input::Template(text) => Input::Template(change(choices, words, text, &other.text())),
        Input::Statement { sql, declared } => {
            let (sql_of_other, declared_of_other) = match other {
                Input::Statement { sql, declared } => (sql.as_str(), declared.as_str()),
                Input::Template(_) => ("SELECT COUNT(*) AS n FROM person", ""),
            };
            let (mut sql, mut declared) = (sql.clone(), declared.clone());
            match choices.below(10) {
                0 => declared = change(choices, words, &declared, declared_of_other),
                1 => declared = declared_of_other.to_owned(),
                _ => sql = change(choices, words, &sql, sql_of_other),
            }
            Input::Statement { sql, declared }
        }
    }
}

fn change(choices: &mut Choices, words: &Words, text: &str, other: &str) -> String {
    let mut changed = tokens(text);
    for _ in 0..*choices.one(&[1, 1, 1, 2, 4]) {
        step(choices, words, &mut changed, other);
    }
    changed.concat()
}

fn step(choices: &mut Choices, words: &Words, tokens: &mut Vec<String>, other: &str) {
    let (from, to) = range(choices, tokens.len());
    let at = choices.below(tokens.len() + 1);
    let spaced = |word: &str| format!(" {word} ");
    match choices.below(16) {
        0 => drop(tokens.drain(from..to)),
        1 => {
            let copy = tokens[from..to].to_vec();
            tokens.splice(at..at, copy);
        }
        2 if !tokens.is_empty() => {
            let second = at.min(tokens.len() - 1);
            tokens.swap(from.min(second), second);
        }
        3 => {
            let others = self::tokens(other);
            let (begin, end) = range(choices, others.len());
            tokens.splice(from..to, others[begin..end].to_vec());
        }
        4 | 5 => tokens.insert(at, spaced(&words.any(choices))),
        6 | 7 if !tokens.is_empty() => {
            let replaced = at.min(tokens.len() - 1);
            tokens[replaced] = spaced(&words.any(choices));
        }
        10..=14 => {
            let known = (0..8).find_map(|_| {
                let at = choices.below(tokens.len());
                let word = tokens.get(at)?;
                Some((at, words.like(choices, word)?))
            });
            if let Some((at, word)) = known {
                tokens[at] = word;
            }
        }
        8 => {
            let (before, after) = *choices.one(&AROUND);
            tokens.insert(to, spaced(after));
            tokens.insert(from, spaced(before));
        }
        9 => {
            let names = tokens.iter().filter(|t| t.starts_with(char::is_alphabetic));
            let name = names.cloned().collect::<Vec<_>>();
            if !name.is_empty() {
                tokens.insert(at, spaced(choices.one::<String>(&name)));
            }
        }
        _ => repeat(choices, tokens, from, to),
    }
}

/// What to put around a part.
const AROUND: [(&str, &str); 16] = [
    ("(", ")"),
    ("NOT (", ")"),
    ("-(", ")"),
    ("CASE WHEN", "THEN 1 ELSE 0 END"),
    ("CASE", "WHEN 1 THEN 2 END"),
    ("CAST(", "AS BIGINT)"),
    ("CAST(", "AS DATE)"),
    ("coalesce(", ", NULL)"),
    ("SUM(", ")"),
    ("COUNT(DISTINCT", ")"),
    (
        "(SELECT person_id, COUNT(*) AS n FROM (",
        ") q GROUP BY person_id) q",
    ),
    ("(SELECT * FROM", ") q"),
    ("EXISTS (SELECT 1 FROM", ")"),
    ("WITH q AS (", ") SELECT COUNT(*) AS n FROM q"),
    ("SELECT COUNT(*) AS n FROM (", ") q"),
    ("EXTRACT(YEAR FROM", ")"),
];

/// Mostly short.
fn range(choices: &mut Choices, length: usize) -> (usize, usize) {
    let from = choices.below(length + 1);
    let most = *choices.one(&[1, 2, 4, 8, 16, 64]);
    let to = (from + 1 + choices.below(most)).min(length);
    (from, to.max(from))
}

/// So many times that limits are reached.
fn repeat(choices: &mut Choices, tokens: &mut Vec<String>, from: usize, to: usize) {
    let times = *choices.one(&[2, 3, 10, 50, 200, 1000]);
    let part = tokens[from..to].to_vec();
    let length: usize = part.iter().map(String::len).sum();
    if length * times < 100_000 {
        let many = std::iter::repeat_n(part, times).flatten();
        tokens.splice(to..to, many.collect::<Vec<_>>());
    }
}
