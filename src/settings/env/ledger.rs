//! Tests: every variable and flag of OpenShift's router (spec/route.md 17) has an effect, or none for a
//! stated reason, or stops the start with one; and every row can be shown.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    tests::{configured, read},
    *,
};

/// What a name of section 17 comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// This value changes the settings.
    Set(&'static str),
    /// Accepted; the row says why it means nothing.
    Nothing,
    /// Stops the start; the row says why.
    Refused,
    /// Another variable must stand beside it, or its value has an effect elsewhere than in the settings.
    Checked,
}

use Fate::{Checked, Nothing, Refused, Set};

/// Variables and flags of sections 17.1 to 17.5, in their order. What has no variable or no flag has
/// none here.
const SPEC: &[(&str, &str, Fate)] = &[
    // 17.1
    ("ROUTER_SERVICE_NAME", "--name", Set("internal")),
    ("ROUTER_SERVICE_NAMESPACE", "", Nothing),
    ("ROUTER_CANONICAL_HOSTNAME", "--router-canonical-hostname", Set("router.test")),
    ("ROUTER_UPDATE_STATUS", "--update-status", Set("false")),
    ("", "--resync-interval", Nothing),
    ("ROUTER_SUBDOMAIN", "--hostname-template", Set("${name}.test")),
    ("ROUTER_DOMAIN", "--router-domain", Set("apps.test")),
    ("ROUTER_OVERRIDE_HOSTNAME", "--override-hostname", Set("true")),
    ("ROUTER_OVERRIDE_DOMAINS", "--override-domains", Set("a.test,b.test")),
    ("ROUTE_LABELS", "--labels", Set("a=b")),
    ("ROUTE_FIELDS", "--fields", Set("spec.host=x")),
    ("PROJECT_LABELS", "--project-labels", Set("*")),
    ("NAMESPACE_LABELS", "--namespace-labels", Set("a=b")),
    ("", "--namespace", Set("app")),
    ("ROUTER_DENIED_DOMAINS", "--denied-domains", Set("a.test")),
    ("ROUTER_ALLOWED_DOMAINS", "--allowed-domains", Set("a.test")),
    ("ROUTER_ALLOW_WILDCARD_ROUTES", "--allow-wildcard-routes", Set("true")),
    (
        "ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK",
        "--disable-namespace-ownership-check",
        Set("true"),
    ),
    ("EXTENDED_VALIDATION", "--extended-validation", Set("false")),
    ("UPGRADE_VALIDATION", "--upgrade-validation", Set("false")),
    (
        "DEBUG_UPGRADE_VALIDATION_FORCE_ADD_CONDITION",
        "--debug-upgrade-validation-force-add-condition",
        Set("true"),
    ),
    (
        "DEBUG_UPGRADE_VALIDATION_FORCE_REMOVE_CONDITION",
        "--debug-upgrade-validation-force-remove-condition",
        Nothing,
    ),
    ("ROUTER_ENABLE_EXTERNAL_CERTIFICATE", "--allow-external-certificates", Set("false")),
    ("ROUTER_WATCH_ENDPOINTS", "--watch-endpoints", Nothing),
    ("", "--include-udp-endpoints", Nothing),
    ("KUBERNETES_MASTER", "--master", Refused),
    ("", "--kubeconfig", Refused),
    ("OPENSHIFT_ON_PANIC", "", Nothing),
    ("OPENSHIFT_PROFILE", "", Nothing),
    // 17.2
    ("TEMPLATE_FILE", "--template", Nothing),
    ("RELOAD_SCRIPT", "--reload", Nothing),
    ("", "--working-dir", Nothing),
    ("RELOAD_INTERVAL", "--interval", Set("7s")),
    ("COMMIT_INTERVAL", "--commit-interval", Nothing),
    ("ROUTER_BIND_PORTS_AFTER_SYNC", "--bind-ports-after-sync", Set("true")),
    ("ROUTER_BIND_PORTS_BEFORE_SYNC", "", Nothing),
    ("ROUTER_HAPROXY_CONFIG_MANAGER", "--haproxy-config-manager", Nothing),
    ("ROUTER_MAX_DYNAMIC_SERVERS", "--max-dynamic-servers", Nothing),
    ("ROUTER_BLUEPRINT_ROUTE_NAMESPACE", "--blueprint-route-namespace", Nothing),
    ("ROUTER_BLUEPRINT_ROUTE_LABELS", "--blueprint-route-labels", Nothing),
    ("ROUTER_BLUEPRINT_ROUTE_POOL_SIZE", "--blueprint-route-pool-size", Nothing),
    ("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "", Set("7s")),
    ("ROUTER_MAX_SHUTDOWN_TIMEOUT", "", Set("7")),
    ("MAX_RELOAD_WAIT_TIME", "", Set("7")),
    ("HAPROXY_MAX_SHUTDOWN_TIMEOUT", "", Nothing),
    ("ROUTER_SHUTDOWN", "", Nothing),
    ("ROUTER_HARD_STOP_AFTER", "", Set("7s")),
    ("ROUTER_HAPROXY_ADMIN_UNIX_SOCKET", "", Nothing),
    ("ROUTER_THREADS", "", Set("77")),
    ("ROUTER_MAX_CONNECTIONS", "--max-connections", Set("77")),
    ("ROUTER_BUF_SIZE", "", Set("65536")),
    ("ROUTER_MAX_REWRITE_SIZE", "", Set("4096")),
    ("ROUTER_HAPROXY_CONTSTATS", "", Nothing),
    ("ROUTER_ABORT_ON_CLOSE", "", Set("true")),
    ("ROUTER_IDLE_CLOSE_ON_RESPONSE", "", Set("true")),
    // 17.3
    ("ROUTER_SERVICE_HTTP_PORT", "", Set("8080")),
    ("ROUTER_SERVICE_HTTPS_PORT", "", Set("8443")),
    ("ROUTER_IP_V4_V6_MODE", "", Set("v4v6")),
    ("ROUTER_USE_PROXY_PROTOCOL", "", Set("true")),
    ("ROUTER_INSPECT_DELAY", "", Set("7s")),
    ("DEFAULT_CERTIFICATE", "--default-certificate", Set("PEM")),
    ("DEFAULT_CERTIFICATE_PATH", "--default-certificate-path", Set("/a")),
    ("DEFAULT_CERTIFICATE_DIR", "--default-certificate-dir", Set("/a")),
    ("DEFAULT_DESTINATION_CA_PATH", "--default-destination-ca-path", Set("/a")),
    ("ROUTER_CIPHERS", "--ciphers", Set("modern")),
    ("ROUTER_CIPHERSUITES", "", Set("TLS_AES_128_GCM_SHA256")),
    ("ROUTER_CURVES", "", Set("X25519")),
    ("SSL_MIN_VERSION", "", Set("TLSv1.3")),
    ("SSL_MAX_VERSION", "", Set("TLSv1.3")),
    ("ROUTER_STRICT_SNI", "--strict-sni", Set("true")),
    ("ROUTER_DISABLE_HTTP2", "", Set("true")),
    ("ROUTER_MUTUAL_TLS_AUTH", "", Set("optional")),
    ("ROUTER_MUTUAL_TLS_AUTH_CA", "", Set("/a")),
    ("ROUTER_MUTUAL_TLS_AUTH_CRL", "", Set("/a")),
    ("ROUTER_MUTUAL_TLS_AUTH_FILTER", "", Set("CN=a")),
    ("ROUTER_MUTUAL_TLS_HEADER_FILTER", "", Set("false")),
    // 17.4
    ("ROUTER_DEFAULT_CONNECT_TIMEOUT", "", Set("7s")),
    ("ROUTER_DEFAULT_CLIENT_TIMEOUT", "", Set("7s")),
    ("ROUTER_DEFAULT_SERVER_TIMEOUT", "", Set("7s")),
    ("ROUTER_DEFAULT_SERVER_FIN_TIMEOUT", "", Set("7s")),
    ("ROUTER_DEFAULT_TUNNEL_TIMEOUT", "", Set("7s")),
    ("ROUTER_CLIENT_FIN_TIMEOUT", "", Set("7s")),
    ("ROUTER_SLOWLORIS_TIMEOUT", "", Set("7s")),
    ("ROUTER_SLOWLORIS_HTTP_KEEPALIVE", "", Set("7s")),
    ("ROUTER_LOAD_BALANCE_ALGORITHM", "", Set("leastconn")),
    ("ROUTER_TCP_BALANCE_SCHEME", "", Set("roundrobin")),
    ("ROUTER_BACKEND_CHECK_INTERVAL", "", Set("7s")),
    ("ROUTER_BACKEND_PROCESS_ENDPOINTS", "", Set("shuffle")),
    ("ROUTER_COOKIE_NAME", "", Set("sticky")),
    ("ROUTER_SET_FORWARDED_HEADERS", "", Set("never")),
    ("ROUTER_H1_CASE_ADJUST", "--http-header-name-case-adjustments", Set("X-Case")),
    ("ROUTER_HTTP_REQUEST_HEADERS", "--set-delete-http-request-header", Set("x-a:1:Set")),
    ("ROUTER_HTTP_RESPONSE_HEADERS", "--set-delete-http-response-header", Set("x-a:1:Set")),
    ("ROUTER_UNIQUE_ID_FORMAT", "", Set("%ts")),
    ("ROUTER_UNIQUE_ID_HEADER_NAME", "", Set("x-id")),
    ("ROUTER_ENABLE_COMPRESSION", "", Set("true")),
    ("ROUTER_COMPRESSION_MIME", "", Set("text/css")),
    ("ROUTER_ERRORFILE_503", "", Set("/a")),
    ("ROUTER_ERRORFILE_404", "", Set("/a")),
    // 17.5
    ("ROUTER_SYSLOG_ADDRESS", "", Set("127.0.0.1:514")),
    ("ROUTER_SYSLOG_FORMAT", "", Set("%ci")),
    ("ROUTER_LOG_LEVEL", "", Set("info")),
    ("ROUTER_LOG_FACILITY", "", Set("local2")),
    ("ROUTER_LOG_MAX_LENGTH", "", Set("2048")),
    ("ROUTER_CAPTURE_HTTP_REQUEST_HEADERS", "--capture-http-request-headers", Set("Host:10")),
    ("ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS", "--capture-http-response-headers", Set("Server:10")),
    ("ROUTER_CAPTURE_HTTP_COOKIE", "--capture-http-cookie", Set("a=:10")),
    ("ROUTER_DONT_LOG_NULL", "", Set("true")),
    ("ROUTER_HTTP_IGNORE_PROBES", "", Set("true")),
    ("ROUTER_LISTEN_ADDR", "--listen-addr", Set("127.0.0.1:1937")),
    ("STATS_PORT", "--stats-port", Set("1937")),
    ("STATS_USERNAME", "--stats-user", Checked),
    ("STATS_USERNAME_FILE", "--stats-user-file", Checked),
    ("STATS_PASSWORD", "--stats-password", Checked),
    ("STATS_PASSWORD_FILE", "--stats-password-file", Checked),
    ("ROUTER_METRICS_TYPE", "--metrics-type", Checked),
    ("ROUTER_METRICS_TLS_CERT_FILE", "", Checked),
    ("ROUTER_METRICS_TLS_KEY_FILE", "", Checked),
    ("ROUTER_METRICS_TLS_CIPHERS", "", Checked),
    ("ROUTER_METRICS_TLS_MIN_VERSION", "", Checked),
    ("ROUTER_METRICS_TLS_CURVES", "", Checked),
    ("ROUTER_METRICS_READY_HTTP_URL", "", Checked),
    ("ROUTER_METRICS_HAPROXY_SCRAPE_URI", "", Checked),
    ("ROUTER_METRICS_HAPROXY_PID_FILE", "", Checked),
    ("ROUTER_METRICS_HAPROXY_TIMEOUT", "", Checked),
    ("ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL", "", Checked),
    ("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "", Checked),
    ("ROUTER_METRICS_HAPROXY_EXPORTED", "", Checked),
];

/// Flags of OpenShift's router that section 17 leaves out.
const MORE_FLAGS: &[&str] = &["--v", "--enable-ingress"];

fn by_variable(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

fn by_flag(flag: &str) -> Option<&'static Row> {
    rows().find(|row| row.flags.contains(&flag))
}

/// [ENV-FLAG]: every variable is known, and every flag is one of the same row.
#[test]
fn env_flag_every_name_of_section_17_has_a_row() {
    for (variable, flag, fate) in SPEC {
        let row = if variable.is_empty() { by_flag(flag) } else { by_variable(variable) };
        let row = row.unwrap_or_else(|| panic!("there is no row for {variable} {flag}"));
        assert!(flag.is_empty() || row.flags.contains(flag), "{variable} has no {flag}");
        match fate {
            Nothing => assert!(matches!(row.effect, Effect::Nothing), "{variable}{flag}"),
            Refused => assert!(matches!(row.effect, Effect::Refused), "{variable}{flag}"),
            Set(_) => {
                let idle = matches!(row.effect, Effect::Nothing | Effect::Refused);
                assert!(!idle, "{variable}{flag}");
            },
            Checked => {},
        }
        // A sentence, not a word.
        assert!(row.meaning.split(' ').count() > 1, "{variable}{flag}: {}", row.meaning);
    }
    for flag in MORE_FLAGS {
        assert!(by_flag(flag).is_some(), "{flag}");
    }
}

/// A value that is given changes the settings, in the environment and behind the flag alike.
#[test]
fn env_flag_what_is_honoured_changes_the_settings() {
    let default = format!("{:?}", RouterSettings::default());
    for (variable, flag, fate) in SPEC {
        let Set(value) = fate else { continue };
        if !variable.is_empty() {
            let vars = [(*variable, *value), ("ROUTER_SERVICE_NAMESPACE", "ns")];
            let (settings, notes) = read(&vars).expect(variable);
            assert_ne!(format!("{settings:?}"), default, "{variable}={value}");
            assert_eq!(notes, Vec::<String>::new(), "{variable}={value}");
        }
        if !flag.is_empty() {
            let mut config = Config::default();
            let row = by_flag(flag).expect("every flag has a row");
            assert_eq!(row.check(value), Ok(()), "{flag}={value}");
            config.flag(row, &[value]).expect(flag);
            assert_ne!(format!("{:?}", config.settings), default, "{flag}={value}");
        }
    }
}

/// What means nothing is quiet, whatever it says; what is refused names itself and the reason.
#[test]
fn what_sets_nothing_says_so_or_stops_the_start() {
    let default = format!("{:?}", RouterSettings::default());
    for row in rows().filter(|row| !row.name.is_empty()) {
        match row.effect {
            Effect::Nothing if row.check("anything").is_ok() => {
                let (settings, notes) = read(&[(row.name, "anything")]).expect(row.name);
                assert_eq!(format!("{settings:?}"), default, "{}", row.name);
                assert_eq!(notes, Vec::<String>::new());
            },
            Effect::Refused => {
                let error = read(&[(row.name, "anything")]).unwrap_err().to_string();
                assert!(error.starts_with(row.name) && error.ends_with(row.meaning), "{error}");
            },
            _ => {},
        }
    }
}

/// A row that nobody has given a way to be shown is found here: end it with `.shows(...)`, `.like(...)`,
/// `.shows_text()`, `.secret()` or `.nothing()`.
#[test]
fn every_row_says_how_it_is_shown() {
    for row in rows() {
        assert!(!matches!(row.effect, Effect::Unsaid), "{} says not how it is shown", row.key());
        if let Effect::Like(name) = row.effect {
            let like = by_variable(name).map(|row| row.effect);
            assert!(matches!(like, Some(Effect::Shown(_))), "{} is like {name}", row.key());
        }
        assert!(!row.key().is_empty(), "{}", row.meaning);
        assert!(row.flags.iter().all(|flag| flag.starts_with("--")), "{}", row.key());
    }
}

/// What is shown can be given, and changes nothing then but where it comes from.
#[test]
fn what_is_shown_can_be_given_again() {
    // A name must stand beside its namespace.
    for row in rows().filter(|row| !matches!(row.name, "" | "ROUTER_SERVICE_NAME")) {
        let Some(value) = row.default_value() else { continue };
        let vars: [(&str, &'static str); 1] = [(row.name, value.leak())];
        let (config, notes) = configured(&vars).expect(row.name);
        assert_eq!(notes, Vec::<String>::new(), "{}", row.name);
        let (shown, default) = (config.list(), Config::default());
        for (now, before) in shown.zip(default.list()) {
            assert_eq!(now.value, before.value, "{}", row.name);
            let wanted =
                if now.variable == row.name { Origin::Variable(row.name) } else { Origin::Default };
            assert_eq!(now.origin, wanted, "{}", row.name);
        }
    }
}

/// No field of the settings is without a row: each stands in one of the tables.
#[test]
fn every_field_of_the_settings_is_in_a_table() {
    let fields = format!("{:#?}", RouterSettings::default());
    let fields: Vec<_> = fields
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(_, value)| !value.ends_with(" {"))
        .map(|(name, _)| name)
        .collect();
    assert!(fields.len() > 60, "{fields:?}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings/env");
    let mut tables = String::new();
    for folder in [folder.join("rows"), folder] {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let is_test = path.ends_with("tests.rs") || path.ends_with("ledger.rs");
            if path.is_file() && !is_test {
                tables.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    for field in fields {
        let named = tables.match_indices(&format!(".{field}")).any(|(at, found)| {
            let next = tables[at + found.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        assert!(named, "no row is about {field}");
    }
}

/// Each value says who gave it: also where another row has the last word, and where it is the default.
#[test]
fn every_value_has_its_origin() {
    let (mut config, _) = configured(&[
        ("STATS_PORT", "1937"),
        ("ROUTER_THREADS", "3"),
        ("ROUTER_IP_V4_V6_MODE", "v6"),
        ("ROUTER_STRICT_SNI", "false"),
        ("ROUTER_DOMAIN", ""),
        ("DEFAULT_CERTIFICATE", "-----BEGIN PRIVATE KEY-----"),
        ("ROUTE_LABELS", "a in (b)"),
        ("ROUTER_DEFAULT_SERVER_TIMEOUT", "nonsense"),
        ("TEMPLATE_FILE", "/t"),
    ])
    .unwrap();
    config.flag(by_flag("--ciphers").unwrap(), &["modern"]).unwrap();
    config.flag(by_flag("--http").unwrap(), &["127.0.0.1:1", "[::1]:2"]).unwrap();
    config.adjust("a reason", |settings| settings.max_connections = 7);
    let all: BTreeMap<_, _> =
        config.list().map(|setting| (setting.variable, (setting.value, setting.origin))).collect();
    let is = |name, value: Option<&str>, origin| {
        assert_eq!(all[name], (value.map(ToOwned::to_owned), origin), "{name}");
    };
    is("WHARF_ADMIN", Some("0.0.0.0:1937"), Origin::Variable("STATS_PORT"));
    is("WHARF_WORKERS", Some("3"), Origin::Variable("ROUTER_THREADS"));
    is("WHARF_HTTPS", Some("[::]:443"), Origin::Variable("ROUTER_IP_V4_V6_MODE"));
    is("WHARF_HTTP", Some("127.0.0.1:1,[::1]:2"), Origin::Flag("--http"));
    is("ROUTER_CIPHERS", Some("modern"), Origin::Flag("--ciphers"));
    is("ROUTER_STRICT_SNI", Some("false"), Origin::Variable("ROUTER_STRICT_SNI"));
    is("ROUTER_DOMAIN", Some(""), Origin::Default);
    is("DEFAULT_CERTIFICATE", None, Origin::Variable("DEFAULT_CERTIFICATE"));
    is("ROUTE_LABELS", Some("a in (b)"), Origin::Variable("ROUTE_LABELS"));
    is("ROUTER_DEFAULT_SERVER_TIMEOUT", Some("30s"), Origin::Default);
    is("ROUTER_MAX_CONNECTIONS", Some("7"), Origin::Start("a reason"));
    is("TEMPLATE_FILE", None, Origin::Variable("TEMPLATE_FILE"));
    assert!(!all.contains_key("RELOAD_SCRIPT"), "what sets nothing is listed if it was given");
}

#[test]
fn a_slip_of_the_pen_is_told_from_what_nobody_knows() {
    for (name, meant) in [
        ("ROUTER_STRICT_SIN", "did you mean ROUTER_STRICT_SNI?"),
        ("ROUTER_DEFAULT_SERVERTIMEOUT", "did you mean ROUTER_DEFAULT_SERVER_TIMEOUT?"),
        ("ROUTER_MAX_CONECTIONS", "did you mean ROUTER_MAX_CONNECTIONS?"),
        ("WHARF_WORKER", "did you mean WHARF_WORKERS?"),
        ("ROUTER_FOO", "is it misspelt?"),
    ] {
        let (_, notes) = read(&[(name, "1")]).unwrap();
        assert_eq!(notes, [format!("{name} is not a variable of this router; {meant}")]);
    }
}
