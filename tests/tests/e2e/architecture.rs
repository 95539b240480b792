//! The door out of a node is held by dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Package names by the packages that they need to run; tests and build scripts don't count.
struct Graph(BTreeMap<String, BTreeSet<String>>);

#[test]
fn at_the_node_only_the_engine_and_the_data_layer_reach_datafusion() {
    let graph = Graph::read();
    assert!(graph.direct("ward-privacy", "datafusion"));
    assert!(graph.direct("ward-data", "datafusion"));
    assert!(!graph.direct("ward-node", "datafusion"));
    let gates = graph.ways_to("ward-node", "datafusion");
    assert_eq!(gates, names(["ward-data", "ward-privacy"]));
    for package in [
        "ward-schemas",
        "ward-omop",
        "ward-transport",
        "ward-coordinator",
        "ward-cli",
    ] {
        assert!(!graph.reaches(package, "datafusion"), "{package}");
    }
}

#[test]
fn the_engine_has_neither_network_nor_disk() {
    let graph = Graph::read();
    for outside in [
        "tonic",
        "hyper",
        "reqwest",
        "sqlx",
        "arrow-flight",
        "ward-data",
        "ward-node",
    ] {
        assert!(!graph.reaches("ward-privacy", outside), "{outside}");
    }
}

#[test]
fn node_and_coordinator_know_nothing_of_each_other() {
    let graph = Graph::read();
    assert!(!graph.reaches("ward-node", "ward-coordinator"));
    for inside in ["ward-node", "ward-data", "ward-privacy"] {
        assert!(!graph.reaches("ward-coordinator", inside), "{inside}");
        assert!(!graph.reaches("ward-cli", inside), "{inside}");
    }
    let both = graph.0.keys().filter(|package| {
        graph.reaches(package, "ward-node") && graph.reaches(package, "ward-coordinator")
    });
    let both: BTreeSet<_> = both.cloned().collect();
    assert_eq!(both, names(["ward-quickstart", "ward-tests"]));
}

#[test]
fn the_schemas_are_pure() {
    let graph = Graph::read();
    for impure in [
        "tokio",
        "datafusion",
        "sqlx",
        "tonic",
        "arrow",
        "reqwest",
        "async-trait",
    ] {
        assert!(!graph.reaches("ward-schemas", impure), "{impure}");
    }
}

#[test]
fn frozen_noise_is_made_in_the_unpublished_test_binary_alone() {
    let metadata = metadata();
    let tests = package(&metadata, "ward-tests");
    assert_eq!(tests["publish"], Value::Array(Vec::new()));
    let makes = |text: &str| text.contains("NoiseSource::frozen(");
    let root = metadata["workspace_root"].as_str().expect("a path");
    let mut found = Vec::new();
    for member in [
        "node",
        "coordinator",
        "deploy",
        "omop",
        "schemas",
        "tests",
        "transport",
    ] {
        sources(
            &std::path::Path::new(root).join(member),
            &mut |file, text| {
                if makes(text) && !file.ends_with("architecture.rs") {
                    found.push(file.strip_prefix(root).expect("inside").to_owned());
                }
            },
        );
    }
    let under_test = std::path::Path::new("tests/src/bin/ward-node-under-test.rs");
    assert!(found.iter().any(|file| file == under_test), "{found:?}");
    // The engine's own tests and its fuzzer use it too; neither is in a library or binary that ships.
    let ships = |part: &std::ffi::OsStr| part != "tests" && part != "examples";
    found.retain(|file| file.components().all(|part| ships(part.as_os_str())));
    assert_eq!(found, [] as [std::path::PathBuf; 0]);
}

/// The engine by itself has an account of its own, and a plan of sums without noise; a node has
/// neither: all that its service names are answers with noise, which the ledger was charged for.
#[test]
fn a_node_asks_the_engine_for_noisy_answers_alone() {
    const OTHER: [&str; 4] = ["PrivateSession", "Rewrite", "rewrite(", "::rewrite"];
    let root = text(&metadata()["workspace_root"]);
    let mut found = Vec::new();
    let mut runs = 0;
    for part in ["node/src", "node/data/src"] {
        sources(
            &std::path::Path::new(&root).join(part),
            &mut |file, text| {
                runs += text.matches("ward_privacy::run(").count();
                if OTHER.iter().any(|name| text.contains(name)) {
                    found.push(file.to_owned());
                }
            },
        );
    }
    assert_eq!(found, [] as [std::path::PathBuf; 0]);
    assert_eq!(runs, 1, "calls of the engine");
}

impl Graph {
    fn read() -> Self {
        let metadata = metadata();
        let packages = metadata["packages"].as_array().expect("packages");
        let named = packages.iter().map(|p| (text(&p["id"]), text(&p["name"])));
        let named: BTreeMap<String, String> = named.collect();
        let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
        let node = |node: &Value| {
            let needs = node["deps"].as_array().expect("dependencies").iter();
            let needs = needs.filter(|dependency| runs(dependency));
            let needs = needs.map(|dependency| named[&text(&dependency["pkg"])].clone());
            (named[&text(&node["id"])].clone(), needs.collect())
        };
        Self(nodes.iter().map(node).collect())
    }

    fn direct(&self, package: &str, needed: &str) -> bool {
        self.0[package].contains(needed)
    }

    fn reaches(&self, package: &str, needed: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![package];
        while let Some(next) = open.pop() {
            if next == needed {
                return true;
            }
            if seen.insert(next) {
                open.extend(self.0[next].iter().map(String::as_str));
            }
        }
        false
    }

    /// What the package needs directly and leads to the other.
    fn ways_to(&self, package: &str, needed: &str) -> BTreeSet<String> {
        let direct = self.0[package].iter();
        direct
            .filter(|d| self.reaches(d, needed))
            .cloned()
            .collect()
    }
}

/// Whether a dependency is there when the package runs.
fn runs(dependency: &Value) -> bool {
    let kinds = dependency["dep_kinds"].as_array().expect("kinds");
    kinds.iter().any(|kind| kind["kind"].is_null())
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let version = Command::new(&cargo)
        .arg("-vV")
        .output()
        .expect("cargo runs");
    let version = String::from_utf8(version.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(&cargo)
        .args(["metadata", "--offline", "--format-version", "1"])
        .args(["--filter-platform", host.expect("a host")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn package<'a>(metadata: &'a Value, name: &str) -> &'a Value {
    let packages = metadata["packages"].as_array().expect("packages");
    let found = packages.iter().find(|p| p["name"] == name);
    found.expect("a package of this name")
}

fn sources(dir: &std::path::Path, each: &mut impl FnMut(&std::path::Path, &str)) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, each);
        } else if path.extension().is_some_and(|e| e == "rs") {
            each(&path, &std::fs::read_to_string(&path).expect("text"));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}
