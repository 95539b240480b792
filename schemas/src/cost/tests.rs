use super::*;
use crate::canonical::ContentHash;
use crate::decimal::Grid;
use crate::delta::Delta;
use crate::finish::TreeLevel;
use crate::plan::{Component, ComponentUnit, ENGINE_VERSION};
use crate::template::{Contribution, TemplateRef};
use proptest::prelude::*;

fn ident(name: &str) -> Ident {
    name.parse().expect(name)
}

fn rho(text: &str) -> Rho {
    text.parse().expect(text)
}

fn grid() -> Grid {
    let decimal = |text: &str| text.parse().expect(text);
    Grid::new(decimal("0"), decimal("20"), decimal("0.1")).expect("a grid")
}

/// Patients in a table of its own; mean, standard deviation and median of a value in another.
fn plan() -> Plan {
    let patients = vec![component(ComponentUnit::One, 1)];
    let count = vec![column("patients", Expr::component(0))];
    Plan {
        template: TemplateRef {
            id: ident("t"),
            version: "1.0.0".parse().expect("version"),
            hash: ContentHash::of_bytes(b"t"),
        },
        engine: ENGINE_VERSION.to_owned(),
        vocabulary: ContentHash::of_bytes(b"v"),
        tables: vec![
            table("people", patients, count),
            table("values", values(), measured()),
        ],
    }
}

fn values() -> Vec<Component> {
    let grid = grid();
    let origin = grid.centre();
    vec![
        component(ComponentUnit::One, 2),
        component(ComponentUnit::Steps { grid, origin }, 200),
        component(ComponentUnit::SquareSteps { grid }, 10_000),
        component(ComponentUnit::Bins { grid, span: 1 }, 2),
    ]
}

fn measured() -> Vec<Column> {
    let deviation = Expr::variance(grid(), 2, 1, 0).expect("an expression");
    let median = Expr::Quantile {
        fraction: "0.5".parse().expect("a decimal"),
        grid: grid(),
        levels: vec![TreeLevel {
            component: 3,
            span: 1,
        }],
    };
    vec![
        column("rows", Expr::component(0)),
        column("mean", Expr::mean(grid().centre_value(), 1, 0)),
        column("deviation", deviation.square_root()),
        column("median", median),
    ]
}

fn component(unit: ComponentUnit, bound: u64) -> Component {
    Component {
        name: "c".to_owned(),
        unit,
        bound,
        weight: 1,
    }
}

fn column(name: &str, expr: Expr) -> Column {
    Column {
        name: ident(name),
        unit: String::new(),
        content: ColumnContent::Measure { expr },
    }
}

fn table(name: &str, components: Vec<Component>, columns: Vec<Column>) -> TablePlan {
    TablePlan {
        name: ident(name),
        keys: Vec::new(),
        totals: Vec::new(),
        data_key: None,
        contribution: Contribution {
            max_groups: 1,
            max_rows_per_group: 2,
        },
        rho: rho("0.005"),
        delta: Delta::ZERO,
        components,
        columns,
    }
}

const ASSUMED: Assumed = Assumed {
    nodes: 1,
    group: 1000,
};

fn cost(name: &str, rho: Rho, assumed: Assumed) -> Option<Precision> {
    let costs = measures(&plan(), rho, assumed);
    let found = costs.into_iter().find(|c| c.column == ident(name));
    found.expect("a measure").precision
}

#[test]
fn the_noise_of_a_count_is_known_exactly() {
    let one = cost("patients", rho("0.01"), ASSUMED).expect("a precision");
    assert!((one.sigma - 10.0).abs() < 1e-5, "{one:?}");
    assert!((one.half_width - 19.6).abs() < 0.01, "{one:?}");
    let four = Assumed {
        nodes: 4,
        ..ASSUMED
    };
    let four = cost("patients", rho("0.01"), four).expect("a precision");
    assert!((four.sigma - 20.0).abs() < 1e-5, "{four:?}");
    let costs = measures(&plan(), rho("0.01"), ASSUMED);
    let counts: Vec<_> = costs.iter().map(|c| c.count).collect();
    assert_eq!(counts, [true, true, false, false, false]);
}

#[test]
fn the_noise_of_a_mean_shrinks_with_the_group() {
    let at = |group| cost("mean", rho("0.1"), Assumed { group, ..ASSUMED });
    let (small, large) = (at(500).expect("one"), at(1000).expect("one"));
    assert!((small.half_width / large.half_width - 2.0).abs() < 1e-9);
    assert_eq!(at(10), None, "drowned");
}

#[test]
fn every_measure_has_a_price() {
    for (name, half_width) in [
        ("patients", 20.0),
        ("rows", 20.0),
        ("mean", 0.5),
        ("deviation", 0.5),
        ("median", 1.0),
    ] {
        let within = Within {
            column: ident(name),
            half_width,
        };
        let found = rho_for(&plan(), &within, ASSUMED).expect(name);
        let kept = cost(name, found, ASSUMED).expect(name);
        assert!(kept.half_width <= half_width, "{name}: {kept:?}");
    }
}

#[test]
fn errors_say_what_there_is_and_what_to_do() {
    let ask = |column: &str, half_width| {
        let column = ident(column);
        rho_for(&plan(), &Within { column, half_width }, ASSUMED)
    };
    let unknown = ask("age", 1.0).expect_err("unknown").to_string();
    assert_eq!(
        unknown,
        "the template has no measure age; name one of patients, rows, mean, deviation, median"
    );
    for impossible in [0.0, -1.0, f64::NAN] {
        let error = ask("mean", impossible).expect_err("impossible").to_string();
        assert!(error.contains("assume larger groups"), "{error}");
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["patients", "rows", "mean", "deviation"])
}

proptest! {
    #[test]
    fn more_rho_is_never_less_precise(
        name in name(), units in 1_u64..1_000_000_000, more in 0_u64..1_000_000_000,
        nodes in 1_u32..20, group in 1_u32..100_000,
    ) {
        let assumed = Assumed { nodes, group };
        let at = |units| cost(name, Rho::from_units(units).expect("rho"), assumed);
        if let Some(less) = at(units) {
            let more = at(units + more).expect("no less precise");
            prop_assert!(more.half_width <= less.half_width);
        }
    }

    #[test]
    fn the_price_of_a_precision_buys_it_and_no_smaller_one_does(
        name in name(), half_width in 0.05..200.0_f64, nodes in 1_u32..20, group in 100_u32..10_000,
    ) {
        let assumed = Assumed { nodes, group };
        let within = Within { column: ident(name), half_width };
        let holds = |rho| cost(name, rho, assumed).is_some_and(|p| p.half_width <= half_width);
        match rho_for(&plan(), &within, assumed) {
            Ok(found) => {
                prop_assert!(holds(found));
                let less = Rho::from_units(found.units() - 1).expect("rho");
                prop_assert!(!holds(less));
            }
            Err(_) => prop_assert!(!holds(Rho::MAX)),
        }
    }
}
