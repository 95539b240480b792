//! What is fuzzed: a statement with its declarations in a template of one table, or a whole template;
//! and the corpus, a file of such inputs.

use std::fmt;

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    /// A statement and the declarations of its table.
    Statement { sql: String, declared: String },
    /// A template as it stands.
    Template(String),
}

/// Between two inputs of the corpus.
pub(crate) const BETWEEN: &str = "\n====\n";
/// Between a statement and its declarations.
const DECLARED: &str = "\n----\n";

impl Input {
    /// The template's text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Template(text) => text.clone(),
            Self::Statement { sql, declared } => format!(
                r#"
id = "t"
version = "1.0.0"
title = "t"
question = "t?"
purposes = ["scientific-research"]
categories = ["ehr"]
parameters.since = {{ type = "date", minimum = 2000-01-01, maximum = 2030-12-31, default = 2020-01-01 }}
parameters.concept = {{ type = "concept", default = 10 }}
parameters.above = {{ type = "number", minimum = "0", maximum = "100", default = "7.5" }}
parameters.all = {{ type = "boolean", default = false }}
parameters.code = {{ type = "text", values = ["E11", ""], default = "E11" }}
[[tables]]
name = "t"
sql = '''
{sql}
'''
rho = "0.005"
{declared}
"#
            ),
        }
    }

    /// The inputs of a corpus file.
    pub(crate) fn corpus(text: &str) -> Vec<Self> {
        let inputs = text.split(BETWEEN).map(str::trim).filter(|t| !t.is_empty());
        inputs.map(Self::read).collect()
    }

    fn read(text: &str) -> Self {
        match text.split_once(DECLARED) {
            None => Self::Template(text.to_owned()),
            Some((sql, declared)) => Self::Statement {
                sql: sql.to_owned(),
                declared: declared.to_owned(),
            },
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(text) => f.write_str(text.trim()),
            Self::Statement { sql, declared } => {
                write!(f, "{}{DECLARED}{}", sql.trim(), declared.trim())
            }
        }
    }
}
