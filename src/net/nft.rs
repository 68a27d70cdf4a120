//! The rules of the kernel's packet filter, by the `nft` tool in the network namespace of this process.
//!
//! Called by `vip` and `nlb`. Always holds: a script is one transaction, which is there as a whole or
//! not at all; no call takes longer than `LIMIT`; nothing is left of a tool that did not end.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    time::timeout,
};

/// Longest time of one call.
const LIMIT: Duration = Duration::from_secs(30);
/// The most that is read of what the tool says; a listing of 10 000 Services has about 20 MB.
const SAID: u64 = 256 << 20;
/// The most of its complaints that an error repeats.
const QUOTED: usize = 2000;

/// Runs `script` with `nft -f -`: all of it, or nothing when an error comes back.
///
/// # Errors
/// `NotFound` when there is no `nft`, `PermissionDenied` without CAP_NET_ADMIN, `TimedOut` when it took
/// too long, or else what `nft` says of the script.
pub async fn apply(script: &str) -> io::Result<()> {
    let Said { status, complaints, .. } = call(&["-f", "-"], script).await?;
    if status.success() { Ok(()) } else { Err(failure(status, &complaints)) }
}

/// What the table has, without elements of sets; none when there is no such table.
///
/// # Errors
/// As [`apply`].
pub async fn table(family: &str, name: &str) -> io::Result<Option<String>> {
    let said = call(&["-t", "list", "table", family, name], "").await?;
    if said.status.success() {
        Ok(Some(said.output))
    } else if said.complaints.contains("No such file or directory") {
        Ok(None)
    } else {
        Err(failure(said.status, &said.complaints))
    }
}

/// How a call ended.
struct Said {
    status: ExitStatus,
    output: String,
    complaints: String,
}

async fn call(arguments: &[&str], input: &str) -> io::Result<Said> {
    let mut tool = Tool::start("nft", arguments)?;
    let talked = timeout(LIMIT, tool.talk(input)).await;
    // Its streams are at their end, or it is not waited for any longer.
    let status = tool.end(talked.is_err()).await?;
    let (output, complaints) =
        talked.map_err(|_late| io::Error::new(io::ErrorKind::TimedOut, "nft did not end"))??;
    Ok(Said { status, output, complaints })
}

/// Why it failed, in one sentence or in its own words.
fn failure(status: ExitStatus, complaints: &str) -> io::Error {
    if complaints.contains("Operation not permitted") {
        let needs = "nft may not change the packet filter: this needs root, or CAP_NET_ADMIN in this \
                     network namespace";
        return io::Error::new(io::ErrorKind::PermissionDenied, needs);
    }
    let mut end = complaints.len().min(QUOTED);
    while !complaints.is_char_boundary(end) {
        end -= 1;
    }
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("nft: {status}: {}", complaints[..end].trim_end()),
    )
}

/// A tool that runs.
struct Tool {
    child: Child,
    input: Option<pipe::Sender>,
    output: pipe::Receiver,
    errors: pipe::Receiver,
}

impl Tool {
    fn start(name: &str, arguments: &[&str]) -> io::Result<Self> {
        let spawned = Command::new(name)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let needs = format!("there is no {name} in PATH: install the package nftables");
                io::Error::new(error.kind(), needs)
            },
            _ => error,
        })?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("a tool without its pipes"));
        };
        Ok(Self {
            child,
            input: Some(pipe::Sender::from_owned_fd(OwnedFd::from(input))?),
            output: pipe::Receiver::from_owned_fd(OwnedFd::from(output))?,
            errors: pipe::Receiver::from_owned_fd(OwnedFd::from(errors))?,
        })
    }

    /// Gives it `script`; what it prints and what it complains of, both to their end.
    async fn talk(&mut self, script: &str) -> io::Result<(String, String)> {
        let (mut said, mut complaints) = (Vec::new(), Vec::new());
        let input = self.input.take();
        let write = async {
            if let Some(mut input) = input {
                // A tool that ends early says itself why.
                let _ = input.write_all(script.as_bytes()).await;
            }
        };
        let (mut output, mut errors) =
            ((&mut self.output).take(SAID), (&mut self.errors).take(SAID));
        let read = output.read_to_end(&mut said);
        let ((), read, heard) = tokio::join!(write, read, errors.read_to_end(&mut complaints));
        read.and(heard)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&said), text(&complaints)))
    }

    /// Waits for its end, which `now` brings about.
    async fn end(self, now: bool) -> io::Result<ExitStatus> {
        let Self { mut child, input, output, errors } = self;
        // One that still writes is told that nobody reads.
        drop((input, output, errors));
        if now {
            child.kill()?;
        }
        // It has closed its streams or is killed, so this is not long.
        let waited = tokio::task::spawn_blocking(move || child.wait()).await;
        waited.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_failure_says_what_is_needed() {
        let status = ExitStatus::from_raw(1 << 8);
        for (complaints, kind, says) in [
            ("Error: Operation not permitted", io::ErrorKind::PermissionDenied, "CAP_NET_ADMIN"),
            ("Error: syntax error\n", io::ErrorKind::InvalidInput, "nft: exit status: 1: Error"),
        ] {
            let error = failure(status, complaints);
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(says), "{error}");
        }
        let long = failure(status, &"\u{e4}".repeat(5000)).to_string();
        assert!(long.len() < QUOTED + 100, "{}", long.len());
    }

    /// More than a pipe holds goes in and comes out.
    #[tokio::test]
    async fn a_tool_is_given_all_and_heard_to_its_end() {
        let script = format!("{}\n", "x".repeat(1023)).repeat(1 << 10);
        let copy = "while read -r line; do echo \"$line\"; done";
        let mut tool = Tool::start("/bin/sh", &["-c", copy]).unwrap();
        let (said, complaints) = timeout(LIMIT, tool.talk(&script)).await.unwrap().unwrap();
        assert!(said == script && complaints.is_empty());
        assert!(tool.end(false).await.unwrap().success());
    }

    #[tokio::test]
    async fn a_tool_that_does_not_end_is_ended() {
        let tool = Tool::start("/bin/sh", &["-c", "read -r what_never_comes"]).unwrap();
        assert_eq!(tool.end(true).await.unwrap().signal(), Some(libc::SIGKILL));
    }

    #[tokio::test]
    async fn a_tool_that_is_not_there_is_named() {
        let error = Tool::start("wharf-has-no-such-tool", &[]).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("install the package"), "{error}");
    }
}
