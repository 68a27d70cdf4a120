//! Frontends, backends and servers as HAProxy's statistics have them: a row for each, a number for each
//! column.
//!
//! The metrics `haproxy_*` and the statistics page of the admin port are both made of these rows, so the
//! two cannot disagree. Columns are those of HAProxy's CSV, counted from 0.

use crate::{
    proxy::{record::Frontend, stats::RouterStats},
    snapshot::{CompiledRoute, Server, Snapshot},
    stats::{
        Counter, UpstreamCounters, UpstreamStats,
        window::{self, Window},
    },
};

/// Columns by the names that HAProxy gives them.
pub mod column {
    #![expect(missing_docs, reason = "the names are HAProxy's")]
    pub const QCUR: u16 = 2;
    pub const QMAX: u16 = 3;
    pub const SCUR: u16 = 4;
    pub const SMAX: u16 = 5;
    pub const SLIM: u16 = 6;
    pub const STOT: u16 = 7;
    pub const BIN: u16 = 8;
    pub const BOUT: u16 = 9;
    pub const DREQ: u16 = 10;
    pub const EREQ: u16 = 12;
    pub const ECON: u16 = 13;
    pub const ERESP: u16 = 14;
    pub const WRETR: u16 = 15;
    pub const WREDIS: u16 = 16;
    pub const STATUS: u16 = 17;
    pub const WEIGHT: u16 = 18;
    pub const ACT: u16 = 19;
    pub const CHKFAIL: u16 = 21;
    pub const CHKDOWN: u16 = 22;
    pub const LASTCHG: u16 = 23;
    pub const DOWNTIME: u16 = 24;
    pub const RATE: u16 = 33;
    pub const RATE_LIM: u16 = 34;
    pub const RATE_MAX: u16 = 35;
    pub const CHECK_DURATION: u16 = 38;
    pub const HRSP_1XX: u16 = 39;
    pub const HRSP_OTHER: u16 = 44;
    pub const REQ_RATE: u16 = 46;
    pub const REQ_RATE_MAX: u16 = 47;
    pub const REQ_TOT: u16 = 48;
    pub const QTIME: u16 = 58;
    pub const CTIME: u16 = 59;
    pub const RTIME: u16 = 60;
    pub const TTIME: u16 = 61;
    pub const CONN_RATE: u16 = 77;
    pub const CONN_RATE_MAX: u16 = 78;
    pub const CONN_TOT: u16 = 79;
    pub const CONNECT: u16 = 84;
    pub const REUSE: u16 = 85;
}

/// A number of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// A count, a level, or seconds.
    Count(u64),
    /// Microseconds, which HAProxy shows as whole milliseconds.
    Micros(u64),
}

impl Figure {
    /// In whole units, as HAProxy shows it.
    #[must_use]
    pub const fn whole(self) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Micros(micros) => micros / 1000,
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A frontend, and how many connections the router may have.
    Frontend(Frontend, &'a RouterStats, u64),
    /// The backend of a route, and how many connections the router may have.
    Backend(&'a CompiledRoute, u64),
    /// A server of the backend of a route.
    Server(&'a CompiledRoute, &'a Server),
}

/// All rows: frontends, then each backend behind its servers.
pub fn all<'a>(
    snapshot: &'a Snapshot,
    stats: &'a RouterStats,
    limit: u64,
) -> impl Iterator<Item = Row<'a>> {
    let frontends = Frontend::ALL.into_iter().map(move |it| Row::Frontend(it, stats, limit));
    let routes = snapshot.routes.iter().filter_map(|route| route.compiled.as_deref());
    let backends = routes.flat_map(move |route| {
        let servers = route.backend.servers.iter().map(move |server| Row::Server(route, server));
        servers.chain([Row::Backend(route, limit)])
    });
    frontends.chain(backends)
}

impl Row<'_> {
    /// The number in `column`; nothing where HAProxy leaves it empty for such a row.
    #[must_use]
    pub fn figure(&self, column: u16) -> Option<Figure> {
        match *self {
            Row::Frontend(frontend, stats, limit) => {
                of_frontend(frontend, stats, limit, column).map(Figure::Count)
            },
            Row::Backend(route, limit) => of_backend(route, limit, column),
            Row::Server(_, server) => of_server(server, column),
        }
    }

    /// True when it takes requests [MET-4].
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self {
            Row::Frontend(..) => true,
            // HAProxy calls a backend without any server up.
            Row::Backend(route, _) => {
                let servers = &route.backend.servers;
                servers.is_empty() || servers.iter().any(|server| server.peer.is_up())
            },
            Row::Server(_, server) => server.peer.is_up(),
        }
    }

    /// HAProxy's word for [`Self::is_up`].
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Row::Frontend(..) => "OPEN",
            Row::Server(_, server) if !server.checked => "no check",
            _ if self.is_up() => "UP",
            _ => "DOWN",
        }
    }
}

fn of_frontend(frontend: Frontend, stats: &RouterStats, limit: u64, column: u16) -> Option<u64> {
    let cells = &stats.frontends[frontend as usize];
    let levels = &stats.levels[frontend as usize];
    Some(match column {
        column::SCUR => u64::try_from(levels.open.load()).unwrap_or(0),
        column::SMAX => levels.most_open.load(),
        column::SLIM => limit,
        column::STOT | column::CONN_TOT => cells.sum(|cell| &cell.connections),
        column::BIN => cells.sum(|cell| &cell.bytes_in),
        column::BOUT => cells.sum(|cell| &cell.bytes_out),
        column::DREQ => cells.sum(|cell| &cell.denied),
        column::EREQ => cells.sum(|cell| &cell.request_errors),
        column::STATUS => 1,
        column::RATE | column::CONN_RATE => levels.rate.now(),
        column::RATE_LIM => 0,
        column::RATE_MAX | column::CONN_RATE_MAX => levels.rate.most(),
        column::HRSP_1XX..=column::HRSP_OTHER => {
            let class = usize::from(column - column::HRSP_1XX);
            cells.sum(|cell| &cell.responses[class])
        },
        column::REQ_RATE => levels.requests.now(),
        column::REQ_RATE_MAX => levels.requests.most(),
        column::REQ_TOT => cells.sum(|cell| &cell.requests),
        _ => return None,
    })
}

fn of_backend(route: &CompiledRoute, limit: u64, column: u16) -> Option<Figure> {
    let servers = &route.backend.servers;
    let up = || servers.iter().filter(|server| server.peer.is_up());
    let count = match column {
        column::SLIM => servers
            .iter()
            .map(|server| server.gate.as_ref().map(|gate| gate.limit() as u64))
            .sum::<Option<u64>>()
            .filter(|_| !servers.is_empty())
            .map_or(limit, |sum| sum.min(limit)),
        column::STATUS => u64::from(Row::Backend(route, limit).is_up()),
        column::WEIGHT => up().map(|server| u64::from(server.weight)).sum(),
        column::ACT => up().count() as u64,
        _ => return of_upstream(&route.backend.stats, column),
    };
    Some(Figure::Count(count))
}

fn of_server(server: &Server, column: u16) -> Option<Figure> {
    let (peer, checked) = (&server.peer, server.checked);
    let count = match column {
        column::SLIM => server.gate.as_ref()?.limit() as u64,
        column::STATUS => u64::from(peer.is_up()),
        column::WEIGHT => u64::from(server.weight),
        column::ACT => 1,
        column::CHKFAIL if checked => peer.check_failures.load(),
        column::CHKDOWN if checked => peer.times_down(),
        column::LASTCHG if checked => peer.last_change()?.as_secs(),
        column::DOWNTIME if checked => peer.downtime().as_secs(),
        column::CHECK_DURATION if checked => peer.check_millis(),
        _ => return of_upstream(&server.stats, column),
    };
    Some(Figure::Count(count))
}

/// What backends and servers count alike.
fn of_upstream(stats: &UpstreamStats, column: u16) -> Option<Figure> {
    let sum = |counter: fn(&UpstreamCounters) -> &Counter| stats.workers.sum(counter);
    let mean = |pick: fn(&UpstreamCounters) -> &Window| {
        Some(Figure::Micros(window::mean(stats.workers.cells().map(pick))))
    };
    let count = match column {
        column::QCUR => u64::try_from(stats.queued.load()).unwrap_or(0),
        column::QMAX => stats.most_queued.load(),
        column::SCUR => stats.in_flight(),
        column::SMAX => stats.most_in_flight.load(),
        column::STOT => sum(|cell| &cell.requests),
        column::BIN => sum(|cell| &cell.bytes_in),
        column::BOUT => sum(|cell| &cell.bytes_out),
        column::ECON => sum(|cell| &cell.connection_errors),
        column::ERESP => sum(|cell| &cell.response_errors),
        column::WRETR => sum(|cell| &cell.retries),
        column::WREDIS => sum(|cell| &cell.redispatches),
        column::RATE => stats.rate.now(),
        column::RATE_MAX => stats.rate.most(),
        column::HRSP_1XX..=column::HRSP_OTHER => {
            let class = usize::from(column - column::HRSP_1XX);
            stats.workers.sum(|cell| &cell.responses[class])
        },
        column::QTIME => return mean(|cell| &cell.queue_time),
        column::CTIME => return mean(|cell| &cell.connect_time),
        column::RTIME => return mean(|cell| &cell.response_time),
        column::TTIME => return mean(|cell| &cell.total_time),
        column::CONNECT => sum(|cell| &cell.connects),
        column::REUSE => sum(|cell| &cell.reused),
        _ => return None,
    };
    Some(Figure::Count(count))
}
