//! L1: the settings of one process, as plain data with OpenShift's defaults.
//!
//! Filled by the command line and `settings::env`; read everywhere, changed nowhere after start.

pub mod admin;
pub mod admission;
pub mod compression;
pub mod env;
pub mod headers;
pub mod health;
pub mod limits;
pub mod log;
pub mod parse;
pub mod tls;
pub mod upstream;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use self::{
    admin::AdminSettings, admission::AdmissionSettings, compression::CompressionSettings,
    headers::HeaderSettings, health::HealthSettings, limits::LimitSettings, log::LogSettings,
    tls::TlsSettings, upstream::UpstreamSettings,
};
use crate::model::objects::ObjectKey;

/// What ROUTER_MAX_CONNECTIONS sets for "no limit": more than any descriptor table holds, and small
/// enough to count in.
pub const NO_LIMIT: usize = u32::MAX as usize;

/// Where a cluster puts the CA of its services' certificates [REENC-2].
pub const SERVICE_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt";

/// Settings of `wharf router`.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// Manifest files and directories.
    pub manifests: Vec<PathBuf>,
    /// Plain HTTP listeners, at least one [LSN-2].
    pub http: Vec<SocketAddr>,
    /// HTTPS listeners, at least one.
    pub https: Vec<SocketAddr>,
    /// Admin listener: health, metrics, API.
    pub admin: SocketAddr,
    /// Networks that may read all of the admin port when it is not bound to loopback.
    pub admin_allow: Vec<ipnet::IpNet>,
    /// What else there is to say about the admin port.
    pub admin_port: AdminSettings,
    /// DNS listener; off when absent.
    pub dns: Option<SocketAddr>,
    /// Listener that answers like a node's healthCheckNodePort; off when absent.
    pub node_health: Option<SocketAddr>,
    /// The Service it answers for.
    pub node_health_service: ObjectKey,
    /// The default certificate; self-signed when absent [DCERT-1].
    pub default_cert: Option<DefaultCert>,
    /// Refuses routes whose certificates and keys are not valid [XV-1]; without it only those that
    /// cannot be served. EXTENDED_VALIDATION.
    pub extended_validation: bool,
    /// Honours `externalCertificate` [EXT-1]. ROUTER_ENABLE_EXTERNAL_CERTIFICATE.
    pub external_certificates: bool,
    /// Refuses handshakes for names without a certificate [CERT-5]. ROUTER_STRICT_SNI.
    pub strict_sni: bool,
    /// File with a whole HTTP response that replaces the 503 page [NOMATCH-4].
    pub page_unavailable: Option<PathBuf>,
    /// The same for requests that match no route, which otherwise get the 503 page [NOMATCH-1].
    pub page_not_found: Option<PathBuf>,
    /// Worker threads.
    pub workers: usize,
    /// Both traffic ports require a PROXY header [LSN-3].
    pub proxy_protocol: bool,
    /// Cluster domain.
    pub cluster_domain: String,
    /// Name in route status.
    pub router_name: String,
    /// `routerCanonicalHostname` in route status; not written when empty [STAT-1].
    /// ROUTER_CANONICAL_HOSTNAME.
    pub canonical_hostname: String,
    /// Which routes are served, and under which host.
    pub admission: AdmissionSettings,
    /// This router's entry is in route status [STAT-9]. ROUTER_UPDATE_STATUS.
    pub update_status: bool,
    /// What becomes of the condition `UnservableInFutureVersions` of admitted routes [STAT-4].
    /// UPGRADE_VALIDATION and DEBUG_UPGRADE_VALIDATION_FORCE_*_CONDITION.
    pub upgrade: UpgradeSettings,
    /// Balancing of routes that choose none, in HAProxy's words; empty for the default [LB-1].
    /// ROUTER_LOAD_BALANCE_ALGORITHM.
    pub balance: String,
    /// The same for passthrough routes, before `balance`. ROUTER_TCP_BALANCE_SCHEME.
    pub tcp_balance: String,
    /// The endpoints of each Service are in another order in each snapshot [EP-4].
    /// ROUTER_BACKEND_PROCESS_ENDPOINTS.
    pub shuffle_endpoints: bool,
    /// What becomes of endpoints that fail.
    pub health: HealthSettings,
    /// Name of the stickiness cookie of routes that choose none, of letters, digits, `-` and `_`; a hash
    /// of the route's name when empty [STICK-2]. ROUTER_COOKIE_NAME.
    pub cookie_name: String,
    /// The traffic ports refuse connections until the first objects are served; otherwise they wait
    /// in the kernel's queue [PIPE-2]. ROUTER_BIND_PORTS_AFTER_SYNC.
    pub bind_after_sync: bool,
    /// Least time between two changes that are applied; zero, the default, for none [RELOAD-1].
    /// RELOAD_INTERVAL.
    pub reload_interval: Duration,
    /// Idle HTTP/1 connections get one more response before a stop closes them [RELOAD-3].
    /// ROUTER_IDLE_CLOSE_ON_RESPONSE.
    pub idle_close_on_response: bool,
    /// What is dialled for a Service.
    pub upstream: UpstreamSettings,
    /// Keeps loopback endpoints, which [EPF-2] drops.
    pub allow_loopback_endpoints: bool,
    /// Admits `wildcardPolicy: Subdomain` [ADM-3].
    pub allow_wildcard_routes: bool,
    /// Claims without regard to namespaces [CLAIM-13].
    pub disable_namespace_ownership_check: bool,
    /// Port put into the redirect to https; none means 443 [REDIR-1].
    pub redirect_https_port: Option<u16>,
    /// Resolves ExternalName Services (decisions 7).
    pub resolve_external_names: bool,
    /// Offers no HTTP/2 on TLS, neither to clients [ALPN-1] nor to pods [ALPN-4].
    pub disable_http2: bool,
    /// PEM file that certificates of pods are verified against where a reencrypt route names no CA
    /// of its own [REENC-2]; [`SERVICE_CA`], if that is there, when absent. DEFAULT_DESTINATION_CA_PATH.
    pub destination_ca: Option<PathBuf>,
    /// Tells pods of reencrypt routes the name `SERVICE.NAMESPACE.svc` in the TLS handshake
    /// [REENC-4]. WHARF_REENCRYPT_SNI.
    pub reencrypt_sni: bool,
    /// Suffix of generated hosts [APISRV-1].
    pub domain: String,
    /// Connections at once; more wait in the kernel's backlog [LSN-7]. Lowered at start to what the
    /// limit on open files allows and, with `fit_memory`, to what the memory limit of the control
    /// group allows: one for each 64 KiB of what is left of that limit after half of it, at most
    /// 512 MiB, has been kept back.
    pub max_connections: usize,
    /// The memory limit lowers `max_connections`. Off when a number was given for it, by
    /// ROUTER_MAX_CONNECTIONS or `--max-connections`: that is kept, and warned about if it is too many.
    pub fit_memory: bool,
    /// Connections at once from one source, an IPv4 address or a /64 of IPv6; 0 means any number
    /// (S-50). With PROXY protocol the source is that of the header; without, it is the socket's
    /// peer, so this is for routers that see their clients' addresses.
    pub max_connections_per_source: usize,
    /// TLS handshakes that one worker answers between two looks at its sockets; more wait in their
    /// order (decisions 14).
    pub max_handshakes: usize,
    /// Requests at once in one worker; more get 503 (`overload`). A connection of HTTP/1 has one
    /// request at a time, so with the default only streams of HTTP/2 can reach this.
    pub max_requests: usize,
    /// Requests that may wait for one endpoint of a route with `pod-concurrent-connections`.
    pub max_queue: usize,
    /// Pod connections without a request that one worker keeps. WHARF_POOL_CONNECTIONS.
    pub pool_connections: usize,
    /// Reads allow lists as OpenShift does: one that it does not understand lets everybody in
    /// [IPL-2, IPL-3]. Without, such a list denies everybody (decisions 6).
    /// WHARF_COMPAT_ALLOWLIST_FAIL_OPEN.
    pub allow_list_fails_open: bool,
    /// `rewrite-target` keeps the slash that ends `spec.path`: with the path `/` and the target `/x`,
    /// `/a` becomes `/x/a` and not `/xa` (row 24 of the quirk register). WHARF_REWRITE_KEEP_SLASH.
    pub rewrite_keeps_slash: bool,
    /// Compression of responses. ROUTER_ENABLE_COMPRESSION and ROUTER_COMPRESSION_MIME.
    pub compression: CompressionSettings,
    /// Case of header names. WHARF_PRESERVE_HEADER_CASE.
    pub header_case: HeaderCase,
    /// What happens to header fields.
    pub headers: HeaderSettings,
    /// Sizes of heads, and tables of rate limits.
    pub limits: LimitSettings,
    /// There is an access log.
    pub access_log: bool,
    /// How it looks and where it goes.
    pub log: LogSettings,
    /// All durations.
    pub timeouts: Timeouts,
    /// HTTP/2 with clients.
    pub http2: Http2Settings,
    /// TLS with clients.
    pub tls: TlsSettings,
}

impl Default for RouterSettings {
    /// OpenShift's defaults, with the deviations of the README: the router's name is `default`, and
    /// the admin port is on loopback.
    fn default() -> Self {
        let wildcard = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            manifests: vec![PathBuf::from("routes")],
            http: vec![SocketAddr::new(wildcard, 80)],
            https: vec![SocketAddr::new(wildcard, 443)],
            admin: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1936),
            admin_allow: Vec::new(),
            admin_port: AdminSettings::default(),
            dns: None,
            node_health: None,
            node_health_service: ObjectKey::new("openshift-ingress", "router-default"),
            default_cert: None,
            page_unavailable: None,
            page_not_found: None,
            extended_validation: true,
            external_certificates: true,
            strict_sni: false,
            workers: crate::task::workers::cores(),
            proxy_protocol: false,
            cluster_domain: "cluster.local".to_owned(),
            router_name: "default".to_owned(),
            canonical_hostname: String::new(),
            admission: AdmissionSettings::default(),
            update_status: true,
            upgrade: UpgradeSettings::default(),
            balance: String::new(),
            tcp_balance: String::new(),
            shuffle_endpoints: false,
            health: HealthSettings::default(),
            cookie_name: String::new(),
            bind_after_sync: false,
            reload_interval: Duration::ZERO,
            idle_close_on_response: false,
            upstream: UpstreamSettings::default(),
            allow_loopback_endpoints: false,
            allow_wildcard_routes: false,
            disable_namespace_ownership_check: false,
            redirect_https_port: None,
            resolve_external_names: false,
            disable_http2: false,
            destination_ca: None,
            reencrypt_sni: false,
            domain: String::new(),
            max_connections: 50_000,
            fit_memory: true,
            max_connections_per_source: 0,
            max_handshakes: 8,
            max_requests: 50_000,
            max_queue: 10_000,
            pool_connections: 4096,
            allow_list_fails_open: false,
            rewrite_keeps_slash: false,
            compression: CompressionSettings::default(),
            header_case: HeaderCase::Lower,
            headers: HeaderSettings::default(),
            limits: LimitSettings::default(),
            access_log: true,
            log: LogSettings::default(),
            timeouts: Timeouts::default(),
            http2: Http2Settings::default(),
            tls: TlsSettings::default(),
        }
    }
}

/// Settings that cannot stand together; the start stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Which routes are served, and under which host.
    #[error(transparent)]
    Admission(#[from] admission::AdmissionError),
    /// Route status is written under a name (spec/route.md 8.2).
    #[error("the router must have a name (--router-name) to write route status under")]
    Nameless,
}

impl RouterSettings {
    /// Checks what holds between settings, once environment and command line have been read.
    ///
    /// # Errors
    /// When some of them contradict each other.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.admission.check()?;
        if self.update_status && self.router_name.is_empty() {
            return Err(SettingsError::Nameless);
        }
        Ok(())
    }
}

/// Upgrade validation. Its rules are an empty list, as those of OpenShift's router are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeSettings {
    /// It runs: the condition is taken away where it finds nothing.
    pub validation: bool,
    /// Every admitted route gets the condition, for tests.
    pub force_add: bool,
}

impl Default for UpgradeSettings {
    fn default() -> Self {
        Self { validation: true, force_add: false }
    }
}

/// Where the default certificate comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum DefaultCert {
    /// PEM file with certificate and key, or folder with `tls.crt` and `tls.key`; watched.
    Path(PathBuf),
    /// The PEM text of certificate and key. DEFAULT_CERTIFICATE.
    Text(String),
}

impl std::fmt::Debug for DefaultCert {
    /// Leaves out the text, which holds the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
        }
    }
}

/// What becomes of the case of header names of HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderCase {
    /// Names are lower case, as OpenShift's router has them [ORD-5].
    #[default]
    Lower,
    /// Names are as they were sent, at some cost for each message.
    Kept,
}

/// Durations of the router (spec/route.md 13, reliability.md 3). "Inactivity" restarts with every
/// byte, "total" does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Connecting to a pod, total. ROUTER_DEFAULT_CONNECT_TIMEOUT.
    pub connect: Duration,
    /// A client's body and a stalled write to it, inactivity. ROUTER_DEFAULT_CLIENT_TIMEOUT.
    pub client: Duration,
    /// A pod's response, inactivity. ROUTER_DEFAULT_SERVER_TIMEOUT.
    pub server: Duration,
    /// A tunnel, inactivity in both directions. ROUTER_DEFAULT_TUNNEL_TIMEOUT.
    pub tunnel: Duration,
    /// A request head, total. ROUTER_SLOWLORIS_TIMEOUT.
    pub head: Duration,
    /// Between two requests. ROUTER_SLOWLORIS_HTTP_KEEPALIVE.
    pub keep_alive: Duration,
    /// TLS handshake, total, once its ClientHello is there. Same variable as `head`.
    pub handshake: Duration,
    /// A whole ClientHello, total [LSN-4]. ROUTER_INSPECT_DELAY.
    pub inspect: Duration,
    /// PROXY header, total.
    pub proxy_header: Duration,
    /// How long a pod may say nothing to `Expect: 100-continue` before it gets the body unasked.
    /// WHARF_EXPECT_TIMEOUT.
    pub expect: Duration,
    /// How long a client connection is idle before it is parked. WHARF_PARK_TIMEOUT.
    pub park: Duration,
    /// Idle pod connection in the pool. WHARF_POOL_IDLE_TIMEOUT.
    pub pool_idle: Duration,
    /// Age at which a pod connection takes no further request. WHARF_POOL_MAX_AGE.
    pub pool_age: Duration,
    /// Silence of a tunnel once its client has closed. ROUTER_CLIENT_FIN_TIMEOUT.
    pub client_fin: Duration,
    /// Silence of a tunnel once its pod has closed. ROUTER_DEFAULT_SERVER_FIN_TIMEOUT.
    pub server_fin: Duration,
    /// Between two health checks of an endpoint. ROUTER_BACKEND_CHECK_INTERVAL.
    pub check_interval: Duration,
    /// From SIGTERM to the end of accepting. ROUTER_GRACEFUL_SHUTDOWN_DELAY.
    pub drain_delay: Duration,
    /// From the end of accepting to the end of the process. ROUTER_MAX_SHUTDOWN_TIMEOUT.
    pub drain_grace: Duration,
    /// Ends the grace where it is shorter. ROUTER_HARD_STOP_AFTER.
    pub hard_stop: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            client: Duration::from_secs(30),
            server: Duration::from_secs(30),
            tunnel: Duration::from_secs(3600),
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(300),
            handshake: Duration::from_secs(10),
            inspect: Duration::from_secs(5),
            proxy_header: Duration::from_secs(3),
            expect: Duration::from_secs(1),
            park: Duration::from_secs(1),
            pool_idle: Duration::from_secs(4),
            pool_age: Duration::from_secs(3600),
            client_fin: Duration::from_secs(1),
            server_fin: Duration::from_secs(1),
            check_interval: Duration::from_secs(5),
            drain_delay: Duration::from_secs(45),
            drain_grace: Duration::from_secs(30),
            hard_stop: None,
        }
    }
}

/// HTTP/2 with clients: what one connection may hold (reliability.md 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// Streams at once, from 1; a further one is refused (S-43). WHARF_HTTP2_MAX_STREAMS.
    pub max_streams: u32,
    /// Bytes of one request body that a client may send ahead of the pod, up to 2^31 - 1.
    /// WHARF_HTTP2_STREAM_WINDOW.
    pub stream_window: u32,
    /// The same for all streams together, from 65,535. WHARF_HTTP2_CONNECTION_WINDOW.
    pub connection_window: u32,
    /// Longest payload of a frame, 16,384 to 16,777,215. WHARF_HTTP2_MAX_FRAME_SIZE.
    pub max_frame_size: u32,
    /// Bytes of a decoded header list, with 32 for each field, beyond which the library itself
    /// answers 431 while it decodes (S-39). The router's own limits are lower.
    /// WHARF_HTTP2_MAX_HEADER_LIST.
    pub max_header_list: u32,
    /// Bytes of one response that may wait for the client's window (S-40).
    /// WHARF_HTTP2_SEND_BUFFER.
    pub send_buffer: usize,
    /// Between two PINGs of ours. WHARF_HTTP2_PING_INTERVAL.
    pub ping_interval: Duration,
    /// How long the answer to one may take; the connection ends then. WHARF_HTTP2_PING_TIMEOUT.
    pub ping_timeout: Duration,
    /// Streams that were reset by the client before the library passed them on.
    /// WHARF_HTTP2_PENDING_RESETS.
    pub pending_resets: usize,
    /// What a connection may have before it ends with ENHANCE_YOUR_CALM.
    pub budgets: Http2Budgets,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_streams: 100,
            stream_window: 64 * 1024,
            connection_window: 1024 * 1024,
            max_frame_size: 16 * 1024,
            max_header_list: 64 * 1024,
            send_buffer: 64 * 1024,
            ping_interval: Duration::from_secs(60),
            ping_timeout: Duration::from_secs(20),
            pending_resets: 20,
            budgets: Http2Budgets::default(),
        }
    }
}

/// How many frames of each kind a client may send, on one connection. Where no other span is named,
/// in each [`interval`](Self::interval).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Budgets {
    /// Length of a window of time; it begins with the first frame that counts.
    /// WHARF_HTTP2_BUDGET_INTERVAL.
    pub interval: Duration,
    /// RST_STREAM (S-34). WHARF_HTTP2_RESETS.
    pub resets: u32,
    /// RST_STREAM before the first response of the connection (S-34).
    /// WHARF_HTTP2_RESETS_UNANSWERED.
    pub resets_unanswered: u32,
    /// RST_STREAM in the connection's life (S-34). WHARF_HTTP2_RESETS_TOTAL.
    pub resets_total: u32,
    /// RST_STREAM that we send for faults of the client, in the connection's life (S-35).
    /// WHARF_HTTP2_RESETS_EMITTED.
    pub resets_emitted: u32,
    /// CONTINUATION in one header block (S-36). WHARF_HTTP2_CONTINUATIONS.
    pub continuations: u32,
    /// Bytes of one header block as it is sent (S-36). WHARF_HTTP2_HEADER_BLOCK.
    pub header_block: u32,
    /// SETTINGS (S-37). WHARF_HTTP2_SETTINGS.
    pub settings: u32,
    /// PING, but for answers to ours (S-37). WHARF_HTTP2_PINGS.
    pub pings: u32,
    /// DATA and HEADERS without bytes (S-38). WHARF_HTTP2_EMPTY_FRAMES.
    pub empty_frames: u32,
    /// PRIORITY and other frames that have no effect (S-41). WHARF_HTTP2_IGNORED_FRAMES.
    pub ignored: u32,
    /// WINDOW_UPDATE beyond two for each request and one for every 8 bytes, at most four, of each
    /// DATA frame sent to the client (S-41). WHARF_HTTP2_WINDOW_UPDATES.
    pub window_updates: u32,
}

impl Default for Http2Budgets {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            resets: 100,
            resets_unanswered: 50,
            resets_total: 10_000,
            resets_emitted: 500,
            continuations: 20,
            header_block: 64 * 1024,
            settings: 50,
            pings: 100,
            empty_frames: 100,
            ignored: 100,
            window_updates: 100,
        }
    }
}
