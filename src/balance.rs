//! L2: which endpoint of a backend takes the next request (spec/route.md 15).
//!
//! A [`Balancer`] is built per backend at compile and asked once per request and once per retry. It
//! knows servers by index; whether one is usable and how busy it is are questions to the caller.
//! Picking allocates nothing, never yields weight 0, and yields something whenever a usable server
//! of positive weight is left.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

mod weights;

pub use weights::{MAX_WEIGHT, endpoint_weights};

/// How the next server is chosen [LB-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Fewest requests in flight relative to weight; round robin between equals.
    Leastconn,
    /// Two draws by weight, the less loaded one.
    Random,
    /// Weighted round robin, spread evenly over the cycle.
    RoundRobin,
    /// By the client's address.
    Source,
}

impl Algorithm {
    /// Reads HAProxy's word for it, as annotations and settings spell it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "leastconn" => Some(Self::Leastconn),
            "random" => Some(Self::Random),
            "roundrobin" => Some(Self::RoundRobin),
            "source" => Some(Self::Source),
            _ => None,
        }
    }

    /// HAProxy's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leastconn => "leastconn",
            Self::Random => "random",
            Self::RoundRobin => "roundrobin",
            Self::Source => "source",
        }
    }
}

/// The router's own choice where a route makes none; `None` for what is unset or not valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// `ROUTER_LOAD_BALANCE_ALGORITHM`.
    pub algorithm: Option<Algorithm>,
    /// `ROUTER_TCP_BALANCE_SCHEME`.
    pub tcp: Option<Algorithm>,
}

impl Defaults {
    /// The algorithm of an HTTP backend [LB-1]. `annotation` is the route's valid choice;
    /// `weighted_services` counts its services with positive weight, endpoints or not.
    #[must_use]
    pub fn for_http(self, annotation: Option<Algorithm>, weighted_services: usize) -> Algorithm {
        chosen(annotation, weighted_services).or(self.algorithm).unwrap_or(Algorithm::Random)
    }

    /// The algorithm of a passthrough backend [LB-1]; arguments as for [`Self::for_http`].
    #[must_use]
    pub fn for_passthrough(
        self,
        annotation: Option<Algorithm>,
        weighted_services: usize,
    ) -> Algorithm {
        chosen(annotation, weighted_services)
            .or(self.tcp)
            .or(self.algorithm)
            .unwrap_or(Algorithm::Source)
    }
}

/// What the route itself decides.
fn chosen(annotation: Option<Algorithm>, weighted_services: usize) -> Option<Algorithm> {
    annotation.or_else(|| (weighted_services > 1).then_some(Algorithm::RoundRobin))
}

/// Chooses the servers of one backend.
#[derive(Debug)]
pub struct Balancer {
    algorithm: Algorithm,
    weights: Box<[u16]>,
    /// Running sums of `weights`, for random draws.
    sums: Box<[u64]>,
    /// One cycle of the round robin.
    schedule: Box<[usize]>,
    /// Next slot of the cycle; shared by all workers and carried over between snapshots.
    position: Arc<AtomicUsize>,
    /// A number for each server that stays with it, when [`Algorithm::Source`] is to move as few
    /// clients as can be; empty otherwise.
    identities: Box<[u64]>,
}

impl Balancer {
    /// A balancer for servers with these weights. `position` is where the round robin stands.
    #[must_use]
    pub fn new(algorithm: Algorithm, weights: &[u16], position: Arc<AtomicUsize>) -> Self {
        let schedule = match algorithm {
            Algorithm::RoundRobin => weights::schedule(weights),
            Algorithm::Leastconn | Algorithm::Random | Algorithm::Source => Vec::new(),
        };
        let sums = weights.iter().scan(0, |sum, &w| {
            *sum += u64::from(w);
            Some(*sum)
        });
        Self {
            algorithm,
            weights: weights.into(),
            sums: sums.collect(),
            schedule: schedule.into(),
            position,
            identities: Box::default(),
        }
    }

    /// The same, but [`Algorithm::Source`] hashes consistently, as it does for passthrough: a server
    /// that comes or goes moves no clients but its own [LB-2]. `identities` are as many as servers;
    /// see [`identity`].
    #[must_use]
    pub fn consistent(mut self, identities: Box<[u64]>) -> Self {
        debug_assert_eq!(identities.len(), self.weights.len());
        self.identities = identities;
        self
    }

    /// The algorithm in use.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where the round robin stands, to be carried over into the next snapshot.
    #[must_use]
    pub const fn position(&self) -> &Arc<AtomicUsize> {
        &self.position
    }

    /// The server for a new request, `None` when no server of positive weight is usable. `draw` is
    /// a fresh random number; with [`Algorithm::Source`] it is [`source_hash`] of the client.
    #[must_use]
    pub fn pick(
        &self,
        draw: u64,
        usable: impl Fn(usize) -> bool,
        load: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        self.pick_excluding(draw, &[], usable, load)
    }

    /// The server for a retry: as [`Self::pick`], but none of `tried`.
    #[must_use]
    pub fn pick_excluding(
        &self,
        draw: u64,
        tried: &[usize],
        usable: impl Fn(usize) -> bool,
        load: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        let fit = |i: usize| self.weights[i] > 0 && !tried.contains(&i) && usable(i);
        match self.algorithm {
            Algorithm::Leastconn => self.least_loaded(fit, load),
            Algorithm::Random => self.two_choices(draw, fit, load),
            Algorithm::RoundRobin => self.next_in_turn(fit),
            Algorithm::Source if self.identities.is_empty() => self.by_share(draw, fit),
            Algorithm::Source => self.by_rendezvous(draw, fit),
        }
    }

    /// The next fit server of the cycle. What is passed over has had its turn: it does not fall to the
    /// one behind it each time.
    fn next_in_turn(&self, fit: impl Fn(usize) -> bool) -> Option<usize> {
        if self.schedule.is_empty() {
            return None;
        }
        let start = self.position.fetch_add(1, Relaxed) % self.schedule.len();
        let (before, from) = self.schedule.split_at(start);
        let mut turns = from.iter().chain(before).copied();
        match turns.position(fit) {
            Some(0) => Some(self.schedule[start]),
            Some(passed) => {
                self.position.fetch_add(passed, Relaxed);
                Some(self.schedule[(start + passed) % self.schedule.len()])
            },
            None => {
                // Nobody had a turn.
                self.position.fetch_sub(1, Relaxed);
                None
            },
        }
    }

    /// The fit server with the lowest load per weight; equals take turns.
    fn least_loaded(
        &self,
        fit: impl Fn(usize) -> bool,
        load: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        let (mut least, mut equals) = (None::<(i64, u16)>, 0);
        let fits = || (0..self.weights.len()).filter(|&i| fit(i));
        for i in fits() {
            let this = (load(i), self.weights[i]);
            match least {
                Some(least) if is_lighter(least, this) => {},
                Some(least) if !is_lighter(this, least) => equals += 1,
                _ => (least, equals) = (Some(this), 1),
            }
        }
        let least = least?;
        let turn = self.position.fetch_add(1, Relaxed) % equals;
        // Loads move while this runs, so the second pass may find fewer equals, or none.
        let equal = |&i: &usize| !is_lighter(least, (load(i), self.weights[i]));
        let mut last = None;
        for (nth, i) in fits().filter(equal).enumerate() {
            last = Some(i);
            if nth == turn {
                break;
            }
        }
        last.or_else(|| fits().next())
    }

    /// The less loaded of two draws by weight.
    fn two_choices(
        &self,
        draw: u64,
        fit: impl Fn(usize) -> bool,
        load: impl Fn(usize) -> i64,
    ) -> Option<usize> {
        let first = self.draw(mix(draw), &fit)?;
        let second = self.draw(mix(!draw), &fit)?;
        let weighed = |i: usize| (load(i), self.weights[i]);
        Some(if is_lighter(weighed(second), weighed(first)) { second } else { first })
    }

    /// A fit server, drawn by weight.
    fn draw(&self, draw: u64, fit: impl Fn(usize) -> bool) -> Option<usize> {
        let total = self.sums.last().copied().filter(|&total| total > 0)?;
        let point = draw % total;
        let drawn = self.sums.partition_point(|&sum| sum <= point);
        // Drawing again among the fit ones alone keeps their shares exact.
        if fit(drawn) { Some(drawn) } else { self.by_share(mix(draw), fit) }
    }

    /// Maps `point` onto the fit servers, each as wide as its weight.
    fn by_share(&self, point: u64, fit: impl Fn(usize) -> bool) -> Option<usize> {
        let fits = || (0..self.weights.len()).filter(|&i| fit(i));
        let total: u64 = fits().map(|i| u64::from(self.weights[i])).sum();
        let mut point = point.checked_rem(total)?;
        let mut last = None;
        for i in fits() {
            last = Some(i);
            match point.checked_sub(u64::from(self.weights[i])) {
                Some(rest) => point = rest,
                None => break,
            }
        }
        last
    }

    /// The fit server that `point` rates highest. Each rates by itself and its weight alone (weighted
    /// rendezvous hashing), so the others do not matter.
    fn by_rendezvous(&self, point: u64, fit: impl Fn(usize) -> bool) -> Option<usize> {
        let rating = |i: usize| {
            // 53 bits, all that a float holds, strictly between 0 and 1.
            let bits = mix(point ^ self.identities[i]) >> 11;
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
            let share = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
            -f64::from(self.weights[i]) / share.ln()
        };
        (0..self.identities.len())
            .filter(|&i| fit(i))
            .map(|i| (i, rating(i)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(i, _)| i)
    }
}

/// The number that stands for a server in [`Balancer::consistent`]: the same in every replica.
#[must_use]
pub fn identity(server: SocketAddr) -> u64 {
    mix(source_hash(server.ip()) ^ u64::from(server.port()))
}

/// The random number behind `draw`.
#[must_use]
pub const fn next_draw(draw: u64) -> u64 {
    mix(draw)
}

/// Another random number for a server alone, of the one that a request is balanced by. The same client
/// has the same one for as long as `draw` is its [`source_hash`].
#[must_use]
pub fn draw_for(server: SocketAddr, draw: u64) -> u64 {
    mix(draw ^ identity(server))
}

/// The number that stands for a client with [`Algorithm::Source`]: the same in every worker and
/// replica. An IPv4 address mapped into IPv6 counts as itself.
#[must_use]
pub fn source_hash(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => mix(u64::from(ip.to_bits())),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments().map(u64::from);
            let (high, low) = (a << 48 | b << 32 | c << 16 | d, e << 48 | f << 32 | g << 16 | h);
            mix(mix(high) ^ low)
        },
    }
}

/// Whether `a` carries less load per weight than `b`.
fn is_lighter(a: (i64, u16), b: (i64, u16)) -> bool {
    a.0.saturating_mul(i64::from(b.1)) < b.0.saturating_mul(i64::from(a.1))
}

/// One step of splitmix64: spreads every input bit over the output.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
