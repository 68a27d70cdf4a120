//! What runs within a network namespace: this test binary once more, told by lines what to open, and
//! answering by lines.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// Marks a line of an agent among those of the test runner.
const MARK: &str = "agent> ";
/// Set for an agent.
const ROLE: &str = "WHARF_TEST_AGENT";
/// How long a peer may stay silent until it counts as silent.
const SILENCE: Duration = Duration::from_millis(600);
/// How long an agent may think.
const LIMIT: Duration = Duration::from_secs(60);

/// The agent's own end: does what it is told until its input ends.
#[test]
fn agent() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let mut hands = Hands::default();
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match hands.act(&words) {
            Ok(answer) => format!("ok {answer}"),
            Err(error) => format!("err {:?}", error.kind()),
        };
        writeln!(std::io::stdout(), "{MARK}{answer}").expect("somebody listens");
    }
}

/// What an agent holds.
#[derive(Default)]
struct Hands {
    streams: HashMap<usize, TcpStream>,
    sockets: HashMap<String, UdpSocket>,
    next: usize,
}

impl Hands {
    fn act(&mut self, words: &[&str]) -> std::io::Result<String> {
        match *words {
            ["tcp", at, name] => serve_tcp(TcpListener::bind(at)?, name),
            ["udp", at, name] => serve_udp(UdpSocket::bind(at)?, name),
            ["open", target, source] => {
                let (said, stream) = open(target, source)?;
                self.next += 1;
                self.streams.insert(self.next, stream);
                return Ok(format!("{} {said}", self.next));
            },
            ["many", count, target] => return many(count, target),
            ["echo", id] => {
                let stream = self.streams.get_mut(&id.parse().expect("a number"));
                let stream = stream.expect("it was opened");
                stream.write_all(b"ping")?;
                let mut answer = [0; 4];
                stream.read_exact(&mut answer)?;
                assert_eq!(&answer, b"ping");
            },
            ["send", name, target] => return self.send(name, target),
            ["exit"] => std::process::abort(),
            _ => return Err(ErrorKind::Unsupported.into()),
        }
        Ok(String::new())
    }

    /// A datagram from the socket of that name, and its answer.
    fn send(&mut self, name: &str, target: &str) -> std::io::Result<String> {
        let target: SocketAddr = target.parse().expect("an address");
        if !self.sockets.contains_key(name) {
            let any = if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(SILENCE))?;
            self.sockets.insert(name.to_owned(), socket);
        }
        let socket = &self.sockets[name];
        // Connected, so that a refusal is heard.
        socket.connect(target)?;
        // What was heard too late is about an earlier one.
        let _earlier = socket.take_error()?;
        socket.send(b"?")?;
        let mut answer = [0; 200];
        let length = socket.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

fn serve_tcp(listener: TcpListener, name: &str) {
    let name = name.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let name = name.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                let Ok(peer) = stream.peer_addr() else { return };
                if writeln!(stream, "{name} {}", peer.ip()).is_err() {
                    return;
                }
                let mut room = [0; 100];
                while let Ok(length @ 1..) = stream.read(&mut room) {
                    if stream.write_all(&room[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn serve_udp(socket: UdpSocket, name: &str) {
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut room = [0; 100];
        while let Ok((_, peer)) = socket.recv_from(&mut room) {
            let _sent = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

fn open(target: &str, source: &str) -> std::io::Result<(String, TcpStream)> {
    let target: SocketAddr = target.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if source != "-" {
        let source = SocketAddr::new(source.parse().expect("an address"), 0);
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&target.into(), SILENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    let mut line = String::new();
    BufReader::with_capacity(1, &stream).read_line(&mut line)?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((line.trim_end().to_owned(), stream))
}

/// How often which pod has answered, and what else came.
fn many(count: &str, target: &str) -> std::io::Result<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..count.parse().expect("a number") {
        let (said, _) = open(target, "-")?;
        let name = said.split(' ').next().unwrap_or_default();
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    let shown: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    Ok(shown.join(" "))
}

/// An agent as a test holds it.
pub(super) struct Agent {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Agent {
    /// Starts one in the namespace of that name.
    pub(super) fn start(namespace: &str) -> Self {
        let binary = std::env::current_exe().expect("this binary");
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(binary)
            .args(["--exact", "nft::agent::agent", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip is installed");
        let input = child.stdin.take().expect("piped");
        let (send, answers) = mpsc::channel();
        let output = child.stdout.take().expect("piped");
        std::thread::spawn(move || pass_on(output, &send));
        Self { child, input, answers }
    }

    /// Its answer: what it says, or the kind of its error.
    pub(super) fn ask(&mut self, order: &str) -> Result<String, String> {
        writeln!(self.input, "{order}").expect("the agent runs");
        let answer = self.answers.recv_timeout(LIMIT);
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {order:?}"));
        match answer.split_once(' ') {
            Some(("ok", rest)) => Ok(rest.to_owned()),
            Some(("err", kind)) => Err(kind.to_owned()),
            _ => panic!("{order:?}: {answer:?}"),
        }
    }

    /// Its answer, which is no error.
    pub(super) fn does(&mut self, order: &str) -> String {
        self.ask(order).unwrap_or_else(|kind| panic!("{order:?}: {kind}"))
    }

    /// A connection: its number, the pod's name, and the client as the pod has seen it.
    pub(super) fn open(&mut self, target: &str) -> Result<(String, String, String), String> {
        self.open_from(target, "-")
    }

    pub(super) fn open_from(
        &mut self,
        target: &str,
        source: &str,
    ) -> Result<(String, String, String), String> {
        let said = self.ask(&format!("open {target} {source}"))?;
        let words: Vec<&str> = said.split(' ').collect();
        let [id, name, seen] = words[..] else { panic!("{said:?}") };
        Ok((id.to_owned(), name.to_owned(), seen.to_owned()))
    }

    /// The pod that a new connection has.
    pub(super) fn pod(&mut self, target: &str) -> String {
        let opened = self.open(target);
        opened.unwrap_or_else(|kind| panic!("{target}: {kind}")).1
    }
}

fn pass_on(output: ChildStdout, answers: &mpsc::Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // The runner may have written the beginning of the line.
        if let Some((_, answer)) = line.split_once(MARK)
            && answers.send(answer.to_owned()).is_err()
        {
            return;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
