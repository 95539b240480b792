//! What a query may consist of, everywhere in a statement: DataFusion reads some clauses and then ignores them, and
//! the steward would approve another meaning than the one that runs. Matches name every part, so that a part that is new to the parser is refused.

use std::fmt::Display;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, GroupByExpr, Join, Query, Select, SelectFlavor, SetExpr, SetOperator, SetQuantifier,
    TableAlias, TableFactor, TableWithJoins, Visit, Visitor,
};

use super::{limit, shorten};
use crate::refusal::Rule;

/// Checks a query and all queries inside it.
pub(super) fn check(query: &Query) -> Result<(), Rule> {
    match query.visit(&mut Shape { depth: 0 }) {
        ControlFlow::Break(rule) => Err(rule),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Shape {
    /// How many expressions are around this one.
    depth: usize,
}

/// Planning takes a time that grows with the square of it. What expressions may become once
/// they are merged is bounded by [`crate::scalar::Extent`].
const MAX_DEPTH: usize = 512;

impl Visitor for Shape {
    type Break = Rule;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Rule> {
        flow(check_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Rule> {
        flow(check_select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Rule> {
        flow(check_factor(factor))
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<Rule> {
        self.depth += 1;
        flow(limit("operators inside one another", self.depth, MAX_DEPTH))
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Rule> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn flow(result: Result<(), Rule>) -> ControlFlow<Rule> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(rule) => ControlFlow::Break(rule),
    }
}

fn refuse(what: &'static str, fragment: &impl Display, remedy: &'static str) -> Result<(), Rule> {
    Err(Rule::Unsupported {
        what,
        fragment: shorten(&fragment.to_string()),
        remedy,
    })
}

const CLAUSES: &str = "Write SELECT, FROM, JOIN, WHERE, GROUP BY and HAVING";
const UNLIMITED: &str = "Which rows it keeps depends on other patients; filter, or number the rows with ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY …)";

fn check_query(query: &Query) -> Result<(), Rule> {
    let Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    if let Some(with) = with {
        if with.recursive {
            return refuse("WITH RECURSIVE", with, "Concepts have concept_ancestor");
        }
        with.cte_tables.iter().try_for_each(check_cte)?;
    }
    if let Some(order) = order_by {
        return refuse(
            "ORDER BY",
            order,
            "Rows have no order; groups come in the order of the keys",
        );
    }
    if let Some(limit) = limit_clause {
        return refuse("LIMIT", limit, UNLIMITED);
    }
    if let Some(fetch) = fetch {
        return refuse("FETCH", fetch, UNLIMITED);
    }
    let others = !locks.is_empty()
        || for_clause.is_some()
        || settings.is_some()
        || format_clause.is_some()
        || !pipe_operators.is_empty();
    if others {
        return refuse("a clause of this query", query, CLAUSES);
    }
    check_body(body)
}

fn check_cte(cte: &Cte) -> Result<(), Rule> {
    let Cte {
        alias,
        query: _,
        from,
        materialized,
        closing_paren_token: _,
    } = cte;
    if from.is_some() || materialized.is_some() {
        return refuse("this kind of WITH", cte, "Write WITH name AS (SELECT …)");
    }
    check_alias(alias)
}

fn check_body(body: &SetExpr) -> Result<(), Rule> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) => Ok(()),
        SetExpr::SetOperation {
            op: SetOperator::Union,
            set_quantifier: SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None,
            left,
            right,
        } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::SetOperation { op, .. } => refuse(
            "this set operation",
            op,
            "Write UNION or UNION ALL; for INTERSECT and EXCEPT, WHERE EXISTS and NOT EXISTS (SELECT 1 FROM b WHERE b.person_id = a.person_id AND …)",
        ),
        _ => refuse("a relation without a table", body, "Select from tables"),
    }
}

fn check_select(select: &Select) -> Result<(), Rule> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    if top.is_some() {
        return refuse("TOP", select, UNLIMITED);
    }
    let grouped = match group_by {
        GroupByExpr::All(_) => return refuse("GROUP BY ALL", select, "Name the keys"),
        GroupByExpr::Expressions(_, modifiers) => modifiers.is_empty(),
    };
    let plain = grouped
        && optimizer_hints.is_empty()
        && select_modifiers.is_none()
        && exclude.is_none()
        && into.is_none()
        && lateral_views.is_empty()
        && prewhere.is_none()
        && connect_by.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty()
        && qualify.is_none()
        && value_table_mode.is_none()
        && *flavor == SelectFlavor::Standard;
    if !plain {
        return refuse("a clause of this SELECT", select, CLAUSES);
    }
    from.iter().try_for_each(check_joins)
}

fn check_joins(joined: &TableWithJoins) -> Result<(), Rule> {
    let TableWithJoins { relation: _, joins } = joined;
    let global = |join: &&Join| join.global;
    match joins.iter().find(global) {
        Some(join) => refuse("GLOBAL", join, "Write JOIN"),
        None => Ok(()),
    }
}

fn check_factor(factor: &TableFactor) -> Result<(), Rule> {
    let (plain, alias) = match factor {
        TableFactor::Table {
            name: _,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            let plain = args.is_none()
                && with_hints.is_empty()
                && version.is_none()
                && !with_ordinality
                && partitions.is_empty()
                && json_path.is_none()
                && sample.is_none()
                && index_hints.is_empty();
            (plain, alias)
        }
        TableFactor::Derived {
            lateral,
            subquery: _,
            alias,
            sample,
        } => (!lateral && sample.is_none(), alias),
        TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } => {
            check_joins(table_with_joins)?;
            (true, alias)
        }
        _ => (false, &None),
    };
    if !plain {
        return refuse("this in FROM", factor, "Name tables, or write subqueries");
    }
    alias.iter().try_for_each(check_alias)
}

fn check_alias(alias: &TableAlias) -> Result<(), Rule> {
    let TableAlias {
        explicit: _,
        name: _,
        columns: _,
        at,
    } = alias;
    match at {
        Some(_) => refuse("this alias", alias, "Write AS name"),
        None => Ok(()),
    }
}
