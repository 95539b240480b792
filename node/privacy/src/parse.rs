//! Limits, then parses: everything after this works on a statement of bounded size.

mod dialect;
mod expansion;
mod expressions;
mod shape;

use datafusion::sql::sqlparser::ast::{SetExpr, Statement};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::refusal::Rule;
use dialect::WardSql;

const MAX_BYTES: usize = 16 * 1024;
const MAX_TOKENS: usize = 4_000;
const MAX_NESTING: usize = 40;
/// A name that is not found is compared with every other, character by character.
const MAX_NAME: usize = 64;
/// The parser reads a name from each of its dots on.
const MAX_DOTS: usize = 3;

/// Parses one SELECT statement.
///
/// # Errors
/// When it is too large or too deep, no SQL, or anything but a single SELECT of plain clauses.
pub(crate) fn parse(sql: &str) -> Result<Statement, Rule> {
    limit("bytes", sql.len(), MAX_BYTES)?;
    let dialect = WardSql::new();
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize()
        .map_err(|e| Rule::Unplannable(e.to_string()))?;
    let words = tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_)));
    limit("tokens", words.count(), MAX_TOKENS)?;
    limit("levels of nesting", nesting(&tokens), MAX_NESTING)?;
    limit("bytes in one name", longest_name(&tokens), MAX_NAME)?;
    limit("dots in one name", most_dots(&tokens), MAX_DOTS)?;
    tokens.iter().try_for_each(check_token)?;
    let statements = Parser::new(&dialect)
        .with_recursion_limit(2 * MAX_NESTING)
        .with_tokens(tokens)
        .parse_statements();
    if dialect.is_exhausted() {
        let most = WardSql::BEGINNINGS;
        limit(
            "beginnings of expressions, tried again and again",
            most + 1,
            most,
        )?;
    }
    let mut statements = statements.map_err(|e| Rule::Unplannable(e.to_string()))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => {
            shape::check(&query)?;
            expansion::check(&query)?;
            expressions::check(&query)?;
            match query.body.as_ref() {
                SetExpr::Select(_) => Ok(Statement::Query(query)),
                body => Err(Rule::Unsupported {
                    what: "a set operation as the whole statement",
                    fragment: shorten(&body.to_string()),
                    remedy: "Write a single SELECT with an aggregate; it may select FROM (… UNION ALL …)",
                }),
            }
        }
        _ => Err(Rule::Unsupported {
            what: "anything but one SELECT statement",
            fragment: shorten(sql),
            remedy: "Write a single SELECT",
        }),
    }
}

/// The beginning of a fragment, for messages.
pub(crate) fn shorten(fragment: &str) -> String {
    cut(fragment, 120)
}

/// At most so many characters of a text, on one line.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), Rule> {
    if found > limit {
        return Err(Rule::Large { what, found, limit });
    }
    Ok(())
}

fn most_dots(tokens: &[Token]) -> usize {
    let (mut dots, mut most, mut after_dot) = (0, 0, false);
    for token in tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_))) {
        match token {
            Token::Period => dots += 1,
            _ if after_dot => {}
            _ => dots = 0,
        }
        after_dot = *token == Token::Period;
        most = most.max(dots);
    }
    most
}

fn longest_name(tokens: &[Token]) -> usize {
    let names = tokens.iter().filter_map(|token| match token {
        Token::Word(word) => Some(word.value.len()),
        _ => None,
    });
    names.max().unwrap_or(0)
}

fn nesting(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(w) if w.value.eq_ignore_ascii_case("case") => depth += 1,
            Token::Word(w) if w.value.eq_ignore_ascii_case("end") => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Refuses, wherever they stand, words that multiply a statement or that DataFusion reads and then
/// ignores: the steward would approve another meaning than the one that runs.
fn check_token(token: &Token) -> Result<(), Rule> {
    const WORDS: [(&str, &str); 13] = [
        ("TABLESAMPLE", "Every row counts"),
        ("ROLLUP", "Write a table of the template for each level"),
        ("CUBE", "Write a table of the template for each level"),
        ("GROUPING", "Write a table of the template for each level"),
        (
            "FOR",
            "Nothing is locked, and there is one version of the data",
        ),
        ("LATERAL", "Join the tables instead"),
        ("UNNEST", "The model has no lists"),
        ("PIVOT", "Select the columns with FILTER"),
        ("UNPIVOT", "Write a table of the template for each column"),
        ("MATCH_RECOGNIZE", "Join the tables instead"),
        (
            "QUALIFY",
            "Name the value in a subquery, and filter it with WHERE",
        ),
        (
            "WINDOW",
            "Write the window where it is used: OVER (PARTITION BY person_id …)",
        ),
        ("INTO", "Answers are releases; nothing is written"),
    ];
    let refuse = |what: &str, remedy| {
        Err(Rule::Unsupported {
            what: "this word",
            fragment: what.to_owned(),
            remedy,
        })
    };
    match token {
        Token::Word(word) if word.quote_style.is_none() => {
            let found = WORDS
                .iter()
                .find(|(w, _)| word.value.eq_ignore_ascii_case(w));
            found.map_or(Ok(()), |(word, remedy)| refuse(word, remedy))
        }
        Token::VerticalBarRightAngleBracket => {
            refuse("|>", "Write SELECT, FROM, WHERE and GROUP BY")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_nesting_are_bounded_before_parsing() {
        let ors = format!("SELECT 1 WHERE {}", vec!["a = 1"; 3000].join(" OR "));
        assert!(matches!(parse(&ors), Err(Rule::Large { .. })));
        let nested = format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100));
        assert!(matches!(parse(&nested), Err(Rule::Large { .. })));
        let cases = format!(
            "SELECT {} 1 {}",
            "CASE WHEN true THEN ".repeat(60),
            "END ".repeat(60)
        );
        assert!(matches!(parse(&cases), Err(Rule::Large { .. })));
        assert!(parse(&"x".repeat(20_000)).is_err());
    }

    /// Parses as compiling does, on a big stack.
    fn parsed(sql: String) -> Result<Statement, Rule> {
        let work = std::thread::Builder::new().stack_size(64 << 20);
        let work = work.spawn(move || parse(&sql)).expect("a thread");
        work.join().expect("no panic")
    }

    #[test]
    fn reading_is_bounded() {
        let large = |sql: String| matches!(parsed(sql), Err(Rule::Large { .. }));
        assert!(large(format!("SELECT {}", "INTERVAL ".repeat(300))));
        assert!(large(format!("SELECT {}a", "a . ".repeat(200))));
        assert!(large(format!("SELECT {}", "a".repeat(200))));
        for part in ["CASE ", "CAST(", "a -> ", "EXISTS (SELECT ", "a ["] {
            let refused = parsed(format!("SELECT {}", part.repeat(39)));
            assert!(refused.is_err(), "{part}");
        }
        let conditions = " AND a.b IS NULL AND c.d IS NOT NULL".repeat(60);
        assert!(parsed(format!("SELECT 1 FROM a WHERE a.b = 1{conditions}")).is_ok());
        for (open, close) in [
            ("(", ")"),
            ("NOT (", ")"),
            ("f(1, ", ")"),
            ("CASE WHEN ", " THEN a END"),
            ("CAST(", " AS INT)"),
        ] {
            let deep = format!("{}a{}", open.repeat(38), close.repeat(38));
            let parsed = parsed(format!("SELECT 1 FROM a WHERE {deep} AND {deep}"));
            assert!(parsed.is_ok(), "{open}: {parsed:?}");
        }
        let list = ", (1 + 2) * 3".repeat(400);
        assert!(parsed(format!("SELECT 1 FROM a WHERE b IN (1{list})")).is_ok());
    }

    #[test]
    fn only_a_plain_select_is_parsed() {
        for sql in [
            "DROP TABLE person",
            "SELECT 1; SELECT 2",
            "SELECT 1 UNION ALL SELECT 2",
            "VALUES (1)",
            "WITH RECURSIVE a AS (SELECT 1) SELECT * FROM a",
            "SELECT 1 FROM (SELECT 1 FROM person LIMIT 1) b",
            "SELECT 1 FROM (SELECT 1 FROM person ORDER BY 1) b",
            "SELECT 1 FROM (SELECT TOP 1 a FROM person) b",
            "SELECT 1 FROM (SELECT a FROM person INTERSECT SELECT a FROM person) b",
            "SELECT 1 FROM (SELECT a FROM person EXCEPT SELECT a FROM person) b",
            "SELECT 1 FROM (SELECT a FROM person UNION ALL BY NAME SELECT a FROM person) b",
            "SELECT 1 FROM (VALUES (1)) b",
            "SELECT 1 FROM person WITH (NOLOCK)",
            "SELECT 1 FROM generate_series(1, 5)",
            "SELECT a FROM person GROUP BY ALL",
            "SELECT a FROM person GROUP BY a WITH TOTALS",
            "FROM person SELECT a",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM person SORT BY a)",
            "SELECT 1 FROM person TABLESAMPLE BERNOULLI (1)",
            "SELECT 1 FROM person FOR UPDATE",
            "SELECT 1 FROM person GROUP BY a WITH ROLLUP",
            "SELECT 1 LIMIT 1",
            "SELECT 1 ORDER BY 1",
            "",
        ] {
            assert!(parse(sql).is_err(), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "SELECT 1 FROM (WITH a AS (SELECT 1) SELECT * FROM a UNION SELECT 2) b",
        ] {
            assert!(parse(sql).is_ok(), "{sql}");
        }
    }
}
