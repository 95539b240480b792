//! How large a statement is once each reference to a WITH is replaced by what it names, which planning does.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use super::limit;
use crate::refusal::Rule;

const MAX_TABLES: usize = 64;
const MAX_DEPTH: usize = 40;

/// Bounds the tables that are read, a table counting as often as it is reached, and how deep
/// queries lie in one another.
pub(super) fn check(query: &Query) -> Result<(), Rule> {
    let size = Size::of(query, &BTreeMap::new());
    limit(
        "tables, each counted as often as WITH repeats it",
        size.tables,
        MAX_TABLES,
    )?;
    limit("queries inside one another", size.depth, MAX_DEPTH)
}

#[derive(Clone, Copy)]
struct Size {
    tables: usize,
    depth: usize,
}

/// By lower-case name: which case an unquoted name has doesn't matter, and of two names that
/// differ in it the last counts for both, as a larger size than either reaches.
type Named = BTreeMap<String, Size>;

impl Size {
    const TABLE: Self = Self {
        tables: 1,
        depth: 0,
    };

    fn of(query: &Query, outside: &Named) -> Self {
        let mut named = outside.clone();
        let mut unread = Self {
            tables: 0,
            depth: 0,
        };
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = cte.alias.name.value.to_lowercase();
            let size = Self::of(&cte.query, &named);
            unread = unread.max(size);
            let before = named.get(&name).copied().unwrap_or(Self::TABLE);
            named.insert(name, size.max(before));
        }
        let mut body = Body {
            named: &named,
            inside: 0,
            size: Self {
                tables: 0,
                depth: 0,
            },
        };
        // The visitor never breaks.
        let _ = query.body.visit(&mut body);
        let size = Self {
            depth: body.size.depth.saturating_add(1),
            ..body.size
        };
        // Planned all the same, where nothing reads it.
        size.max(unread)
    }

    fn max(self, other: Self) -> Self {
        Self {
            tables: self.tables.max(other.tables),
            depth: self.depth.max(other.depth),
        }
    }
}

/// Adds up what a query reads itself, and the queries right inside it.
struct Body<'a> {
    named: &'a Named,
    inside: usize,
    size: Size,
}

impl Body<'_> {
    fn add(&mut self, part: Size) {
        self.size.tables = self.size.tables.saturating_add(part.tables);
        self.size.depth = self.size.depth.max(part.depth);
    }
}

impl Visitor for Body<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.inside == 0 {
            self.add(Size::of(query, self.named));
        }
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        if self.inside == 0 {
            let last = name.0.last().and_then(|part| part.as_ident());
            let name = last.map_or(String::new(), |ident| ident.value.to_lowercase());
            self.add(self.named.get(&name).copied().unwrap_or(Size::TABLE));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn doubling(levels: usize) -> String {
        doubling_named(levels, |i| format!("a{i}"))
    }

    fn doubling_named(levels: usize, name: fn(usize) -> String) -> String {
        let double = |i: usize| {
            let (this, last) = (name(i), name(i - 1));
            let upper = last.to_uppercase();
            format!("{this} AS (SELECT x.b FROM {last} x JOIN {upper} y ON x.b = y.b)")
        };
        let rest: Vec<_> = (1..levels).map(double).collect();
        format!(
            "WITH {} AS (SELECT b FROM t), {} SELECT b FROM {}",
            name(0),
            rest.join(", "),
            name(levels - 1)
        )
    }

    /// Found by the fuzzer: what nothing reads is planned, too.
    #[test]
    fn unread_tables_are_counted() {
        let unread = doubling(18).replace("SELECT b FROM a17", "SELECT b FROM a0");
        assert!(matches!(parse(&unread), Err(Rule::Large { .. })));
    }

    #[test]
    fn names_with_quotes_are_the_same_names() {
        let quoted = doubling_named(18, |i| format!("\"a\"\"{i}\""));
        assert!(matches!(parse(&quoted), Err(Rule::Large { .. })));
    }

    #[test]
    fn references_are_counted_as_they_expand() {
        assert!(parse(&doubling(7)).is_ok());
        for levels in [8, 18, 40, 80] {
            let refused = parse(&doubling(levels));
            assert!(matches!(refused, Err(Rule::Large { .. })), "{levels}");
        }
    }

    #[test]
    fn names_inside_hide_names_outside() {
        let hidden = "WITH a AS (SELECT b FROM t) SELECT b FROM (WITH a AS (SELECT x.b FROM t x JOIN t y ON x.b = y.b) SELECT b FROM a) z";
        assert!(parse(hidden).is_ok());
        let chain: Vec<_> = (1..60)
            .map(|i| format!("a{i} AS (SELECT b FROM a{})", i - 1))
            .collect();
        let chain = format!(
            "WITH a0 AS (SELECT b FROM t), {} SELECT b FROM a59",
            chain.join(", ")
        );
        assert!(matches!(parse(&chain), Err(Rule::Large { .. })));
    }

    #[test]
    fn references_in_conditions_count_too() {
        let sql = doubling(7).replace(
            "SELECT b FROM a6",
            "SELECT b FROM a6 WHERE EXISTS (SELECT 1 FROM \"a3\")",
        );
        assert!(matches!(parse(&sql), Err(Rule::Large { .. })));
    }
}
