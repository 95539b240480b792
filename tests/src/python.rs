//! Python scripts that check Ward from outside, with packages from PyPI.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// What the scripts import.
const PACKAGES: [&str; 2] = ["duckdb>=1.1", "pyarrow>=17"];
/// Makes a missing Python a failure; for CI.
const REQUIRED: &str = "WARD_TEST_REQUIRE_PYTHON";

/// A Python with the packages.
pub struct Python {
    interpreter: PathBuf,
}

impl Python {
    /// Python with its packages, in a virtual environment that is made once under `dir`. Where
    /// that can't be, says so on stderr; then the test has nothing to do.
    pub fn get(dir: &str) -> Option<&'static Self> {
        static PYTHON: OnceLock<Option<Python>> = OnceLock::new();
        let python = PYTHON.get_or_init(|| match environment(Path::new(dir)) {
            Ok(interpreter) => Some(Self { interpreter }),
            Err(reason) => {
                assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED}: {reason}");
                // Past the test harness, which would swallow it.
                let _ = writeln!(std::io::stderr(), "SKIPPED: tests with Python: {reason}");
                None
            }
        });
        python.as_ref()
    }

    /// Runs a script of `tests/python` with JSON on its standard input, and reads the JSON that it
    /// writes.
    pub fn run(&self, script: &str, arguments: &[&Path], input: &Value) -> Value {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("python")
            .join(script);
        let mut child = Command::new(&self.interpreter)
            .arg(file)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the interpreter runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A script that reads nothing has closed it.
        let _ = stdin.write_all(input.to_string().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("output");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {complaint}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// The interpreter of the virtual environment.
fn environment(dir: &Path) -> Result<PathBuf, String> {
    let home = dir.join("venv");
    let interpreter = home.join("bin").join("python");
    let ready = home.join(".ready");
    fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    let lock = File::create(dir.join("venv.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&ready).is_ok_and(|has| has == wanted) {
        return Ok(interpreter);
    }
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&home),
    )?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    done(Command::new(&interpreter).args(pip).args(PACKAGES))?;
    fs::write(ready, wanted).map_err(|e| e.to_string())?;
    Ok(interpreter)
}

fn done(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let last = String::from_utf8_lossy(&output.stderr);
    let last = last.lines().last().unwrap_or_default().to_owned();
    Err(format!("{command:?}: {last}"))
}
