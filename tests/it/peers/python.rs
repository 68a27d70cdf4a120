//! Peers written in Python: the scripts of `tests/peers`, run by the interpreter that
//! `WHARF_PEERS_PYTHON` names (`python3` otherwise), which has the packages that they import.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use super::{LONG, output_of};
use crate::harness::within;

/// The interpreter.
pub(super) fn interpreter() -> OsString {
    std::env::var_os("WHARF_PEERS_PYTHON").unwrap_or_else(|| "python3".into())
}

/// Where a script is.
pub(super) fn path(script: &str) -> String {
    format!("{}/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"))
}

fn command(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(path(script)).args(arguments);
    command
}

/// How often a script is started whose interpreter dies of a signal: extensions in native code do so
/// now and then on a busy machine (seen once, SIGABRT, without a word). What a script finds is final.
const STARTS: usize = 3;

/// What a script printed, after it ended well.
pub(super) async fn says(script: &str, arguments: &[&str]) -> String {
    let mut left = STARTS;
    let output = loop {
        let output = output_of(command(script, arguments), LONG).await;
        left -= 1;
        if output.status.signal().is_none() || left == 0 {
            break output;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("scripts print text")
}

/// A script that serves on 127.0.0.1 until this is dropped, and prints its port first.
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    process: Child,
}

impl Server {
    pub(super) async fn start(script: &str, arguments: &[&str]) -> Self {
        let mut command = command(script, arguments);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("the interpreter runs");
        let output = process.stdout.take().expect("it is piped");
        let line = tokio::task::spawn_blocking(|| BufReader::new(output).lines().next());
        let line = within("the server's port", line).await.expect("no panic");
        let port = line.and_then(Result::ok).and_then(|line| line.parse::<u16>().ok());
        let address = ([127, 0, 0, 1], port.expect("the script prints its port")).into();
        Self { address, process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
