//! A full disk at the ledger, and data that isn't whole: nothing is charged, nothing leaves.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use ward_schemas::problem::ErrorCode;
use ward_tests::network::{Network, Plan};
use ward_tests::process::Process;

use crate::PROGRAMS;

const NODE: &str = "hospital-a";
const TEMPLATE: &str = "patients_by_age_and_sex";
/// Refuses to make any file longer than this many blocks of 512 bytes, as a full disk does. The
/// write-ahead log reaches that after a few records. A shell sets it, so no privilege is needed.
const FULL_DISK: &str = r#"trap '' XFSZ; ulimit -f 160; exec "$0" "$@""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_ledger_charges_nothing() {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let before = network.books(NODE, None).await;
    let mut command = Command::new("sh");
    command.args(["-c", FULL_DISK, network.node_program()]);
    let config = network
        .deployment()
        .node_config(&NODE.parse().expect("a name"));
    let mut node = network.start_as(NODE, &config, command).await;
    fill(&network, &node).await;

    let ask = network.ask(TEMPLATE, &[]);
    let refused = node
        .client
        .ask(&ask)
        .await
        .expect_err("no room for the charge");
    assert_eq!(
        refused.code(),
        ErrorCode::LedgerUnavailable,
        "{}",
        node.process.said()
    );
    assert!(
        refused.message.contains("nothing was charged"),
        "{}",
        refused.message
    );
    assert!(
        refused.message.contains("free disk space"),
        "{}",
        refused.message
    );
    let full = network.books(NODE, None).await;
    assert_eq!(full.budget, before.budget);
    assert!(full.audit.starts_with(&before.audit));

    // With room again, the same ask is answered, for one charge.
    node.process.kill().await;
    node = network.start(NODE, &[]).await;
    let answer = node.client.ask(&ask).await.expect("an answer");
    let after = network.books(NODE, Some(answer.envelope.audit)).await;
    assert_eq!(after.charges(), 1);
    assert!(after.audit.starts_with(&full.audit));
}

/// Writes refusals into the audit log until that fails.
async fn fill(network: &Network, node: &ward_tests::network::RunningNode) {
    let bad = network.ask(TEMPLATE, &[("as_of", "not a date")]);
    for _ in 0..2_000 {
        let refused = node.client.ask(&bad).await.expect_err("refused");
        if refused.code() == ErrorCode::LedgerUnavailable
            || node.process.said().contains("a refusal can't be audited")
        {
            return;
        }
        assert_eq!(refused.code(), ErrorCode::ParameterInvalid);
    }
    panic!("the disk never filled up:\n{}", node.process.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_snapshot_is_never_the_active_one() {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let whole = active(&network);
    let snapshots = whole.parent().expect("snapshots");
    let half = snapshots.join(".import-0123456789abcdef0123456789abcdef");
    fs::create_dir_all(half.join("person")).expect("a directory");
    fs::write(half.join("person/000.parquet"), "PAR1").expect("half a file");
    let node = network.start(NODE, &[]).await;
    let answer = node
        .client
        .ask(&network.ask(TEMPLATE, &[]))
        .await
        .expect("an answer");
    let id = whole.file_name().expect("an identity").to_string_lossy();
    assert_eq!(answer.envelope.claims.snapshot.to_string(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_answers_nothing_and_costs_nothing() {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let part = active(&network).join("person").join("000.parquet");
    let content = fs::read(&part).expect("a file");
    let before = network.books(NODE, None).await;
    fs::write(&part, &content[..content.len() / 2]).expect("half a file");
    let node = network.start(NODE, &[]).await;
    let ask = network.ask(TEMPLATE, &[]);
    for refused in [
        node.client.quote(&ask).await.map(|_| ()),
        node.client.ask(&ask).await.map(|_| ()),
    ] {
        let refused = refused.expect_err("no whole data");
        assert_eq!(refused.code(), ErrorCode::NodeNotReady);
        assert!(refused.message.contains("import"), "{}", refused.message);
        assert!(!refused.message.contains("person"), "{}", refused.message);
    }
    fs::write(&part, content).expect("the file again");
    network.books(NODE, None).await.assert_as_before(&before);
    node.client
        .ask(&ask)
        .await
        .expect("an answer from whole data");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_leaves_the_old_snapshot() {
    let network = Plan::generated(&[60]).make(PROGRAMS).await;
    let (before, old) = (network.books(NODE, None).await, active(&network));
    let import = |stop: &str| {
        let mut command = Command::new(network.node_program());
        let node = NODE.parse().expect("a name");
        command.arg(network.deployment().node_config(&node));
        command.arg(network.deployment().source(&node).expect("a folder"));
        command.env("WARD_TEST_STOP_AT", stop);
        Process::start(command)
    };
    let mut import_killed = import("measurement");
    import_killed.line("stopped at ").await;
    import_killed.kill().await;
    let snapshots = || {
        fs::read_dir(old.parent().expect("snapshots"))
            .expect("a directory")
            .count()
    };
    assert_eq!(snapshots(), 2, "half of a new one lies there");
    assert_eq!(active(&network), old);
    network.books(NODE, None).await.assert_as_before(&before);
    let node = network.start(NODE, &[]).await;
    let ask = network.ask(TEMPLATE, &[]);
    let answer = node.client.ask(&ask).await.expect("an answer");
    let of = |path: &Path| {
        path.file_name()
            .expect("an identity")
            .to_string_lossy()
            .into_owned()
    };
    assert_eq!(answer.envelope.claims.snapshot.to_string(), of(&old));

    // The next import clears up, and its snapshot makes the same question another ask.
    let imported = import("").line("imported ").await;
    assert_eq!(imported, of(&active(&network)));
    assert_eq!(snapshots(), 2, "the old and the new one");
    let answer = node.client.ask(&ask).await.expect("an answer");
    assert_eq!(answer.envelope.claims.snapshot.to_string(), imported);
    assert_eq!(network.books(NODE, None).await.charges(), 2);
}

/// The active snapshot's directory.
fn active(network: &Network) -> PathBuf {
    let data = network.config(NODE).data_dir;
    let id = fs::read_to_string(data.join("active")).expect("a pointer");
    data.join("snapshots").join(id.trim())
}
