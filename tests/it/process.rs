//! The binary itself: signals, exit codes, what it says when it cannot start, and how it lives with few
//! descriptors.

mod backpressure;
mod dns;
mod header_env;
mod router_dns;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::Arc,
    time::Instant,
};

use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use crate::harness::{
    client::{self, Client},
    eventually,
    http2::{self, Http2},
    manifest::{self, With as _, app, route},
    pod::{Act, Pod},
    within,
};

const HOST: &str = "a.example.com";

fn wharf(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Runs the binary to its end; commands that end by themselves only.
async fn run(arguments: &[&str], folder: &Path) -> Output {
    let mut command = wharf(arguments);
    command.current_dir(folder);
    let output = tokio::task::spawn_blocking(move || command.output());
    within("the command", output).await.expect("no panic").expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running `wharf router`, killed when dropped.
struct Router {
    child: Child,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
    /// What it logged before it listened.
    said: String,
    _folder: TempDir,
    log: BufReader<ChildStderr>,
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Router {
    /// Starts one over `objects` with these variables and waits until it serves.
    async fn start(objects: &[Value], variables: &[(&'static str, &'static str)]) -> Self {
        Self::limited("", objects, variables).await
    }

    /// As [`Self::start`], behind a line of shell such as `ulimit -n 256;`.
    async fn limited(
        first: &str,
        objects: &[Value],
        variables: &[(&'static str, &'static str)],
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("main.yaml"), manifest::text(objects))
            .expect("the folder is writable");
        let any = "127.0.0.1:0";
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .stdin(Stdio::null())
            .args(["-c", &format!("{first} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_wharf")])
            .args(["router", "--log-json", "--no-access-log", "--workers", "2"])
            .args(["--http", any, "--https", any, "--admin", any])
            .args(["--allow-loopback-endpoints", "--manifests"])
            .arg(folder.path())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("a pipe");
        let reads = tokio::task::spawn_blocking(move || listening(stderr));
        let Listening { log, said, http, https, admin } =
            within("the router to listen", reads).await.expect("it says where");
        let router = Self { child, http, https, admin, said, _folder: folder, log };
        eventually("the route", async || {
            let mut client = Client::connect(http).await;
            (client.get(HOST, "/ready").await.status() == 200).then_some(())
        })
        .await;
        router
    }

    /// Sends a signal. The shell's own `kill`: the standard library has none.
    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("/bin/sh").args(["-c", "kill -$0 $1", name, &id]).status();
        assert!(status.expect("a shell").success());
    }

    /// Waits for the end; the exit code and the rest of the log.
    async fn ended(mut self) -> (Option<i32>, String) {
        let code = eventually("the process to end", async || {
            self.child.try_wait().expect("our child").map(|status| status.code())
        })
        .await;
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("the log is text");
        (code, rest)
    }
}

struct Listening {
    log: BufReader<ChildStderr>,
    said: String,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

/// Reads the log up to the line that tells the ports.
fn listening(stderr: ChildStderr) -> Listening {
    let mut log = BufReader::new(stderr);
    let (mut said, mut line) = (String::new(), String::new());
    while log.read_line(&mut line).expect("the log is text") > 0 {
        let event: Value = serde_json::from_str(&line).expect("a JSON line");
        if event["fields"]["message"] == "listening" {
            let address = |name| {
                let text = event["fields"][name].as_str().expect("an address");
                text.parse().expect("an address")
            };
            let [http, https, admin] = ["http", "https", "admin"].map(address);
            return Listening { log, said, http, https, admin };
        }
        said.push_str(&line);
        line.clear();
    }
    unreachable!("the router ended without listening");
}

/// A pod that answers `/ready` at once and anything else never.
async fn pod() -> Pod {
    Pod::start(|seen| match seen.target() {
        "/ready" => Act::Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
        _ => Act::Stall(Vec::new()),
    })
    .await
}

/// A client whose request is at the pod and stays there.
async fn hold(router: &Router, pod: &Pod) -> Client<TcpStream> {
    let mut held = Client::connect(router.http).await;
    held.send(client::get(HOST, "/held")).await;
    eventually("the request at the pod", async || {
        pod.seen().iter().any(|seen| seen.target() == "/held").then_some(())
    })
    .await;
    held
}

/// SIGTERM announces, waits for the delay, and ends with code 0. SIGINT does the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_16_a_signal_ends_with_code_0() {
    for signal in ["TERM", "INT"] {
        let pod = pod().await;
        let objects = app(route("a", HOST), &[pod.address]);
        let delay = [("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "2s")];
        let router = Router::start(&objects, &delay).await;
        let mut kept = Client::connect(router.http).await;
        assert_eq!(kept.get(HOST, "/ready").await.header("connection"), None);
        router.signal(signal);
        eventually("the goodbye", async || {
            let mut client = Client::connect(router.http).await;
            let answer = client.get(HOST, "/ready").await;
            assert_eq!(answer.status(), 200, "still within the delay");
            (answer.header("connection") == Some("close")).then_some(())
        })
        .await;
        let (code, log) = router.ended().await;
        assert_eq!(code, Some(0), "{signal}: {log}");
        assert!(log.contains("draining"), "{log}");
    }
}

/// a second signal ends the process at once with code 1, whatever is in flight.
/// [SHUT-1]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_18_a_second_signal_ends_with_code_1() {
    let pod = pod().await;
    let objects = app(route("a", HOST), &[pod.address]);
    // Longer than this test may take.
    let router = Router::start(&objects, &[("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "1h")]).await;
    let mut held = hold(&router, &pod).await;
    router.signal("TERM");
    eventually("the goodbye", async || {
        let mut client = Client::connect(router.http).await;
        (client.get(HOST, "/ready").await.header("connection") == Some("close")).then_some(())
    })
    .await;
    router.signal("TERM");
    let (code, log) = router.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(held.response().await.cut);
}

/// The grace ends what does not end by itself, and the exit code is still 0.
/// [SHUT-1]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_bounds_the_stop() {
    let pod = pod().await;
    let objects = app(route("a", HOST), &[pod.address]);
    let variables =
        [("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "1ms"), ("ROUTER_MAX_SHUTDOWN_TIMEOUT", "1")];
    let router = Router::start(&objects, &variables).await;
    let mut held = hold(&router, &pod).await;
    router.signal("TERM");
    let (code, log) = router.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the grace is over"), "{log}");
    assert!(held.response().await.cut);
}

/// A port that is taken: one sentence with the port and the way out, exit code 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let any = "127.0.0.1:0";
    let output = run(
        &["router", "--http", &address, "--https", any, "--admin", any, "--manifests", "."],
        folder.path(),
    )
    .await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let expected = format!(
        "wharf: cannot listen on {address}: another process has this port; stop it or use another \
         port\n"
    );
    assert!(said.ends_with(&expected), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// Usage errors are exit code 2 and say what to do; help and version are 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_errors_are_code_2() {
    let folder = TempDir::new().unwrap();
    let rows: [(&[&str], i32); 8] = [
        (&[], 2),
        (&["nonsense"], 2),
        (&["router", "--http", "nonsense"], 2),
        (&["router", "--nonsense"], 2),
        (&["check"], 2),
        (&["--help"], 0),
        (&["router", "--help"], 0),
        (&["--version"], 0),
    ];
    for (arguments, code) in rows {
        let output = run(arguments, folder.path()).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        let said = if code == 0 { &output.stdout } else { &output.stderr };
        assert!(!said.is_empty(), "{arguments:?}");
    }
}

/// [START-1]: a default certificate that cannot be used stops the start with its reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_default_certificate_stops_the_start() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("bad.pem"), "nonsense").unwrap();
    let any = "127.0.0.1:0";
    for (file, says) in [("bad.pem", "default certificate"), ("missing.pem", "missing.pem")] {
        let arguments = ["router", "--http", any, "--https", any, "--admin", any];
        let more = ["--manifests", ".", "--default-cert", file];
        let output = run(&[&arguments[..], &more].concat(), folder.path()).await;
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(text(&output.stderr).contains(says), "{file}: {}", text(&output.stderr));
    }
}

/// [HOST-3, SHARD-1, START-1]: settings that cannot stand together, and selectors that are none, stop the start
/// with one sentence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_1_settings_that_contradict_each_other_stop_the_start() {
    let folder = TempDir::new().unwrap();
    let rows: [(&[&str], i32, &str); 5] = [
        (&["--override-hostname"], 1, "needs ROUTER_SUBDOMAIN"),
        (&["--override-domains", "a.test"], 1, "needs ROUTER_SUBDOMAIN"),
        (&["--namespace", "a", "--namespace-labels", "b"], 1, "only one of --namespace"),
        (&["--labels", "a in b"], 2, "expected a list such as (a, b) behind in or notin"),
        (&["--router-canonical-hostname", "10.0.0.1"], 2, "expected a DNS name"),
    ];
    for (flags, code, says) in rows {
        let any = "127.0.0.1:0";
        let arguments = ["router", "--http", any, "--https", any, "--admin", any];
        let output = run(&[&arguments[..], flags].concat(), folder.path()).await;
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
        assert!(text(&output.stderr).contains(says), "{flags:?}: {}", text(&output.stderr));
    }
}

/// `wharf check`: 0 without errors, 1 with one, and the finding names file, line and column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_where_and_exits_1() {
    let folder = TempDir::new().unwrap();
    let good = manifest::text(&app(route("a", HOST), &[([10, 0, 0, 1], 80).into()]));
    std::fs::write(folder.path().join("good.yaml"), good).unwrap();
    let output = run(&["check", "."], folder.path()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let bad = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: b, namespace: app}\n\
               spec:\n  host: b.example.com\n  to: {kind: Service, name: a, weight: many}\n";
    std::fs::write(folder.path().join("bad.yaml"), bad).unwrap();
    let output = run(&["check", "."], folder.path()).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("bad.yaml:6:"), "{said}");
    assert!(said.contains("WH1"), "{said}");
}

/// [ADM-3]: what looks at manifests has the settings that the router would have of the same variables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_get_see_the_variables_of_the_router() {
    let folder = TempDir::new().unwrap();
    let wildcard = route("a", HOST).with("/spec/wildcardPolicy", "Subdomain");
    let objects = manifest::text(&app(wildcard, &[([10, 0, 0, 1], 80).into()]));
    std::fs::write(folder.path().join("all.yaml"), objects).unwrap();
    for (allowed, code) in [("false", 1), ("true", 0)] {
        for arguments in [&["check", "."][..], &["get", "routes", "--manifests", "."]] {
            let mut command = wharf(arguments);
            command.current_dir(folder.path()).env("ROUTER_ALLOW_WILDCARD_ROUTES", allowed);
            let output = tokio::task::spawn_blocking(move || command.output());
            let output = within("the command", output).await.unwrap().unwrap();
            let said = text(&output.stdout);
            assert_eq!(said.contains("RouteNotAdmitted"), code == 1 && arguments[0] == "get");
            if arguments[0] == "check" {
                assert_eq!(output.status.code(), Some(code), "{said}");
            }
        }
    }
}

/// The value of a metric without labels, asked for on `admin`.
async fn metric(admin: &mut Client<TcpStream>, name: &str) -> u64 {
    let answer = admin.get("localhost", "/metrics").await;
    assert_eq!(answer.status(), 200);
    let text = answer.text();
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        rest.strip_prefix(' ').map(str::to_owned)
    };
    let line = text.lines().find_map(value);
    assert!(line.is_some(), "no {name} in\n{text}");
    line.and_then(|value| value.parse().ok()).expect("a number")
}

/// The limit on open files is raised as far as it goes without a privilege.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_on_open_files_is_raised_at_start() {
    let pod = pod().await;
    let objects = app(route("a", HOST), &[pod.address]);
    let router = Router::limited("ulimit -S -n 128;", &objects, &[]).await;
    let mut admin = Client::connect(router.admin).await;
    let limit = metric(&mut admin, "process_max_fds").await;
    assert!(limit > 128, "{limit}");
    // Whether it is enough is another matter.
    assert_eq!(limit < 100_144, router.said.contains("fewer connections"), "{}", router.said);
}

/// with 256 descriptors 1,000 clients get their answers, 56 connections at a time; those that are
/// in never see an error, and the descriptors never run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_35_the_limit_on_connections_is_lowered_to_what_descriptors_allow() {
    const ALLOWED: u64 = 56;
    const CLIENTS: usize = 1_000;
    wharf::net::descriptors::raise().expect("room for the clients");
    let pod = pod().await;
    let objects = app(route("a", HOST), &[pod.address]);
    let router = Router::limited("ulimit -n 256;", &objects, &[]).await;
    assert_eq!(router.said.matches("fewer connections at once than wanted").count(), 1);
    assert!(router.said.contains("\"allowed\":56"), "{}", router.said);
    let mut admin = Client::connect(router.admin).await;
    assert_eq!(metric(&mut admin, "haproxy_max_connections").await, ALLOWED);
    let mut existing = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(router.http).await;
        assert_eq!(client.get(HOST, "/ready").await.status(), 200);
        existing.push(client);
    }
    let go = Arc::new(Semaphore::new(0));
    let mut crowd = JoinSet::new();
    for _ in 0..CLIENTS {
        let (go, http) = (Arc::clone(&go), router.http);
        crowd.spawn(async move {
            let stream = TcpStream::connect(http).await.expect("never refused");
            let mut client = Client::over(stream);
            client.stream.write_all(client::get(HOST, "/ready").as_bytes()).await.expect("open");
            // Its turn may be long in coming, so that there is no limit to this.
            let mut first = [0; 15];
            client.stream.read_exact(&mut first).await.expect("an answer");
            assert_eq!(&first, b"HTTP/1.1 200 OK");
            let _stays_open = go.acquire().await;
        });
    }
    eventually("as many as are allowed", async || {
        (metric(&mut admin, "wharf_connections").await == ALLOWED).then_some(())
    })
    .await;
    for _ in 0..20 {
        for client in &mut existing {
            assert_eq!(client.get(HOST, "/ready").await.status(), 200);
        }
    }
    assert_eq!(metric(&mut admin, "wharf_connections").await, ALLOWED);
    assert!(metric(&mut admin, "wharf_connection_limit_reached_total").await > 0);
    go.add_permits(CLIENTS);
    within("everybody", async {
        while let Some(served) = crowd.join_next().await {
            served.expect("served");
        }
    })
    .await;
    for client in &mut existing {
        assert_eq!(client.get(HOST, "/ready").await.status(), 200);
    }
    assert_eq!(metric(&mut admin, "wharf_accept_errors_total").await, 0);
    // The test's own end of every descriptor is closed; the router's are, too.
    eventually("descriptors to be free", async || {
        (metric(&mut admin, "process_open_fds").await < 128).then_some(())
    })
    .await;
}

/// when descriptors do run out (streams of HTTP/2 need one each towards the pod), accepting waits
/// and is counted, but neither ends nor spins; who is in is served, and afterwards everybody is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_35_accepting_outlives_the_end_of_descriptors() {
    const STREAMS: usize = 100;
    let (pod, other) = (pod().await, pod().await);
    let mut objects = app(route("a", HOST), &[pod.address]);
    objects.extend(app(route("b", "b.example.com"), &[other.address]));
    let router = Router::limited("ulimit -n 256;", &objects, &[]).await;
    let mut admin = Client::connect(router.admin).await;
    let mut existing = Client::connect(router.http).await;
    assert_eq!(existing.get("b.example.com", "/ready").await.status(), 200);
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let stream = TcpStream::connect(router.http).await.expect("there is room yet");
        let mut client = Http2::over(stream).await;
        let streams: Vec<_> = (0..STREAMS)
            .map(|_| {
                let url = format!("http://{HOST}/held");
                tokio::spawn(client.start(Request::get(url).body(http2::body("")).expect("one")))
            })
            .collect();
        greedy.push((client, streams));
    }
    let mut waiting = Vec::new();
    let since = Instant::now();
    let errors = eventually("accepting to fail", async || {
        // Until then they are let in, and take what is left.
        let mut client = Client::connect(router.http).await;
        client.send(client::get(HOST, "/ready")).await;
        waiting.push(client);
        assert_eq!(existing.get("b.example.com", "/ready").await.status(), 200);
        let errors = metric(&mut admin, "wharf_accept_errors_total").await;
        (errors > 3).then_some(errors)
    })
    .await;
    for _ in 0..200 {
        assert_eq!(existing.get("b.example.com", "/ready").await.status(), 200);
    }
    let more = metric(&mut admin, "wharf_accept_errors_total").await - errors;
    // Two workers, a pause of 50 ms each; what spins would make thousands.
    let most = 4 + since.elapsed().as_millis() / 50 * 2;
    assert!(u128::from(more) <= most, "{more} errors, at most {most} expected");
    for (client, streams) in greedy {
        streams.iter().for_each(JoinHandle::abort);
        drop(client);
    }
    let last = waiting.last_mut().expect("one that waited");
    assert_eq!(last.response().await.status(), 200, "it had only to wait");
    assert_eq!(Client::connect(router.http).await.get(HOST, "/ready").await.status(), 200);
}
