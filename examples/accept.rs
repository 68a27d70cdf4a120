//! Measures two ways for worker threads to accept: one listening descriptor that all of them share,
//! and a socket with SO_REUSEPORT for each.
//!
//! Run by `bench/accept`. Workers have the shape of wharf's: a thread with a single-threaded runtime
//! that accepts until there is nothing left and serves what it accepted. Nothing but accepting,
//! answering a byte with a byte and closing is done, so the figures are the cost of accepting alone.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Connections at once.
const CONNECTIONS: [usize; 4] = [1, 2, 8, 64];

/// Connections opened and closed in one round.
const CHURN: usize = 6_000;

/// Requests on each held connection in one round.
const REQUESTS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Shared,
    PerWorker,
}

impl Mode {
    const ALL: [Self; 2] = [Self::Shared, Self::PerWorker];

    const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::PerWorker => "reuseport",
        }
    }
}

/// What a worker did.
#[derive(Debug, Default)]
struct Done {
    accepted: AtomicU64,
    requests: AtomicU64,
    /// Calls of accept(2) that found nothing.
    empty: AtomicU64,
}

/// Running workers; stopped when told to.
struct Workers {
    address: SocketAddr,
    done: Vec<Arc<Done>>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<Cost>>,
}

fn listening(address: SocketAddr, reuse: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_port(reuse)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn listeners(mode: Mode, workers: usize) -> io::Result<(SocketAddr, Vec<StdListener>)> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = listening(any, mode == Mode::PerWorker)?;
    let address = first.local_addr()?;
    let mut all = Vec::with_capacity(workers);
    for _ in 1..workers {
        all.push(match mode {
            Mode::Shared => first.try_clone()?,
            Mode::PerWorker => listening(address, true)?,
        });
    }
    all.push(first);
    Ok((address, all))
}

impl Workers {
    fn start(mode: Mode, workers: usize) -> io::Result<Self> {
        let (address, listeners) = listeners(mode, workers)?;
        let stop = CancellationToken::new();
        let done: Vec<Arc<Done>> = (0..workers).map(|_| Arc::default()).collect();
        let threads = listeners
            .into_iter()
            .zip(&done)
            .map(|(listener, done)| {
                let (done, stop) = (Arc::clone(done), stop.clone());
                std::thread::spawn(move || work(listener, &done, &stop))
            })
            .collect();
        Ok(Self { address, done, stop, threads })
    }

    /// Stops; what the threads cost.
    fn stop(self) -> Cost {
        self.stop.cancel();
        let costs = self.threads.into_iter().map(|thread| thread.join().expect("no panic"));
        costs.fold(Cost::default(), |sum, cost| Cost {
            nanos: sum.nanos + cost.nanos,
            sleeps: sum.sleeps + cost.sleeps,
        })
    }

    fn sum(&self, field: impl Fn(&Done) -> &AtomicU64) -> u64 {
        self.done.iter().map(|done| field(done).load(Relaxed)).sum()
    }

    /// Share of the busiest worker, percent.
    fn largest(&self, field: impl Fn(&Done) -> &AtomicU64) -> u64 {
        let largest = self.done.iter().map(|done| field(done).load(Relaxed)).max().unwrap_or(0);
        (largest * 100).checked_div(self.sum(field)).unwrap_or(0)
    }
}

/// What a thread cost, by the kernel's accounting.
#[derive(Debug, Default)]
struct Cost {
    nanos: u64,
    /// Times that it went to sleep, to be woken again.
    sleeps: u64,
}

impl Cost {
    /// Of this thread, so far.
    fn read() -> Option<Self> {
        let read = |file| std::fs::read_to_string(format!("/proc/thread-self/{file}")).ok();
        let nanos = read("schedstat")?.split(' ').next()?.parse().ok()?;
        let status = read("status")?;
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Some(Self { nanos, sleeps: sleeps?.trim().parse().ok()? })
    }
}

/// A worker's thread, to its end.
fn work(listener: StdListener, done: &Arc<Done>, stop: &CancellationToken) -> Cost {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            failed = accept(listener, done) => failed.expect("accepting works"),
            () = stop.cancelled() => {},
        }
    });
    drop(runtime);
    Cost::read().expect("Linux")
}

/// Accepts for ever. tokio says "pending" when it was woken and accept(2) found nothing.
async fn accept(listener: StdListener, done: &Arc<Done>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = std::future::poll_fn(|cx| {
            let accepted = listener.poll_accept(cx);
            done.empty.fetch_add(u64::from(accepted.is_pending()), Relaxed);
            accepted
        });
        let (stream, _) = accepted.await?;
        done.accepted.fetch_add(1, Relaxed);
        // Ends with the client.
        tokio::task::spawn_local(answer(stream, Arc::clone(done)));
    }
}

/// A byte for each byte.
async fn answer(mut stream: TcpStream, done: Arc<Done>) -> io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {
        stream.write_all(&byte).await?;
        done.requests.fetch_add(1, Relaxed);
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A reset instead of TIME_WAIT, so that ports do not run out.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

async fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"x").await?;
    stream.read_exact(&mut [0]).await.map(drop)
}

/// `at_once` clients that connect, ask once and close, again and again.
async fn churn(address: SocketAddr, at_once: usize) -> io::Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        clients.spawn(async move {
            for _ in 0..CHURN / at_once {
                ask(&mut connect(address).await?).await?;
            }
            Ok::<_, io::Error>(())
        });
    }
    clients.join_all().await.into_iter().collect()
}

/// `at_once` connections, opened one after the other, that are kept and ask again and again.
async fn hold(address: SocketAddr, at_once: usize) -> io::Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        let mut stream = connect(address).await?;
        ask(&mut stream).await?;
        clients.spawn(async move {
            for _ in 1..REQUESTS {
                ask(&mut stream).await?;
            }
            Ok::<_, io::Error>(())
        });
    }
    clients.join_all().await.into_iter().collect()
}

/// One round of one mode.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    micros: f64,
    empty: f64,
    sleeps: f64,
    churn_share: u64,
    held_share: u64,
    request_share: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn round(
    client: &tokio::runtime::Runtime,
    mode: Mode,
    workers: usize,
    n: usize,
) -> io::Result<Round> {
    let churned = Workers::start(mode, workers)?;
    client.block_on(churn(churned.address, n))?;
    let connections = churned.sum(|done| &done.accepted) as f64;
    let mut round = Round {
        empty: churned.sum(|done| &done.empty) as f64 / connections,
        churn_share: churned.largest(|done| &done.accepted),
        ..Round::default()
    };
    let cost = churned.stop();
    round.micros = cost.nanos as f64 / 1000.0 / connections;
    round.sleeps = cost.sleeps as f64 / connections;
    let held = Workers::start(mode, workers)?;
    client.block_on(hold(held.address, n))?;
    round.held_share = held.largest(|done| &done.accepted);
    round.request_share = held.largest(|done| &done.requests);
    held.stop();
    Ok(round)
}

fn median<T: PartialOrd + Copy>(rounds: &[Round], field: impl Fn(&Round) -> T) -> T {
    let mut values: Vec<T> = rounds.iter().map(field).collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    values[values.len() / 2]
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (workers, rounds): (usize, usize) = (number(2), number(9));
    let client = Builder::new_current_thread().enable_all().build()?;
    println!("{workers} workers, medians of {rounds} rounds; shares are the busiest worker's, %");
    println!("conns  mode       cpu µs/conn  empty/conn  sleeps/conn  churn  held  requests");
    for n in CONNECTIONS {
        let mut all = Mode::ALL.map(|_| Vec::with_capacity(rounds));
        for _ in 0..rounds {
            for (mode, all) in Mode::ALL.into_iter().zip(&mut all) {
                all.push(round(&client, mode, workers, n)?);
            }
        }
        for (mode, all) in Mode::ALL.iter().zip(&all) {
            println!(
                "{n:>5}  {:<9}  {:>11.2}  {:>10.2}  {:>11.2}  {:>5}  {:>4}  {:>8}",
                mode.name(),
                median(all, |round| round.micros),
                median(all, |round| round.empty),
                median(all, |round| round.sleeps),
                median(all, |round| round.churn_share),
                median(all, |round| round.held_share),
                median(all, |round| round.request_share),
            );
        }
    }
    Ok(())
}
