//! Peak memory, each side in a process of its own.

use std::env;
use std::process::Command;

use tokio::runtime::Runtime;

use crate::Comparison;
use crate::files::Files;
use crate::private::Private;

const SIDE: &str = "WARD_BENCH_SIDE";

/// Private over plain peak memory of the first comparison.
pub(crate) fn ratio() -> f64 {
    let peak = |side: &str| {
        let program = env::current_exe().expect("this program");
        let output = Command::new(program)
            .env(SIDE, side)
            .output()
            .expect("child");
        let text = String::from_utf8(output.stdout).expect("text");
        let peak: f64 = text.trim().parse().expect("kibibytes");
        println!("peak_memory: {side} {:.0} MiB", peak / 1024.0);
        peak
    };
    let plain = peak("plain");
    peak("private") / plain
}

/// In a child: runs its side once, and prints the process's peak in KiB.
pub(crate) fn child(runtime: &Runtime, files: &Files, comparison: &Comparison) -> bool {
    match env::var(SIDE).as_deref() {
        Ok("plain") => runtime.block_on(crate::plain(files, comparison.plain)),
        Ok("private") => runtime.block_on(Private::compile(comparison).run(files)),
        _ => return false,
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|l| l.split_whitespace().next());
    println!("{}", peak.expect("a peak"));
    true
}
