//! Translates DataFusion's plan into a [`Relation`], tracking the patient; or refuses it.

use datafusion::common::{DFSchema, JoinType, NullEquality};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Join, LogicalPlan, Operator, Projection, TableScan,
};

use crate::model::Model;
use crate::parse::shorten;
use crate::refusal::Rule;
use crate::relation::{Field, JoinKind, Multiplicity, Node, Owner, Relation, Role};
use crate::scalar::{Scalar, Scope};

/// Translates the part of a plan below the outermost aggregate.
///
/// # Errors
/// When a row of it could not be traced to one patient, or could be influenced by another's.
pub(crate) fn relation(plan: &LogicalPlan, model: &Model) -> Result<Relation, Rule> {
    match plan {
        LogicalPlan::TableScan(scan) => table_scan(scan, model),
        LogicalPlan::SubqueryAlias(alias) => relation(&alias.input, model),
        LogicalPlan::Filter(filter) => {
            let input = relation(&filter.input, model)?;
            let predicate = scope(filter.input.schema(), &input).scalar(&filter.predicate)?;
            Ok(keep_rows(input, predicate))
        }
        LogicalPlan::Projection(projection) => project(projection, model),
        LogicalPlan::Join(join) => self::join(join, model),
        LogicalPlan::Aggregate(_) => Err(refuse(
            plan,
            "an aggregate in a subquery",
            "Aggregate in the outermost SELECT",
        )),
        LogicalPlan::Window(_) => Err(refuse(
            plan,
            "a window function",
            "Count or average rows instead",
        )),
        LogicalPlan::Distinct(_) => Err(refuse(
            plan,
            "DISTINCT in a subquery",
            "Count patients with COUNT(DISTINCT person_id)",
        )),
        LogicalPlan::Union(_) => Err(refuse(
            plan,
            "UNION",
            "Write a table of the template for each branch",
        )),
        LogicalPlan::Sort(_) => Err(refuse(
            plan,
            "ORDER BY in a subquery",
            "Leave it out: rows have no order",
        )),
        LogicalPlan::Limit(_) => Err(refuse(
            plan,
            "LIMIT",
            "Which rows it keeps depends on other patients; filter instead",
        )),
        LogicalPlan::Subquery(_) => Err(refuse(
            plan,
            "a subquery in an expression",
            "Join the tables instead",
        )),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Err(refuse(
            plan,
            "a relation without a table",
            "Select from tables of the clinical data model",
        )),
        LogicalPlan::Repartition(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => Err(refuse(
            plan,
            "this operator",
            "Write SELECT, FROM, JOIN, WHERE and GROUP BY",
        )),
    }
}

/// The scope of a plan's columns.
pub(crate) fn scope<'a>(schema: &'a DFSchema, relation: &'a Relation) -> Scope<'a> {
    Scope {
        schema,
        fields: &relation.fields,
    }
}

/// What a plan's operator looks like, for messages.
pub(crate) fn describe(plan: &LogicalPlan) -> String {
    shorten(&plan.display().to_string())
}

fn refuse(plan: &LogicalPlan, what: &'static str, remedy: &'static str) -> Rule {
    Rule::Unsupported {
        what,
        fragment: describe(plan),
        remedy,
    }
}

fn table_scan(scan: &TableScan, model: &Model) -> Result<Relation, Rule> {
    let table = model
        .table(scan.table_name.table())
        .ok_or_else(|| Rule::Unplannable(format!("no table {}", scan.table_name)))?;
    if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
        return Err(Rule::Unplannable(format!(
            "a narrowed scan of {}",
            scan.table_name
        )));
    }
    Ok(table.scan())
}

/// A filter is a function of each row, so it keeps everything that is known of them.
fn keep_rows(input: Relation, predicate: Scalar) -> Relation {
    Relation {
        fields: input.fields.clone(),
        owner: input.owner.clone(),
        node: Node::Filter {
            input: Box::new(input),
            predicate,
        },
    }
}

/// A projection is a function of each row; it must keep the patient.
fn project(projection: &Projection, model: &Model) -> Result<Relation, Rule> {
    let input = relation(&projection.input, model)?;
    let scope = scope(projection.input.schema(), &input);
    let mut expressions = Vec::new();
    let mut fields = Vec::new();
    for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let (scalar, role) = match scope.bare_column(expr) {
            Some(index) => (Scalar::Column(index), input.fields[index].role),
            None => (scope.scalar(expr)?, Role::Value),
        };
        let extent = scalar.extent(&input.fields);
        let of_patient = scalar
            .columns()
            .into_iter()
            .all(|c| input.fields[c].of_patient);
        expressions.push(scalar);
        fields.push(Field {
            extent,
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            role,
            of_patient,
        });
    }
    let position = |column: usize| {
        let same = |s: &Scalar| matches!(s, Scalar::Column(c) if *c == column);
        expressions.iter().position(same)
    };
    let owner = match &input.owner {
        Owner::Public => Owner::Public,
        Owner::Patient {
            column,
            multiplicity,
        } => Owner::Patient {
            column: position(*column).ok_or_else(|| Rule::PatientLost {
                fragment: describe_columns(projection),
            })?,
            multiplicity: multiplicity.moved(position),
        },
    };
    Ok(Relation {
        node: Node::Project {
            input: Box::new(input),
            expressions,
        },
        fields,
        owner,
    })
}

fn describe_columns(projection: &Projection) -> String {
    let columns: Vec<_> = projection.expr.iter().map(ToString::to_string).collect();
    shorten(&format!("SELECT {}", columns.join(", ")))
}

fn join(join: &Join, model: &Model) -> Result<Relation, Rule> {
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        _ => {
            return Err(Rule::Unsupported {
                what: "this kind of join",
                fragment: fragment(join),
                remedy: "Write JOIN or LEFT JOIN",
            });
        }
    };
    if join.null_equality != NullEquality::NullEqualsNothing {
        return Err(Rule::Unplannable("a join that equates NULLs".into()));
    }
    let (left, right) = (relation(&join.left, model)?, relation(&join.right, model)?);
    let conditions = Conditions::of(join, &left, &right)?;
    let owner = join_owner(join, kind, &left, &right, &conditions.on)?;
    let fields = joined_fields(kind, &left, &right, &conditions);
    Ok(Relation {
        node: Node::Join {
            left: Box::new(left),
            right: Box::new(right),
            kind,
            on: conditions.on,
            filter: conditions.filter,
        },
        fields,
        owner,
    })
}

/// Behind an outer join a field is still a function of the patient if the patient alone decides
/// whether there is a match.
fn joined_fields(
    kind: JoinKind,
    left: &Relation,
    right: &Relation,
    conditions: &Conditions,
) -> Vec<Field> {
    let by_patient = match (&left.owner, &right.owner) {
        (Owner::Patient { column: l, .. }, Owner::Patient { column: r, .. }) => {
            conditions.on == [(*l, *r)] && conditions.filter.is_none()
        }
        _ => false,
    };
    let kept = kind == JoinKind::Inner || by_patient;
    let right = right.fields.iter().cloned().map(|field| Field {
        of_patient: field.of_patient && kept,
        ..field
    });
    left.fields.iter().cloned().chain(right).collect()
}

fn fragment(join: &Join) -> String {
    let on = join.on.iter().map(|(l, r)| format!("{l} = {r}"));
    let filter = join.filter.iter().map(ToString::to_string);
    let conditions: Vec<_> = on.chain(filter).collect();
    shorten(&format!(
        "{} JOIN ON {}",
        join.join_type,
        conditions.join(" AND ")
    ))
}

/// A join's conditions: columns that must be equal, and a predicate over values.
struct Conditions {
    on: Vec<(usize, usize)>,
    filter: Option<Scalar>,
}

impl Conditions {
    fn of(join: &Join, left: &Relation, right: &Relation) -> Result<Self, Rule> {
        let fields: Vec<_> = left.fields.iter().chain(&right.fields).cloned().collect();
        let schema = join
            .left
            .schema()
            .join(join.right.schema())
            .map_err(|e| Rule::Unplannable(e.strip_backtrace()))?;
        let scope = Scope {
            schema: &schema,
            fields: &fields,
        };
        let keys = join.on.iter().map(|(l, r)| {
            Expr::BinaryExpr(BinaryExpr::new(
                Box::new(l.clone()),
                Operator::Eq,
                Box::new(r.clone()),
            ))
        });
        let filters = join.filter.iter().flat_map(split_conjunction).cloned();
        let mut conditions = Self {
            on: Vec::new(),
            filter: None,
        };
        for condition in keys.chain(filters) {
            match equated(&scope, &condition, left.fields.len()) {
                Some(pair) => conditions.on.push(pair),
                None => conditions.restrict(scope.scalar(&condition)?),
            }
        }
        Ok(conditions)
    }

    fn restrict(&mut self, predicate: Scalar) {
        self.filter = Some(match self.filter.take() {
            None => predicate,
            Some(before) => Scalar::Binary {
                operator: Operator::And,
                left: Box::new(before),
                right: Box::new(predicate),
            },
        });
    }
}

/// The columns of both sides that a condition equates: of one type, and both identifiers of the
/// same kind or both values.
fn equated(scope: &Scope<'_>, condition: &Expr, left_width: usize) -> Option<(usize, usize)> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return None;
    };
    let (a, b) = (scope.bare_column(left)?, scope.bare_column(right)?);
    let (l, r) = (a.min(b), a.max(b));
    let (left, right) = (&scope.fields[l], &scope.fields[r]);
    let alike = left.role == right.role && left.data_type == right.data_type;
    (l < left_width && r >= left_width && alike).then(|| (l, r - left_width))
}

fn join_owner(
    join: &Join,
    kind: JoinKind,
    left: &Relation,
    right: &Relation,
    on: &[(usize, usize)],
) -> Result<Owner, Rule> {
    let width = left.fields.len();
    match (&left.owner, &right.owner) {
        (Owner::Public, Owner::Public) => Ok(Owner::Public),
        (Owner::Patient { column, .. }, Owner::Public) => Ok(Owner::Patient {
            column: *column,
            multiplicity: Multiplicity::Many,
        }),
        (Owner::Public, Owner::Patient { column, .. }) => match kind {
            JoinKind::Inner => Ok(Owner::Patient {
                column: column + width,
                multiplicity: Multiplicity::Many,
            }),
            JoinKind::Left => Err(Rule::OuterPublic {
                fragment: fragment(join),
            }),
        },
        (
            Owner::Patient {
                column: l,
                multiplicity: left_rows,
            },
            Owner::Patient {
                column: r,
                multiplicity: right_rows,
            },
        ) => {
            if !on.contains(&(*l, *r)) {
                return Err(Rule::JoinPatients {
                    fragment: fragment(join),
                });
            }
            let (left_on, right_on): (Vec<_>, Vec<_>) = on.iter().copied().unzip();
            let multiplicity = if right_rows.is_one_given(&right_on) {
                left_rows.clone()
            } else if !left_rows.is_one_given(&left_on) {
                return Err(Rule::FanOut {
                    fragment: fragment(join),
                });
            } else if kind == JoinKind::Inner {
                right_rows.moved(|c| Some(c + width))
            } else {
                // Unmatched left rows have NULL in the right side's key.
                Multiplicity::Many
            };
            Ok(Owner::Patient {
                column: *l,
                multiplicity,
            })
        }
    }
}
