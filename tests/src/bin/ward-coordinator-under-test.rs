//! The coordinator as it ships, started by a test: `ward-coordinator-under-test CONFIG`.

use std::path::Path;

use tokio::net::TcpListener;
use ward_coordinator::{Config, Coordinator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ward_transport::install_crypto_provider();
    ward_tests::process::log_to_stderr();
    ward_tests::process::end_with_the_test();
    let file = std::env::args().nth(1).ok_or("give a configuration")?;
    let config = Config::load(Path::new(&file))?;
    let listener = TcpListener::bind(config.listen).await?;
    let coordinator = Coordinator::open(config).await?;
    println!("listening on {}", listener.local_addr()?);
    coordinator.serve(listener, std::future::pending()).await;
    Ok(())
}
