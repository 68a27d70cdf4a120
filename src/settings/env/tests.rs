//! Every row of the table of variables, and what a bad value does.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::*;
use crate::settings::{
    DefaultCert,
    tls::{ClientCertificates, TlsVersion},
};

struct Fake(BTreeMap<&'static str, &'static str>);

impl Vars for Fake {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
}

pub(super) fn configured(
    vars: &[(&'static str, &'static str)],
) -> Result<(Config, Vec<String>), EnvError> {
    let (config, notes) = Config::of(&Fake(vars.iter().copied().collect()))?;
    Ok((config, notes.iter().map(Note::to_string).collect()))
}

pub(super) fn read(
    vars: &[(&'static str, &'static str)],
) -> Result<(RouterSettings, Vec<String>), EnvError> {
    let (config, notes) = configured(vars)?;
    Ok((config.settings, notes))
}

/// The settings, where nothing is noted.
pub(super) fn quiet(vars: &[(&'static str, &'static str)]) -> RouterSettings {
    let (settings, notes) = read(vars).unwrap();
    assert_eq!(notes, Vec::<String>::new(), "{vars:?}");
    settings
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn an_empty_environment_leaves_the_defaults() {
    let settings = quiet(&[]);
    assert_eq!(settings.http, addresses(&["0.0.0.0:80"]));
    assert_eq!(settings.admin, "127.0.0.1:1936".parse().unwrap());
    assert_eq!(settings.router_name, "default");
    assert_eq!(settings.max_connections, 50_000);
}

#[test]
fn every_duration_goes_to_its_own_field() {
    type Field = fn(&RouterSettings) -> Duration;
    let rows: [(&str, Field); 17] = [
        ("ROUTER_INSPECT_DELAY", |s| s.timeouts.inspect),
        ("ROUTER_DEFAULT_CONNECT_TIMEOUT", |s| s.timeouts.connect),
        ("ROUTER_DEFAULT_CLIENT_TIMEOUT", |s| s.timeouts.client),
        ("ROUTER_DEFAULT_SERVER_TIMEOUT", |s| s.timeouts.server),
        ("ROUTER_DEFAULT_TUNNEL_TIMEOUT", |s| s.timeouts.tunnel),
        ("ROUTER_CLIENT_FIN_TIMEOUT", |s| s.timeouts.client_fin),
        ("ROUTER_DEFAULT_SERVER_FIN_TIMEOUT", |s| s.timeouts.server_fin),
        ("WHARF_EXPECT_TIMEOUT", |s| s.timeouts.expect),
        ("WHARF_PARK_TIMEOUT", |s| s.timeouts.park),
        ("WHARF_POOL_IDLE_TIMEOUT", |s| s.timeouts.pool_idle),
        ("WHARF_POOL_MAX_AGE", |s| s.timeouts.pool_age),
        ("ROUTER_SLOWLORIS_TIMEOUT", |s| s.timeouts.head),
        ("ROUTER_SLOWLORIS_TIMEOUT", |s| s.timeouts.handshake),
        ("ROUTER_SLOWLORIS_HTTP_KEEPALIVE", |s| s.timeouts.keep_alive),
        ("ROUTER_BACKEND_CHECK_INTERVAL", |s| s.timeouts.check_interval),
        ("ROUTER_GRACEFUL_SHUTDOWN_DELAY", |s| s.timeouts.drain_delay),
        ("ROUTER_MAX_SHUTDOWN_TIMEOUT", |s| s.timeouts.drain_grace),
    ];
    for (name, field) in rows {
        let text = if name == "ROUTER_MAX_SHUTDOWN_TIMEOUT" { "77" } else { "77s" };
        assert_eq!(field(&quiet(&[(name, text)])), Duration::from_secs(77), "{name}");
    }
}

/// [TMO-3]
#[test]
fn a_bad_duration_gives_the_default_and_a_note_tmo_3() {
    for name in ["ROUTER_DEFAULT_SERVER_TIMEOUT", "ROUTER_GRACEFUL_SHUTDOWN_DELAY"] {
        let (settings, notes) = read(&[(name, "01s!")]).unwrap();
        assert_eq!(settings.timeouts, RouterSettings::default().timeouts);
        assert_eq!(notes, [format!("{name} is not a duration; the default is used")]);
    }
}

#[test]
fn limits_go_to_their_fields_and_a_bad_one_gives_the_default() {
    type Field = fn(&RouterSettings) -> usize;
    let rows: [(&str, Field, bool); 4] = [
        ("WHARF_MAX_CONNECTIONS_PER_SOURCE", |s| s.max_connections_per_source, true),
        ("WHARF_MAX_HANDSHAKES", |s| s.max_handshakes, false),
        ("WHARF_MAX_REQUESTS", |s| s.max_requests, false),
        ("WHARF_MAX_QUEUE", |s| s.max_queue, true),
    ];
    for (name, field, may_be_zero) in rows {
        assert_eq!(field(&quiet(&[(name, "77")])), 77, "{name}");
        for bad in ["-1", "many", "0"] {
            let (settings, notes) = read(&[(name, bad)]).unwrap();
            let zero = bad == "0" && may_be_zero;
            let expected = if zero { 0 } else { field(&RouterSettings::default()) };
            assert_eq!((field(&settings), notes.is_empty()), (expected, zero), "{name}={bad}");
        }
    }
}

/// [CONV-1]
#[test]
fn booleans_go_to_their_fields_conv_1() {
    type Field = fn(&RouterSettings) -> bool;
    let rows: [(&str, Field); 7] = [
        ("EXTENDED_VALIDATION", |s| s.extended_validation),
        ("ROUTER_ENABLE_EXTERNAL_CERTIFICATE", |s| s.external_certificates),
        ("ROUTER_STRICT_SNI", |s| s.strict_sni),
        ("ROUTER_USE_PROXY_PROTOCOL", |s| s.proxy_protocol),
        ("ROUTER_ALLOW_WILDCARD_ROUTES", |s| s.allow_wildcard_routes),
        ("ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK", |s| s.disable_namespace_ownership_check),
        ("ROUTER_DISABLE_HTTP2", |s| s.disable_http2),
    ];
    for (name, field) in rows {
        assert!(field(&quiet(&[(name, "T")])), "{name}");
        assert!(!field(&quiet(&[(name, "false")])), "{name}");
        let (settings, notes) = read(&[(name, "yes")]).unwrap();
        assert!(!field(&settings), "{name}");
        assert_eq!(notes, [format!("{name} is not a boolean and counts as false")]);
    }
}

/// [CONV-6]
#[test]
fn an_empty_variable_is_an_unset_one_conv_6() {
    let settings = quiet(&[
        ("ROUTER_USE_PROXY_PROTOCOL", ""),
        ("STATS_PORT", ""),
        ("ROUTER_CIPHERS", ""),
        ("ROUTER_SERVICE_NAME", ""),
    ]);
    assert_eq!(settings.admin.port(), 1936);
}

/// [LSN-2]
#[test]
fn ports_and_addresses_lsn_2() {
    let settings = quiet(&[
        ("ROUTER_IP_V4_V6_MODE", "v6"),
        ("ROUTER_SERVICE_HTTP_PORT", "8080"),
        ("ROUTER_SERVICE_HTTPS_PORT", "+8443"),
        ("STATS_PORT", "1937"),
    ]);
    assert_eq!(settings.http, addresses(&["[::]:8080"]));
    assert_eq!(settings.https, addresses(&["[::]:8443"]));
    assert_eq!(settings.admin, "0.0.0.0:1937".parse().unwrap());
    let (settings, notes) = read(&[("ROUTER_SERVICE_HTTP_PORT", "0")]).unwrap();
    assert_eq!(settings.http, addresses(&["0.0.0.0:80"]));
    assert_eq!(notes.len(), 1);
    let (settings, notes) = read(&[("ROUTER_IP_V4_V6_MODE", "v5")]).unwrap();
    assert_eq!(settings.http, addresses(&["0.0.0.0:80"]));
    assert_eq!(notes.len(), 1);
    let both = quiet(&[("ROUTER_IP_V4_V6_MODE", "v4v6"), ("ROUTER_SERVICE_HTTP_PORT", "8080")]);
    assert_eq!(both.http, addresses(&["0.0.0.0:8080", "[::]:8080"]));
    assert_eq!(both.https, addresses(&["0.0.0.0:443", "[::]:443"]));
    let several = quiet(&[("WHARF_HTTP", "127.0.0.1:80, [::1]:81"), ("WHARF_HTTPS", "[::]:443")]);
    assert_eq!(several.http, addresses(&["127.0.0.1:80", "[::1]:81"]));
    assert_eq!(several.https, addresses(&["[::]:443"]));
    assert!(read(&[("WHARF_HTTP", "127.0.0.1:80,")]).is_err());
}

/// [LB-1]
#[test]
fn lb_1_the_words_of_balancing() {
    let settings = quiet(&[
        ("ROUTER_LOAD_BALANCE_ALGORITHM", "leastconn"),
        ("ROUTER_TCP_BALANCE_SCHEME", "roundrobin"),
    ]);
    assert_eq!((&*settings.balance, &*settings.tcp_balance), ("leastconn", "roundrobin"));
    let (settings, notes) = read(&[("ROUTER_TCP_BALANCE_SCHEME", "Source")]).unwrap();
    assert_eq!((&*settings.tcp_balance, notes.len()), ("", 1));
}

/// [STICK-2, EP-4]
#[test]
fn stick_2_the_variables_of_stickiness() {
    let settings =
        quiet(&[("ROUTER_COOKIE_NAME", "Own_1-"), ("ROUTER_BACKEND_PROCESS_ENDPOINTS", "SHUFFLE")]);
    assert_eq!((&*settings.cookie_name, settings.shuffle_endpoints), ("Own_1-", true));
    let (settings, notes) =
        read(&[("ROUTER_COOKIE_NAME", "a;b"), ("ROUTER_BACKEND_PROCESS_ENDPOINTS", "sort")])
            .unwrap();
    assert_eq!((&*settings.cookie_name, settings.shuffle_endpoints), ("", false));
    let names: Vec<_> = notes.iter().filter_map(|note| note.split(' ').next()).collect();
    assert_eq!(names, ["ROUTER_COOKIE_NAME", "ROUTER_BACKEND_PROCESS_ENDPOINTS"]);
}

#[test]
fn the_more_particular_variable_wins() {
    let settings = quiet(&[
        ("STATS_PORT", "1937"),
        ("ROUTER_LISTEN_ADDR", "127.0.0.2:1938"),
        ("ROUTER_SERVICE_HTTP_PORT", "81"),
        ("WHARF_HTTP", "127.0.0.1:8080"),
        ("WHARF_HTTPS", ":8443"),
        ("WHARF_DNS", "127.0.0.1:8053"),
        ("ROUTER_THREADS", "3"),
        ("WHARF_WORKERS", "2"),
        ("DEFAULT_CERTIFICATE_PATH", "/a.pem"),
        ("DEFAULT_CERTIFICATE_DIR", "/dir"),
        ("WHARF_MANIFESTS", "routes:certs"),
    ]);
    assert_eq!(settings.admin, "127.0.0.2:1938".parse().unwrap());
    assert_eq!(settings.http, addresses(&["127.0.0.1:8080"]));
    assert_eq!(settings.https, addresses(&["0.0.0.0:8443"]));
    assert_eq!(settings.dns, "127.0.0.1:8053".parse().ok());
    assert_eq!(settings.workers, 2);
    let path = DefaultCert::Path(PathBuf::from("/a.pem"));
    assert_eq!(settings.default_cert, Some(path), "[DCERT-1]");
    assert_eq!(settings.manifests, [PathBuf::from("routes"), PathBuf::from("certs")]);
    let settings = quiet(&[("DEFAULT_CERTIFICATE", "PEM"), ("DEFAULT_CERTIFICATE_PATH", "/a.pem")]);
    assert_eq!(settings.default_cert, Some(DefaultCert::Text("PEM".to_owned())), "[DCERT-1]");
    assert!(!format!("{settings:?}").contains("PEM"));
}

#[test]
fn the_health_of_a_node_has_an_address_and_a_service() {
    let settings = quiet(&[("WHARF_NODE_HEALTH", ":32500")]);
    assert_eq!(settings.node_health, "0.0.0.0:32500".parse().ok());
    assert_eq!(settings.node_health_service.to_string(), "openshift-ingress/router-default");
    let settings = quiet(&[("WHARF_NODE_HEALTH_SERVICE", "a/b")]);
    assert_eq!(
        (settings.node_health, settings.node_health_service.to_string()),
        (None, "a/b".into())
    );
    for bad in ["a", "a/b/c", "/b", "A/b"] {
        assert!(read(&[("WHARF_NODE_HEALTH_SERVICE", bad)]).is_err(), "{bad}");
    }
}

#[test]
fn the_drain_limit_defaults_to_the_reload_wait() {
    let wait = ("MAX_RELOAD_WAIT_TIME", "9");
    assert_eq!(quiet(&[wait]).timeouts.drain_grace, Duration::from_secs(9));
    let both = quiet(&[wait, ("ROUTER_MAX_SHUTDOWN_TIMEOUT", "4")]);
    assert_eq!(both.timeouts.drain_grace, Duration::from_secs(4));
}

#[test]
fn pool_connections_are_a_count() {
    assert_eq!(quiet(&[("WHARF_POOL_CONNECTIONS", "7")]).pool_connections, 7);
    let (settings, notes) = read(&[("WHARF_POOL_CONNECTIONS", "many")]).unwrap();
    assert_eq!((settings.pool_connections, notes.len()), (4096, 1));
}

#[test]
fn max_connections_auto_means_no_limit() {
    assert_eq!(quiet(&[("ROUTER_MAX_CONNECTIONS", "20000")]).max_connections, 20_000);
    assert!(quiet(&[("ROUTER_MAX_CONNECTIONS", "auto")]).max_connections > 1_000_000);
}

#[test]
fn r_36_only_a_number_keeps_max_connections_from_being_fitted_to_the_memory() {
    assert!(quiet(&[]).fit_memory);
    assert!(quiet(&[("ROUTER_MAX_CONNECTIONS", "auto")]).fit_memory);
    assert!(!quiet(&[("ROUTER_MAX_CONNECTIONS", "50000")]).fit_memory);
}

#[test]
fn what_spec_17_marks_err_stops_the_start() {
    for (name, value) in [
        ("STATS_PORT", "http"),
        ("STATS_PORT", "70000"),
        ("ROUTER_LISTEN_ADDR", "1936"),
        ("ROUTER_METRICS_TYPE", "prometheus"),
        ("RELOAD_INTERVAL", "100ms"),
        ("ROUTER_SERVICE_NAME", "default"),
        ("WHARF_HTTP", "nowhere"),
    ] {
        let error = read(&[(name, value)]).unwrap_err();
        assert_eq!((error.name, error.value.as_str()), (name, value));
    }
}

#[test]
fn a_named_router_with_a_namespace_starts() {
    let settings = quiet(&[
        ("ROUTER_SERVICE_NAME", "internal"),
        ("ROUTER_SERVICE_NAMESPACE", "openshift-ingress"),
        ("ROUTER_DOMAIN", "Apps.Example.com"),
    ]);
    assert_eq!(settings.router_name, "internal");
    assert_eq!(settings.domain, "apps.example.com");
}

#[test]
fn variables_without_effect_are_noted() {
    let (_, notes) = read(&[
        ("ROUTER_FOO", "1"),
        ("WHARF_HTPP", ":80"),
        ("PATH", "/bin"),
        ("ROUTER_DEFAULT_SERVICE_HOST", "10.0.0.1"),
        ("ROUTER_DEFAULT_PORT", "tcp://10.0.0.1:80"),
        ("ROUTER_DEFAULT_PORT_80_TCP_ADDR", "10.0.0.1"),
    ])
    .unwrap();
    assert_eq!(
        notes,
        [
            "ROUTER_FOO is not a variable of this router; is it misspelt?",
            "WHARF_HTPP is not a variable of this router; is it misspelt?",
        ]
    );
}

/// [TLS-1, MTLS-1..5]: what spec/route.md 17.3 lists.
#[test]
fn tls_1_every_variable_of_tls_goes_to_its_field() {
    let tls = quiet(&[
        ("SSL_MIN_VERSION", "TLSv1.2"),
        ("SSL_MAX_VERSION", "TLSv1.3"),
        ("ROUTER_CIPHERS", "modern"),
        ("ROUTER_CIPHERSUITES", "TLS_AES_128_GCM_SHA256"),
        ("ROUTER_CURVES", "X25519"),
        ("ROUTER_MUTUAL_TLS_AUTH", "optional"),
        ("ROUTER_MUTUAL_TLS_AUTH_CA", "/ca"),
        ("ROUTER_MUTUAL_TLS_AUTH_CRL", "/crl"),
        ("ROUTER_MUTUAL_TLS_AUTH_FILTER", "CN=a"),
        ("ROUTER_MUTUAL_TLS_HEADER_FILTER", "false"),
        ("WHARF_HTTP2_EVERYWHERE", "true"),
    ])
    .tls;
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::V12, Some(TlsVersion::V13)));
    let texts = [&tls.ciphers, &tls.ciphersuites, &tls.curves, &tls.client_filter];
    assert_eq!(texts, ["modern", "TLS_AES_128_GCM_SHA256", "X25519", "CN=a"]);
    assert_eq!(tls.client_certificates, ClientCertificates::Optional);
    assert_eq!((tls.client_ca, tls.client_crl), (Some("/ca".into()), Some("/crl".into())));
    assert!(!tls.client_header_filter && tls.http2_everywhere);
}

/// S-68: what is not understood never means less than what was asked for.
#[test]
fn s_68_bad_values_of_tls_stop_the_start_or_fail_closed() {
    for (name, value) in [
        ("SSL_MIN_VERSION", "TLSv1.4"),
        ("SSL_MAX_VERSION", "1.3"),
        ("ROUTER_MUTUAL_TLS_AUTH", "require"),
        ("ROUTER_MUTUAL_TLS_AUTH", "true"),
    ] {
        assert_eq!(read(&[(name, value)]).unwrap_err().name, name, "{value}");
    }
    let (settings, notes) = read(&[("ROUTER_MUTUAL_TLS_HEADER_FILTER", "maybe")]).unwrap();
    assert!(settings.tls.client_header_filter && notes.len() == 1, "{notes:?}");
    let (_, notes) = read(&[("SSL_MIN_VERSION", "TLSv1.0")]).unwrap();
    assert!(notes[0].contains("older than TLSv1.2"), "{notes:?}");
}

#[test]
fn no_name_stands_twice() {
    let variables = rows().map(|row| row.name).filter(|name| !name.is_empty());
    let flags = rows().flat_map(|row| row.flags).copied();
    let mut names: Vec<_> = variables.chain(flags).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Every bound of HTTP/2 goes to its own field, holds its range, and keeps its default otherwise.
#[test]
fn every_number_goes_to_its_own_field() {
    type Field = fn(&RouterSettings) -> u64;
    let rows: [(&str, u32, Field); 18] = [
        ("WHARF_HTTP2_MAX_STREAMS", 1, |s| s.http2.max_streams.into()),
        ("WHARF_HTTP2_STREAM_WINDOW", 1, |s| s.http2.stream_window.into()),
        ("WHARF_HTTP2_CONNECTION_WINDOW", 65_535, |s| s.http2.connection_window.into()),
        ("WHARF_HTTP2_MAX_FRAME_SIZE", 16_384, |s| s.http2.max_frame_size.into()),
        ("WHARF_HTTP2_MAX_HEADER_LIST", 16_384, |s| s.http2.max_header_list.into()),
        ("WHARF_HTTP2_SEND_BUFFER", 1, |s| s.http2.send_buffer as u64),
        ("WHARF_HTTP2_PENDING_RESETS", 1, |s| s.http2.pending_resets as u64),
        ("WHARF_HTTP2_RESETS", 0, |s| s.http2.budgets.resets.into()),
        ("WHARF_HTTP2_RESETS_UNANSWERED", 0, |s| s.http2.budgets.resets_unanswered.into()),
        ("WHARF_HTTP2_RESETS_TOTAL", 0, |s| s.http2.budgets.resets_total.into()),
        ("WHARF_HTTP2_RESETS_EMITTED", 0, |s| s.http2.budgets.resets_emitted.into()),
        ("WHARF_HTTP2_CONTINUATIONS", 0, |s| s.http2.budgets.continuations.into()),
        ("WHARF_HTTP2_HEADER_BLOCK", 1, |s| s.http2.budgets.header_block.into()),
        ("WHARF_HTTP2_SETTINGS", 1, |s| s.http2.budgets.settings.into()),
        ("WHARF_HTTP2_PINGS", 0, |s| s.http2.budgets.pings.into()),
        ("WHARF_HTTP2_EMPTY_FRAMES", 0, |s| s.http2.budgets.empty_frames.into()),
        ("WHARF_HTTP2_IGNORED_FRAMES", 0, |s| s.http2.budgets.ignored.into()),
        ("WHARF_HTTP2_WINDOW_UPDATES", 0, |s| s.http2.budgets.window_updates.into()),
    ];
    for (name, min, field) in rows {
        let value = (min + 1).to_string().leak();
        let (settings, default) = (quiet(&[(name, value)]), RouterSettings::default());
        assert_eq!(field(&settings), u64::from(min) + 1, "{name}");
        for (_, _, other) in rows.iter().filter(|row| row.0 != name) {
            assert_eq!(other(&settings), other(&default), "{name}");
        }
        for bad in ["-1", "x", "99999999999"] {
            let (settings, notes) = read(&[(name, bad)]).unwrap();
            assert_eq!((field(&settings), notes.len()), (field(&default), 1), "{name}={bad}");
        }
        if let Some(below) = min.checked_sub(1) {
            let (settings, _) = read(&[(name, below.to_string().leak())]).unwrap();
            assert_eq!(field(&settings), field(&default), "{name}={below}");
        }
    }
    let settings = quiet(&[
        ("WHARF_HTTP2_PING_INTERVAL", "1ms"),
        ("WHARF_HTTP2_PING_TIMEOUT", "7s"),
        ("WHARF_HTTP2_BUDGET_INTERVAL", "8s"),
    ]);
    let http2 = settings.http2;
    let durations = [http2.ping_interval, http2.ping_timeout, http2.budgets.interval];
    assert_eq!(durations.map(|it| it.as_secs()), [1, 7, 8]);
}

/// [PIPE-2]: one word, and not what is true elsewhere [CONV-1].
#[test]
fn pipe_2_ports_open_late_only_for_the_word_true() {
    for (value, late) in [("true", true), ("TRUE", false), ("1", false), ("t", false), ("", false)]
    {
        let settings = quiet(&[("ROUTER_BIND_PORTS_AFTER_SYNC", value)]);
        assert_eq!(settings.bind_after_sync, late, "{value:?}");
    }
}
