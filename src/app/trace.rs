//! `wharf trace URL|NAME`: the path of one request hop by hop: name, load balancer, TLS, router, route,
//! Service, pod, each with its time; where it breaks, why, and what to do.
//!
//! Live, one real request is sent, and the routers are asked before what they will note of its
//! connection (`/api/v1/trace`), by the address and port that it comes from. With `--explain` nothing is
//! sent but questions to the APIs. What was seen is gathered here and judged by `path` and `service`,
//! which do no I/O. Always holds: every step has the deadline of `--timeout`.

mod ask;
mod path;
mod report;
mod send;
mod service;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::Uri;

use self::{
    ask::Watch,
    path::{Asked, Observed, RouterSeen, Sent},
    report::Report,
    send::Roots,
};
use super::output;
use crate::{
    admin::explain::{Explanation, Outcome},
    app::client,
    nlb::explain::FlowView,
    proxy::trace::Seen,
    tls::anchors::{AnchorError, Anchors},
};

/// Where `wharf up` puts its load balancer for each scheme.
const UP: [u16; 2] = [8080, 8443];
/// DNS of `wharf up`.
const UP_DNS: u16 = 8053;
/// Admin ports of `wharf up`.
const UP_ADMIN: [u16; 2] = [1936, 1937];
/// The authority of `wharf up` and `wharf cert`.
const DEVELOPMENT_CA: &str = "certs/ca.pem";
/// Where Linux has the authorities that a machine trusts.
const SYSTEM_CA: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// For what a router notes, behind the end of the answer.
const NOTED: Duration = Duration::from_secs(2);

/// What `wharf trace` is told.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// A URL, or the name of a Service in the cluster's DNS.
    pub what: String,
    /// Nothing is sent.
    pub explain: bool,
    /// Where to connect, whatever names mean.
    pub via: Option<SocketAddr>,
    /// Who is asked for the address of the host.
    pub dns: Option<DnsServer>,
    /// API of the load balancer.
    pub nlb: SocketAddr,
    /// Admin ports of routers; those of `wharf up` when empty.
    pub admin: Vec<SocketAddr>,
    /// Authorities for TLS.
    pub ca: Option<PathBuf>,
    /// TLS with anybody.
    pub insecure: bool,
    /// For each step.
    pub timeout: Duration,
    /// JSON in place of text.
    pub json: bool,
}

/// Who resolves names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsServer {
    /// The system's resolver.
    System,
    /// A DNS server.
    At(SocketAddr),
}

impl std::str::FromStr for DnsServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "system" => Ok(Self::System),
            text => text
                .parse()
                .map(Self::At)
                .map_err(|_not_one| "expected ADDR:PORT, or the word system".to_owned()),
        }
    }
}

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Not a URL, and not the name of a Service.
    #[error(
        "expected a URL such as https://shop.example.com/cart, or the name of a Service such as web.shop.svc.cluster.local, not {0:?}"
    )]
    Target(String),
    /// The file of authorities cannot be read.
    #[error("cannot read {path}", path = .0.display())]
    Ca(PathBuf, #[source] std::io::Error),
    /// What it holds cannot be used.
    #[error("{path} holds no authorities that can be used", path = .0.display())]
    Authorities(PathBuf, #[source] AnchorError),
    /// The runtime cannot be started, or the output is gone.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The report cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// A request that is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    url: String,
    tls: bool,
    /// Lower case, without brackets.
    host: String,
    port: Option<u16>,
    /// As in the URL: the Host field.
    authority: String,
    path_and_query: String,
}

impl Target {
    fn parse(what: &str) -> Option<Self> {
        let url = if what.contains("://") { what.to_owned() } else { format!("http://{what}") };
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = authority.port_u16();
        // Neither empty, nor with a user name, which would be a secret.
        (!host.is_empty() && !authority.as_str().contains('@')).then(|| Self {
            tls,
            host,
            port,
            authority: authority.as_str().to_owned(),
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            url,
        })
    }

    /// Where to connect without other words: the host where it is an address, else this machine.
    fn address(&self, found: Option<IpAddr>) -> SocketAddr {
        let port = self.port.unwrap_or_else(|| UP[usize::from(self.tls)]);
        let own = self.host.parse().ok();
        SocketAddr::new(own.or(found).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)
    }
}

/// True for the name of a Service in the cluster's DNS.
fn is_service(what: &str) -> bool {
    let mut labels = what.trim_end_matches('.').split('.');
    !what.contains(['/', ':']) && labels.any(|label| label.eq_ignore_ascii_case("svc"))
}

/// Traces and prints; true when the whole path answers.
///
/// # Errors
/// When there is nothing to trace, or nowhere to print.
pub fn run(options: &TraceOptions, out: &mut dyn Write) -> Result<bool, TraceError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(trace(options));
    // A name that is still being looked up must not delay the end of the command.
    runtime.shutdown_background();
    let report = report?;
    let text = match options.json {
        true => output::json(&serde_json::to_value(&report)?)?,
        false => report.text(),
    };
    out.write_all(text.as_bytes())?;
    Ok(report.ok)
}

async fn trace(options: &TraceOptions) -> Result<Report, TraceError> {
    let what = options.what.as_str();
    if is_service(what) {
        return Ok(service::trace(options, what).await);
    }
    let target = Target::parse(what).ok_or_else(|| TraceError::Target(what.to_owned()))?;
    let observed = observe(options, target).await?;
    Ok(path::judge(&observed))
}

/// The admin ports to ask, and whether they were named.
fn admins(options: &TraceOptions) -> (Vec<SocketAddr>, bool) {
    if !options.admin.is_empty() {
        return (options.admin.clone(), true);
    }
    (UP_ADMIN.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).to_vec(), false)
}

async fn observe(options: &TraceOptions, target: Target) -> Result<Observed, TraceError> {
    let limit = options.timeout;
    let roots = if target.tls && !options.explain { roots(options)? } else { Roots::Anyone };
    let dns = match options.dns {
        Some(server) => Some(ask::resolve(server, &target.host, limit).await),
        None => None,
    };
    let found = dns.as_ref().and_then(|dns| dns.addresses.as_ref().ok()?.first().copied());
    let lost = dns.as_ref().is_some_and(|dns| dns.addresses.is_err()) && options.via.is_none();
    let via = options.via.unwrap_or_else(|| target.address(found));
    let mut observed = Observed {
        live: !options.explain,
        named_via: options.via.is_some(),
        insecure: options.insecure,
        target,
        dns,
        via,
        flow: Err("the path ends before it".to_owned()),
        routers: Vec::new(),
        sent: None,
    };
    if lost {
        return Ok(observed);
    }
    let connected = match options.explain {
        true => None,
        false => Some(send::connect(via, limit).await),
    };
    let local = match &connected {
        Some(Ok((stream, _))) => stream.local_addr().ok(),
        _ => None,
    };
    let local = local.or_else(|| source(via)).unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    observed.flow = flow(options.nlb, local, via, limit).await;
    observed.routers = routers(options, &observed.target).await;
    observed.sent = match connected {
        None => None,
        Some(Err(why)) => Some(Sent { connected: Err(why), ..Sent::default() }),
        Some(Ok((stream, took))) => {
            let mut sent = Sent { connected: Ok(took), ..Sent::default() };
            let watches = arm(&mut observed.routers, local, limit).await;
            exchange(&mut sent, stream, &observed.target, &roots, limit).await;
            noted(&mut observed.routers, watches).await;
            Some(sent)
        },
    };
    Ok(observed)
}

/// The address that a connection to `destination` would come from, with any port. Nothing is sent: a
/// datagram socket that is connected has an address by its route alone.
fn source(destination: SocketAddr) -> Option<SocketAddr> {
    let any = match destination {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(destination).ok()?;
    Some(SocketAddr::new(socket.local_addr().ok()?.ip(), 0))
}

/// What the load balancer would do with a flow; `None` when it has no such listener.
async fn flow(
    api: SocketAddr,
    source: SocketAddr,
    destination: SocketAddr,
    limit: Duration,
) -> Result<Option<FlowView>, String> {
    let [source, destination] =
        [source, destination].map(|address| client::percent_encode(&address.to_string()));
    let path = format!("/api/v1/explain?source={source}&destination={destination}");
    ask::json(api, &path, limit).await
}

/// What each router would do with the request. Ports that nobody named and nobody has are left out
/// where another one answers.
async fn routers(options: &TraceOptions, target: &Target) -> Vec<RouterSeen> {
    let (ports, named) = admins(options);
    let mut routers = Vec::new();
    for admin in ports {
        let path = format!("/api/v1/explain?url={}", client::percent_encode(&target.url));
        let explained: Result<Explanation, String> = ask::json(admin, &path, options.timeout).await;
        let unknown = explained.as_ref().is_ok_and(|it| it.outcome == Outcome::NoHost);
        let hosts = if unknown { hosts(admin, options.timeout).await } else { Vec::new() };
        routers.push(RouterSeen { admin, explained, hosts, seen: Asked::Not });
    }
    if !named && routers.iter().any(|router| router.explained.is_ok()) {
        routers.retain(|router| router.explained.is_ok());
    }
    routers
}

/// The hosts that a router has Routes for.
async fn hosts(admin: SocketAddr, limit: Duration) -> Vec<String> {
    let routes: Result<serde_json::Value, String> = ask::json(admin, "/api/v1/routes", limit).await;
    let items = routes.ok().and_then(|mut list| list.get_mut("items").map(serde_json::Value::take));
    let items = items.as_ref().and_then(serde_json::Value::as_array);
    let hosts = items.into_iter().flatten().filter_map(|item| item["spec"]["host"].as_str());
    hosts.map(str::to_owned).collect()
}

/// Has each router note the next request of `source`.
async fn arm(
    routers: &mut [RouterSeen],
    source: SocketAddr,
    limit: Duration,
) -> Vec<Option<Watch>> {
    let mut watches = Vec::new();
    for router in routers {
        let armed = match &router.explained {
            Ok(_) => Watch::arm(router.admin, source, limit).await,
            Err(why) => Err(why.clone()),
        };
        watches.push(match armed {
            Ok(watch) => {
                router.seen = Asked::Nothing;
                Some(watch)
            },
            Err(why) => {
                router.seen = Asked::Failed(why);
                None
            },
        });
    }
    watches
}

/// TLS, the request, and its answer.
async fn exchange(
    sent: &mut Sent,
    stream: tokio::net::TcpStream,
    target: &Target,
    roots: &Roots,
    limit: Duration,
) {
    if !target.tls {
        sent.answer = Some(send::request(stream, target, limit).await);
        return;
    }
    match send::secure(stream, &target.host, roots, limit).await {
        Ok((stream, secured)) => {
            sent.tls = Some(Ok(secured));
            sent.answer = Some(send::request(stream, target, limit).await);
        },
        Err(why) => sent.tls = Some(Err(why)),
    }
}

/// Waits until one of the routers has noted the request, for a while.
async fn noted(routers: &mut [RouterSeen], watches: Vec<Option<Watch>>) {
    let mut waiting = tokio::task::JoinSet::new();
    for (index, watch) in watches.into_iter().enumerate() {
        if let Some(watch) = watch {
            waiting.spawn(async move { (index, watch.seen().await) });
        }
    }
    let first = async {
        while let Some(joined) = waiting.join_next().await {
            if let Ok((index, Some(seen))) = joined {
                return Some((index, seen));
            }
        }
        None::<(usize, Seen)>
    };
    if let Ok(Some((index, seen))) = tokio::time::timeout(NOTED, first).await {
        routers[index].seen = Asked::Seen(Box::new(seen));
    }
}

/// Whose certificates are taken: as told, or of the development authority here, or of the system's.
fn roots(options: &TraceOptions) -> Result<Roots, TraceError> {
    if options.insecure {
        return Ok(Roots::Anyone);
    }
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path)
            .map_err(|error| TraceError::Ca(path.to_owned(), error))?;
        let anchors = Anchors::parse(&text)
            .map_err(|error| TraceError::Authorities(path.to_owned(), error))?;
        Ok(Roots::Of(Arc::new(anchors)))
    };
    if let Some(path) = &options.ca {
        return read(path);
    }
    let known = std::iter::once(DEVELOPMENT_CA).chain(SYSTEM_CA).map(Path::new);
    match known.into_iter().find(|path| path.exists()) {
        Some(path) => read(path),
        // Nobody is trusted.
        None => Ok(Roots::Of(Arc::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(what: &str) -> Target {
        Target::parse(what).unwrap()
    }

    #[test]
    fn a_url_says_whom_to_ask_and_where() {
        let plain = target("http://Shop.Example.com/a?b=c");
        assert_eq!((&*plain.host, &*plain.path_and_query), ("shop.example.com", "/a?b=c"));
        assert_eq!(plain.address(None), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(target("https://a").address(None).port(), 8443);
        assert_eq!(target("a:81").address(None), "127.0.0.1:81".parse().unwrap());
        assert_eq!(target("a:81").authority, "a:81");
        let found = "10.0.0.1".parse().ok();
        assert_eq!(target("http://a").address(found), "10.0.0.1:8080".parse().unwrap());
        assert_eq!(target("http://[::1]:5/").address(found), "[::1]:5".parse().unwrap());
        for bad in ["ftp://a/", "http://", "/x", "http://me:secret@a/", ""] {
            assert_eq!(Target::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_services_are_told_from_urls() {
        for name in ["web.shop.svc", "web.shop.svc.cluster.local.", "0.web.shop.SVC.cluster.local"]
        {
            assert!(is_service(name), "{name}");
        }
        for url in ["web.shop", "http://web.shop.svc/", "web.shop.svc:80", "svcs.example.com"] {
            assert!(!is_service(url), "{url}");
        }
    }

    #[test]
    fn a_connection_that_might_be_has_a_source() {
        let loopback = source("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(loopback, "127.0.0.1:0".parse().unwrap());
    }

    #[test]
    fn dns_servers_are_addresses_or_the_system() {
        assert_eq!("system".parse(), Ok(DnsServer::System));
        assert_eq!("127.0.0.1:53".parse(), Ok(DnsServer::At(([127, 0, 0, 1], 53).into())));
        assert!("127.0.0.1".parse::<DnsServer>().is_err());
    }
}
