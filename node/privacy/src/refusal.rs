//! Why a statement is refused: which rule, what it was about, and what to write instead.

use ward_schemas::names::Ident;

/// A template's statement that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table}: {rule}")]
pub struct Refusal {
    /// Which table's statement.
    pub table: Ident,
    /// Which rule refuses it.
    pub rule: Rule,
}

/// The rule that refuses a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The statement is too large to be planned safely.
    #[error("the statement has {found} {what}; the limit is {limit}: split the template")]
    Large {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Not SQL, or not against the model.
    #[error(
        "the statement can't be planned: {0}. Use the tables and columns of the clinical data model"
    )]
    Unplannable(String),
    /// A construct that the engine does not accept.
    #[error("{what} is not accepted: `{fragment}`. {remedy}")]
    Unsupported {
        /// The construct.
        what: &'static str,
        /// Where it stands.
        fragment: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A patient or row identifier used as a value.
    #[error(
        "`{fragment}` uses the identifier {column} as a value, which could single a patient out. Identifiers may only be joined on, and counted with COUNT(DISTINCT person_id)"
    )]
    Identifier {
        /// Where it stands.
        fragment: String,
        /// The identifier.
        column: String,
    },
    /// An expression that can fail on a row: whether an ask fails would tell about patients.
    #[error(
        "`{fragment}` can fail on a row ({why}), and a failure would tell about patients. {remedy}"
    )]
    Partial {
        /// Where it stands.
        fragment: String,
        /// How it fails.
        why: &'static str,
        /// What to write instead.
        remedy: &'static str,
    },
    /// Two personal relations joined otherwise than on the patient.
    #[error(
        "the join `{fragment}` of two personal tables does not equate their person_id, so one patient's rows would meet another's. Add `a.person_id = b.person_id` to its ON"
    )]
    JoinPatients {
        /// The join.
        fragment: String,
    },
    /// A join in which both sides may have many rows of one patient.
    #[error(
        "the join `{fragment}` multiplies a patient's rows: on both sides many rows may match. Join one side on its primary key too, aggregate one side to a row a patient (GROUP BY person_id), or keep at most 100 of its rows a patient: ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY …) AS n in a subquery, and WHERE n <= 100"
    )]
    FanOut {
        /// The join.
        fragment: String,
    },
    /// An outer join that keeps rows of a public table, matched or not.
    #[error(
        "the join `{fragment}` keeps rows of a public table that belong to no patient. Use an inner join, or keep the personal side"
    )]
    OuterPublic {
        /// The join.
        fragment: String,
    },
    /// EXISTS or IN over personal rows that are not of the row's patient.
    #[error(
        "`{fragment}` looks for rows of any patient, so one patient's rows would decide about another's. Write EXISTS (SELECT 1 FROM … b WHERE b.person_id = a.person_id AND …)"
    )]
    MatchPatients {
        /// The test.
        fragment: String,
    },
    /// EXISTS or IN that chooses public rows by personal ones.
    #[error(
        "`{fragment}` chooses rows of a public table by what patients have. Start from the personal table, and join the public one"
    )]
    MatchPublic {
        /// The test.
        fragment: String,
    },
    /// An aggregate or window over rows of several patients, below the outermost aggregate.
    #[error(
        "`{fragment}` computes a value from rows of several patients, so one patient's rows would change what is counted of another. Add person_id to its {clause}, or aggregate in the outermost SELECT"
    )]
    PatientsMixed {
        /// The computation.
        fragment: String,
        /// What decides which rows it looks at.
        clause: &'static str,
    },
    /// A subquery over personal tables that drops the patient.
    #[error(
        "the subquery `{fragment}` reads personal tables and does not return person_id, so its rows can't be traced to a patient. Select person_id in it"
    )]
    PatientLost {
        /// The subquery.
        fragment: String,
    },
    /// A statement that reads no personal table.
    #[error("the statement reads no personal table; public tables need no ask")]
    Public,
    /// A statement without an aggregate over groups.
    #[error(
        "the statement returns rows, not an aggregate: `{fragment}`. Write SELECT keys, COUNT(…), AVG(…) … GROUP BY keys"
    )]
    NotAggregate {
        /// Its outermost operator.
        fragment: String,
    },
    /// A group key without declared values.
    #[error(
        "the group key {column} has no declared values, and keys that come from data would show who is there. Declare keys.{column}"
    )]
    KeyUndeclared {
        /// Output column.
        column: String,
    },
    /// A declared key that the statement does not group by.
    #[error(
        "keys.{column} is declared, and the statement has no group key of that name. Group by it, or remove the declaration"
    )]
    KeyUnused {
        /// Declared name.
        column: Ident,
    },
    /// A group key whose type is not that of its declared values.
    #[error(
        "the group key {column} is of type {found}, and its declared values are {declared}. Make them agree"
    )]
    KeyType {
        /// Output column.
        column: String,
        /// The expression's type.
        found: String,
        /// The values' type.
        declared: &'static str,
    },
    /// A sum, mean, variance or quantile without bounds.
    #[error(
        "{column} measures values without bounds, and one patient could move it at will. Declare bounds.{column} = {{ lower = \"…\", upper = \"…\", step = \"…\" }}"
    )]
    BoundsMissing {
        /// Output column.
        column: String,
    },
    /// Bounds for a column that sums nothing.
    #[error(
        "bounds.{column} is declared, and no sum, mean, variance or quantile in a column of that name needs it. Remove it"
    )]
    BoundsUnused {
        /// Declared name.
        column: Ident,
    },
    /// A weight for what is no measure.
    #[error(
        "weights.{column} is declared, and no measure is in a column of that name. Remove it, or name the measure so"
    )]
    WeightUnused {
        /// Declared name.
        column: Ident,
    },
    /// Totals that would count a patient several times.
    #[error(
        "totals over {key} would count a patient in {measure} once for each value of {key} that they have. Count rows with COUNT(*), or total over keys that have one value a patient, such as sex"
    )]
    TotalsPatients {
        /// The key.
        key: Ident,
        /// What counts patients.
        measure: String,
    },
    /// A quantile over too fine a grid.
    #[error(
        "{column}: a quantile over {points} points of its grid; the limit is 4096. Use a wider step, or bounds that are closer"
    )]
    QuantilePoints {
        /// Output column.
        column: String,
        /// How many points its grid has.
        points: u64,
    },
    /// Bounds times rows that leave the range of exact sums.
    #[error(
        "{column}: the bounds (squared, for a variance) times max_rows_per_group exceed 2^40 steps. Use a wider step or fewer rows"
    )]
    BoundsWide {
        /// Output column.
        column: String,
    },
    /// An output column without a proper name.
    #[error("the output column `{0}` needs a snake_case name. Write `… AS name`")]
    Unnamed(String),
    /// An output column twice.
    #[error("two output columns are named {0}; name them apart")]
    ColumnTwice(String),
    /// No measure at all.
    #[error("the statement measures nothing. Add COUNT(DISTINCT person_id), COUNT(*), SUM or AVG")]
    NoMeasure,
}
