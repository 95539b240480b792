//! Services as processes.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running process. It is killed when dropped, and ends by itself when the test process dies.
pub struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    said: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a program.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a program that runs");
        let said = Arc::new(Mutex::new(String::new()));
        let (tell, lines) = mpsc::unbounded_channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        tokio::spawn(listen(stdout, Arc::clone(&said), Some(tell)));
        tokio::spawn(listen(stderr, Arc::clone(&said), None));
        Self { child, lines, said }
    }

    /// What follows `prefix` on the next line of stdout that starts with it.
    pub async fn line(&mut self, prefix: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return rest.to_owned();
                }
            }
            panic!("ended without {prefix:?}:\n{}", said(&self.said));
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(rest) => rest,
            Err(_) => panic!("never said {prefix:?}:\n{}", said(&self.said)),
        }
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process to kill");
    }

    /// Waits until it ends by itself, and tells what it said.
    pub async fn ended(mut self) -> (bool, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("an end").expect("a status");
        while self.lines.recv().await.is_some() {}
        (status.success(), said(&self.said))
    }

    /// All it has said so far, on stdout and stderr.
    pub fn said(&self) -> String {
        said(&self.said)
    }
}

/// For programs under test: ends the program when the test that started it is gone, however that
/// came about. The test holds the other end of stdin.
pub fn end_with_the_test() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(2);
    });
}

/// For programs under test: logs as the services do.
pub fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

async fn listen(
    from: impl AsyncRead + Unpin,
    said: Arc<Mutex<String>>,
    tell: Option<mpsc::UnboundedSender<String>>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(&line);
        said.push('\n');
        drop(said);
        if let Some(tell) = &tell {
            // The test may have stopped listening.
            let _ = tell.send(line);
        }
    }
}

fn said(said: &Mutex<String>) -> String {
    said.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
