//! How deep operators lie in one another: planning a chain takes time with the square of its length.
//! And that calls have no clause that DataFusion reads and ignores.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Query, Visit,
    Visitor,
};
use ward_schemas::functions::FUNCTIONS;

use super::{MAX_NESTING, limit, shorten};
use crate::refusal::Rule;
use crate::scalar::MAX_DEPTH;

/// Checks all expressions of a query.
pub(super) fn check(query: &Query) -> Result<(), Rule> {
    match query.visit(&mut Expressions { depth: 0 }) {
        ControlFlow::Break(rule) => Err(rule),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Expressions {
    depth: usize,
}

impl Visitor for Expressions {
    type Break = Rule;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Rule> {
        self.depth += 1;
        // Brackets are expressions here, and later aren't.
        let most = MAX_DEPTH + MAX_NESTING;
        let deep = limit("operators inside one another", self.depth, most);
        match deep.and_then(|()| check_call(expr)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(rule) => ControlFlow::Break(rule),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Rule> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// Calls of the model's functions have arguments and nothing else; no call orders its arguments,
/// which a quantile would read in the place of them.
fn check_call(expr: &Expr) -> Result<(), Rule> {
    let Expr::Function(call) = expr else {
        return Ok(());
    };
    if orders_arguments(call) || (call.over.is_some() && !call.within_group.is_empty()) {
        return Err(Rule::Unsupported {
            what: "an order inside a call",
            fragment: shorten(&expr.to_string()),
            remedy: "Leave it out; a quantile is PERCENTILE_CONT(fraction) WITHIN GROUP (ORDER BY value)",
        });
    }
    let name = call.name.0.last().and_then(|part| part.as_ident());
    let ours = |f: &ward_schemas::functions::Function| {
        name.is_some_and(|name| f.name.eq_ignore_ascii_case(&name.value))
    };
    if !FUNCTIONS.iter().any(ours) || is_plain(call) {
        return Ok(());
    }
    Err(Rule::Unsupported {
        what: "a clause of this call",
        fragment: shorten(&expr.to_string()),
        remedy: "It is a function of one row: write its arguments only",
    })
}

fn orders_arguments(call: &Function) -> bool {
    let is_order = |clause: &FunctionArgumentClause| {
        !matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(_))
    };
    match &call.args {
        FunctionArguments::List(arguments) => arguments.clauses.iter().any(is_order),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    }
}

fn is_plain(call: &Function) -> bool {
    let Function {
        name: _,
        uses_odbc_syntax: _,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group,
    } = call
    else {
        return false;
    };
    let FunctionArgumentList {
        duplicate_treatment,
        args: _,
        clauses,
    } = arguments;
    within_group.is_empty() && duplicate_treatment.is_none() && clauses.is_empty()
}
