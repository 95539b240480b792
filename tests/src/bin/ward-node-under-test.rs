//! The node as it ships, with hooks for tests: `ward-node-under-test CONFIG` serves, and
//! `ward-node-under-test CONFIG DIR` imports a folder.
//!
//! `WARD_TEST_FREEZE=zero` adds no noise; partials say so, and coordinators refuse them.
//! `WARD_TEST_FREEZE=panic` panics where noise should be drawn.
//! `WARD_TEST_STOP_AT=STAGE` stops for ever when an ask reaches that stage, and says so on stdout;
//! `WARD_TEST_STOP_AT=TABLE` does so when an import comes to that table.
//! This binary is never published: it is the only one that can freeze noise.

use std::path::Path;
use std::sync::Arc;

use ward_data::Progress;
use ward_node::{Config, Node, NodeOptions, Stage, Stages, Steward};
use ward_privacy::{FrozenNoise, NoiseSource};
use ward_schemas::rho::Sigma;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ward_transport::install_crypto_provider();
    ward_tests::process::log_to_stderr();
    ward_tests::process::end_with_the_test();
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("give a configuration")?;
    let config = Config::load(Path::new(&file))?;
    match arguments.next() {
        None => serve(config).await,
        Some(folder) => import(config, Path::new(&folder)).await,
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let options = NodeOptions {
        noise: noise()?,
        stages: stop()?.map(|stop| Arc::new(stop) as Arc<dyn Stages>),
        ..NodeOptions::default()
    };
    let node = Node::open(config, options).await?;
    let listener = node.listen().await?;
    println!("listening on {}", listener.local_addr()?);
    node.serve(listener, std::future::pending()).await?;
    Ok(())
}

async fn import(config: Config, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let steward = Steward::open(config).await?;
    let report = steward.import_omop(folder, Arc::new(StopAtTable)).await?;
    println!("imported {}", report.snapshot);
    Ok(())
}

fn noise() -> Result<NoiseSource, String> {
    match std::env::var("WARD_TEST_FREEZE").as_deref() {
        Err(_) => Ok(NoiseSource::discrete_gaussian()),
        Ok("zero") => Ok(NoiseSource::frozen(Box::new(Zero))),
        Ok("panic") => Ok(NoiseSource::frozen(Box::new(Panic))),
        Ok(other) => Err(format!("WARD_TEST_FREEZE={other}: use zero or panic")),
    }
}

fn stop() -> Result<Option<StopAt>, String> {
    match std::env::var("WARD_TEST_STOP_AT").as_deref() {
        Err(_) => Ok(None),
        Ok("before-charge") => Ok(Some(StopAt(Stage::BeforeCharge))),
        Ok("after-charge") => Ok(Some(StopAt(Stage::AfterCharge))),
        Ok("after-noise") => Ok(Some(StopAt(Stage::AfterNoise))),
        Ok("before-reply") => Ok(Some(StopAt(Stage::BeforeReply))),
        Ok(other) => Err(format!("WARD_TEST_STOP_AT={other}: no such stage")),
    }
}

#[derive(Debug)]
struct Zero;

impl FrozenNoise for Zero {
    fn draw(&self, _sigma: Sigma, length: usize) -> Vec<i64> {
        vec![0; length]
    }
}

#[derive(Debug)]
struct Panic;

impl FrozenNoise for Panic {
    fn draw(&self, _sigma: Sigma, _length: usize) -> Vec<i64> {
        panic!("no noise today");
    }
}

struct StopAt(Stage);

impl Stages for StopAt {
    fn reached(&self, stage: Stage) {
        if stage == self.0 {
            println!("stopped at {stage:?}");
            park();
        }
    }
}

struct StopAtTable;

impl Progress for StopAtTable {
    fn table(&self, name: &str, _total_bytes: u64) {
        if std::env::var("WARD_TEST_STOP_AT").is_ok_and(|table| table == name) {
            println!("stopped at {name}");
            park();
        }
    }

    fn advanced(&self, _bytes: u64) {}

    fn finished(&self) {}
}

/// Only `kill` ends this.
fn park() -> ! {
    loop {
        std::thread::park();
    }
}
