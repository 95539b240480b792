//! The SQL that is read, and how much reading it may take: a parser that goes back and tries again can
//! need twice the time for each further word, as in `INTERVAL INTERVAL INTERVAL …`.

use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// Standard SQL with FILTER. What other dialects add is left out: much of it DataFusion reads and
/// ignores.
#[derive(Debug)]
pub(super) struct WardSql {
    left: Cell<usize>,
}

impl WardSql {
    /// How often the parser may begin to read an expression. Statements take two or three times as
    /// many beginnings as they have words.
    pub(super) const BEGINNINGS: usize = 50_000;

    pub(super) fn new() -> Self {
        Self {
            left: Cell::new(Self::BEGINNINGS),
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.left.get() == 0
    }
}

impl Dialect for WardSql {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch.is_ascii_digit() || ch == '_'
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    /// The one error after which the parser doesn't try something else.
    fn parse_prefix(&self, _parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.left.set(self.left.get().saturating_sub(1));
        self.is_exhausted()
            .then_some(Err(ParserError::RecursionLimitExceeded))
    }
}
