//! The statistics page of HAProxy, as CSV and as HTML [ADMIN-6].
//!
//! Made by `admin` from the rows that are the metrics, too. The columns of the CSV are the 103 that every
//! HAProxy since 2.6 begins with; what there is nothing to say about is empty, as HAProxy leaves it.

use std::fmt::Write as _;

use crate::{
    model::route::Termination,
    proxy::stats::RouterStats,
    snapshot::{CompiledRoute, Server, Snapshot},
    telemetry::rows::{self, Row, column},
};

/// The first line. HAProxy's own goes on behind `agg_check_status` with columns that differ from release
/// to release.
pub const HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,\
eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,\
lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,\
hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,\
comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,\
agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,\
agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,\
reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,\
idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,\
agg_server_check_status,agg_check_status,";

/// Number of columns.
const COLUMNS: u16 = 103;

/// All rows as CSV.
pub(super) fn csv(snapshot: &Snapshot, stats: &RouterStats, limit: u64) -> String {
    let mut out = String::from(HEADER);
    out.push('\n');
    let mut place = Place::default();
    for row in rows::all(snapshot, stats, limit) {
        place.next(&row);
        for column in 0..COLUMNS {
            match text(&row, place, column) {
                Text::Empty => {},
                Text::Word(word) => quoted(&mut out, &word),
                // Writing into a String does not fail.
                Text::Number(number) => _ = write!(out, "{number}"),
            }
            out.push(',');
        }
        out.push('\n');
    }
    out
}

/// Numbers of a row's proxy and of its server in it, from 1; a server's proxy is the backend behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    proxy: u64,
    server: u64,
    ended: bool,
}

impl Place {
    fn next(&mut self, row: &Row<'_>) {
        if self.ended || self.proxy == 0 {
            (self.proxy, self.server) = (self.proxy + 1, 0);
        }
        self.ended = !matches!(row, Row::Server(..));
        self.server = if self.ended { 0 } else { self.server + 1 };
    }
}

enum Text {
    Empty,
    Word(String),
    Number(u64),
}

fn text(row: &Row<'_>, place: Place, column: u16) -> Text {
    let word = |word: &str| Text::Word(word.to_owned());
    match column {
        0 => word(proxy(row)),
        1 => Text::Word(match row {
            Row::Frontend(..) => "FRONTEND".to_owned(),
            Row::Backend(..) => "BACKEND".to_owned(),
            Row::Server(_, server) => name(server),
        }),
        column::STATUS => word(row.status()),
        // One process, and the numbers of what the row is about.
        26 => Text::Number(1),
        27 => Text::Number(place.proxy),
        28 => Text::Number(place.server),
        32 => Text::Number(match row {
            Row::Frontend(..) => 0,
            Row::Backend(..) => 1,
            Row::Server(..) => 2,
        }),
        73 => match row {
            Row::Server(_, server) => word(&server.label),
            _ => Text::Empty,
        },
        75 => word(mode(row)),
        76 => match row {
            Row::Backend(route, _) => word(route.backend.balancer.algorithm().as_str()),
            _ => Text::Empty,
        },
        _ => row.figure(column).map_or(Text::Empty, |figure| Text::Number(figure.whole())),
    }
}

fn proxy<'a>(row: &Row<'a>) -> &'a str {
    match *row {
        Row::Frontend(frontend, ..) => frontend.name(),
        Row::Backend(route, _) | Row::Server(route, _) => &route.backend.name,
    }
}

fn mode(row: &Row<'_>) -> &'static str {
    let tcp = match row {
        Row::Frontend(frontend, ..) => *frontend == crate::proxy::record::Frontend::PublicSsl,
        Row::Backend(route, _) | Row::Server(route, _) => {
            route.termination == Termination::Passthrough
        },
    };
    if tcp { "tcp" } else { "http" }
}

/// A server's name in OpenShift's HAProxy: `pod:POD:SERVICE:PORT:ADDRESS`, without the port's name, which
/// nothing here needs.
fn name(server: &Server) -> String {
    let Server { pod, service, label, .. } = server;
    if pod.is_empty() {
        format!("ept:{service}::{label}")
    } else {
        format!("pod:{pod}:{service}::{label}")
    }
}

/// A field of the CSV, in quotes where it needs them (RFC 4180 2).
fn quoted(out: &mut String, word: &str) {
    if word.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&word.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(word);
    }
}

/// Columns of the page, with their heads.
const SHOWN: [(u16, &str); 15] = [
    (column::QCUR, "Queue"),
    (column::QMAX, "Queue max"),
    (column::RATE, "Rate"),
    (column::RATE_MAX, "Rate max"),
    (column::SCUR, "Sessions"),
    (column::SMAX, "Sessions max"),
    (column::SLIM, "Limit"),
    (column::STOT, "Total"),
    (column::BIN, "Bytes in"),
    (column::BOUT, "Bytes out"),
    (column::ECON, "Conn. errors"),
    (column::ERESP, "Resp. errors"),
    (column::WRETR, "Retries"),
    (column::WEIGHT, "Weight"),
    (column::DOWNTIME, "Downtime, s"),
];

/// All rows as a page that needs nothing else: no script, no style, no picture.
pub(super) fn html(snapshot: &Snapshot, stats: &RouterStats, limit: u64) -> String {
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Statistics</title>\
         </head>\n<body>\n<h1>Statistics</h1>\n<p><a href=\"/;csv\">CSV</a> <a href=\"/metrics\">\
         Metrics</a></p>\n<table border=\"1\">\n<tr><th>Proxy</th><th>Server</th><th>Status</th>",
    );
    for (_, head) in SHOWN {
        let _ = write!(out, "<th>{head}</th>");
    }
    out.push_str("</tr>\n");
    for row in rows::all(snapshot, stats, limit) {
        let server = match &row {
            Row::Frontend(..) => "Frontend".to_owned(),
            Row::Backend(route, _) => format!("Backend of {}", about(route)),
            Row::Server(_, server) => name(server),
        };
        out.push_str("<tr>");
        for cell in [proxy(&row), &server, row.status()] {
            let _ = write!(out, "<td>{}</td>", escaped(cell));
        }
        for (column, _) in SHOWN {
            match row.figure(column) {
                Some(figure) => _ = write!(out, "<td>{}</td>", figure.whole()),
                None => out.push_str("<td></td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n</body></html>\n");
    out
}

fn about(route: &CompiledRoute) -> String {
    format!("{}{}", route.host, route.path)
}

/// Text that stands for itself in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
        let mut out = String::new();
        quoted(&mut out, "a,\"b\"");
        assert_eq!(out, "\"a,\"\"b\"\"\"");
    }

    /// [ADMIN-6]: as many fields in each line as in the first, and the seventh is the total.
    #[test]
    fn admin_6_every_line_has_the_columns_of_the_header() {
        let snapshot = fixture::snapshot();
        let stats = RouterStats::new(1);
        let backend = &snapshot.routes[0].compiled.as_ref().unwrap().backend;
        backend.stats.workers.cell(0).requests.add(5);
        backend.servers[0].stats.workers.cell(0).requests.add(3);
        let csv = csv(&snapshot, &stats, 100);
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 1 + 4 + 3);
        for line in &lines {
            assert_eq!(line.len(), usize::from(COLUMNS) + 1, "{line:?}");
        }
        assert_eq!((lines[0][7], lines[0][102], lines[0][103]), ("stot", "agg_check_status", ""));
        let server = "pod:web-1:web::10.1.0.4:8080";
        assert_eq!(lines[5][..8], ["be_edge_http:shop:web", server, "0", "0", "0", "0", "", "3"]);
        assert_eq!(lines[7][1..8], ["BACKEND", "0", "0", "0", "0", "100", "5"]);
        let places: Vec<_> = lines[1..].iter().map(|line| (line[27], line[28], line[32])).collect();
        assert_eq!(
            places[3..],
            [("4", "0", "0"), ("5", "1", "2"), ("5", "2", "2"), ("5", "0", "1")]
        );
    }
}
