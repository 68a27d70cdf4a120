//! `wharf router --print-config`, and what the environment of a deployment comes to (spec/route.md 17, 22).

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::within;

/// Runs `wharf router --print-config` with these flags and variables in an empty folder.
async fn print(flags: &[&str], variables: &[(&'static str, &'static str)]) -> Output {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command
        .args(["router", "--print-config"])
        .args(flags)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output());
    within("the command", output).await.expect("no panic").expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The entry of one setting in the JSON document.
fn setting<'a>(document: &'a Value, name: &str) -> &'a Value {
    let all = document["settings"].as_array().expect("a list");
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is not there"))
}

/// A self-signed pair for `a.test`, certificate and key in one text.
fn pair() -> &'static str {
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a pair");
    format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()).leak()
}

/// The command ends by itself, with every value and who gave it; flags win over variables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_setting_says_where_it_came_from() {
    let variables = [
        ("ROUTER_THREADS", "3"),
        ("ROUTER_CIPHERS", "old"),
        ("ROUTER_STRICT_SNI", "true"),
        ("TEMPLATE_FILE", "/t"),
        ("ROUTER_STRICT_SIN", "true"),
    ];
    let output = print(&["-o", "json", "--ciphers=modern"], &variables).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (name, value, source, from) in [
        ("WHARF_WORKERS", Value::from("3"), "variable", Value::from("ROUTER_THREADS")),
        ("ROUTER_CIPHERS", "modern".into(), "flag", "--ciphers".into()),
        ("ROUTER_STRICT_SNI", "true".into(), "variable", "ROUTER_STRICT_SNI".into()),
        ("ROUTER_DEFAULT_SERVER_TIMEOUT", "30s".into(), "default", Value::Null),
        ("TEMPLATE_FILE", Value::Null, "variable", "TEMPLATE_FILE".into()),
    ] {
        let entry = setting(&document, name);
        assert_eq!((&entry["value"], &entry["from"]), (&value, &from), "{name}");
        assert_eq!(entry["source"], source, "{name}");
        assert_eq!(entry["effect"], name != "TEMPLATE_FILE");
    }
    let log = text(&output.stderr);
    assert!(log.contains("did you mean ROUTER_STRICT_SNI?"), "{log}");

    let output = print(&["--ciphers=modern"], &variables).await;
    let table = text(&output.stdout);
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().map(words).collect();
    assert_eq!(rows[0], ["SETTING", "VALUE", "FROM"]);
    assert!(rows.contains(&words("ROUTER_CIPHERS modern --ciphers")), "{table}");
    assert!(rows.contains(&words("ROUTER_DEFAULT_SERVER_TIMEOUT 30s default")), "{table}");
    assert!(rows.contains(&words("TEMPLATE_FILE (no effect) TEMPLATE_FILE")), "{table}");
    let output = print(&["-o", "yaml"], &variables).await;
    assert!(text(&output.stdout).contains("ROUTER_THREADS"), "{}", text(&output.stdout));
}

/// No format shows a key, nor the text that it stands in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_not_printed() {
    let variables = [("DEFAULT_CERTIFICATE", pair())];
    let line = variables[0].1.lines().rev().nth(1).expect("a line of the key");
    for format in ["table", "wide", "json", "yaml"] {
        let output = print(&["-o", format], &variables).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(all.contains("DEFAULT_CERTIFICATE"), "{all}");
        for secret in [line, "BEGIN"] {
            assert!(!all.contains(secret), "{format}: {all}");
        }
    }
}

/// What would stop the start stops this, with the same words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_the_start_is_said() {
    type Row =
        (&'static [&'static str], &'static [(&'static str, &'static str)], i32, &'static str);
    let rows: [Row; 6] = [
        (&[], &[("STATS_PORT", "http")], 1, "STATS_PORT=\"http\": expected a port number"),
        (&[], &[("KUBERNETES_MASTER", "https://api")], 1, "objects come from manifests"),
        (&["--kubeconfig=/k"], &[], 2, "objects come from manifests"),
        (&["--override-hostname"], &[], 1, "needs ROUTER_SUBDOMAIN"),
        (&["--name="], &[], 1, "must have a name"),
        (&["--default-cert=missing.pem"], &[], 1, "missing.pem"),
    ];
    for (flags, variables, code, says) in rows {
        let output = print(flags, variables).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?} {variables:?}: {said}");
        assert!(said.contains(says), "{flags:?} {variables:?}: {said}");
        assert_eq!(text(&output.stdout), "");
    }
}

/// The environment that the operator gives a router (spec/route.md 22): an IngressController with most of
/// its fields set. Files of mounts are left out, which are checked where they are read.
const OPERATOR: &[(&str, &str)] = &[
    ("ROUTER_SERVICE_NAME", "default"),
    ("ROUTER_SERVICE_NAMESPACE", "openshift-ingress"),
    ("ROUTER_DOMAIN", "apps.example.com"),
    ("ROUTER_CANONICAL_HOSTNAME", "router-default.apps.example.com"),
    ("ROUTER_LOAD_BALANCE_ALGORITHM", "random"),
    ("ROUTER_TCP_BALANCE_SCHEME", "source"),
    ("ROUTER_METRICS_TYPE", "haproxy"),
    ("STATS_PORT", "1936"),
    ("ROUTER_ENABLE_EXTERNAL_CERTIFICATE", "true"),
    ("ROUTER_HAPROXY_ADMIN_UNIX_SOCKET", "/var/lib/haproxy/run/admin.sock"),
    ("NAMESPACE_LABELS", "shard=a"),
    ("ROUTE_LABELS", "type notin (internal)"),
    ("ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK", "false"),
    ("ROUTER_ALLOW_WILDCARD_ROUTES", "false"),
    (
        "ROUTER_CIPHERS",
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
         ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        "ROUTER_CIPHERSUITES",
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
    ),
    ("SSL_MIN_VERSION", "TLSv1.2"),
    ("ROUTER_CURVES", "X25519MLKEM768:X25519:secp256r1:secp384r1"),
    ("ROUTER_LOG_LEVEL", "info"),
    ("ROUTER_SYSLOG_ADDRESS", "127.0.0.1:514"),
    ("ROUTER_SYSLOG_FORMAT", "\"%ci:%cp [%tr] %ft %b/%s\""),
    ("ROUTER_LOG_MAX_LENGTH", "1024"),
    ("ROUTER_LOG_FACILITY", "local1"),
    ("ROUTER_CAPTURE_HTTP_REQUEST_HEADERS", "Host:128"),
    ("ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS", "Server:128"),
    ("ROUTER_CAPTURE_HTTP_COOKIE", "foo=:256"),
    ("ROUTER_DONT_LOG_NULL", "true"),
    ("ROUTER_HTTP_IGNORE_PROBES", "true"),
    ("ROUTER_SET_FORWARDED_HEADERS", "append"),
    ("ROUTER_UNIQUE_ID_HEADER_NAME", "unique-id"),
    ("ROUTER_UNIQUE_ID_FORMAT", "\"%{+X}o %ci:%cp_%fi:%fp_%Ts_%rt:%pid\""),
    ("ROUTER_H1_CASE_ADJUST", "X-Forwarded-For,Cache-Control"),
    ("ROUTER_HTTP_REQUEST_HEADERS", "X-Client:%25%5Breq.hdr(Host)%5D:Set"),
    ("ROUTER_HTTP_RESPONSE_HEADERS", "X-Frame-Options:DENY:Set"),
    ("ROUTER_ENABLE_COMPRESSION", "true"),
    ("ROUTER_COMPRESSION_MIME", "text/html application/json"),
    ("ROUTER_BUF_SIZE", "32768"),
    ("ROUTER_MAX_REWRITE_SIZE", "8192"),
    ("ROUTER_THREADS", "4"),
    ("ROUTER_DEFAULT_CLIENT_TIMEOUT", "30s"),
    ("ROUTER_CLIENT_FIN_TIMEOUT", "1s"),
    ("ROUTER_DEFAULT_SERVER_TIMEOUT", "30s"),
    ("ROUTER_DEFAULT_SERVER_FIN_TIMEOUT", "1s"),
    ("ROUTER_DEFAULT_TUNNEL_TIMEOUT", "349s"),
    ("ROUTER_DEFAULT_CONNECT_TIMEOUT", "5s"),
    ("ROUTER_INSPECT_DELAY", "5s"),
    ("ROUTER_SLOWLORIS_HTTP_KEEPALIVE", "5m"),
    ("ROUTER_BACKEND_CHECK_INTERVAL", "5s"),
    ("ROUTER_MAX_CONNECTIONS", "auto"),
    ("RELOAD_INTERVAL", "5s"),
    ("ROUTER_HAPROXY_CONFIG_MANAGER", "true"),
    ("ROUTER_MAX_DYNAMIC_SERVERS", "5"),
    ("ROUTER_HAPROXY_CONTSTATS", "true"),
    ("ROUTER_MUTUAL_TLS_HEADER_FILTER", "true"),
    ("ROUTER_IDLE_CLOSE_ON_RESPONSE", "true"),
    ("ROUTER_ABORT_ON_CLOSE", "true"),
    ("ROUTER_DISABLE_HTTP2", "false"),
    ("ROUTER_HARD_STOP_AFTER", "1h"),
    ("ROUTER_IP_V4_V6_MODE", "v4v6"),
    ("ROUTER_USE_PROXY_PROTOCOL", "true"),
    ("ROUTER_SERVICE_HTTP_PORT", "80"),
    ("ROUTER_SERVICE_HTTPS_PORT", "443"),
    ("TEMPLATE_FILE", "/var/lib/haproxy/conf/haproxy-config.template"),
    ("RELOAD_SCRIPT", "/var/lib/haproxy/reload-haproxy"),
    ("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "45s"),
];

/// Nothing of it is refused, unknown or misread; every name appears as where something came from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_of_an_ingress_controller_starts_the_router() {
    let flags = ["--v=2", "-o", "json"];
    let output = print(&flags, OPERATOR).await;
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for bad in ["not a variable", "misspelt", "the default is used", "is none of"] {
        assert!(!said.contains(bad), "{said}");
    }
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |name: &str| {
        let entry = setting(&document, name);
        (entry["value"].as_str().map(ToOwned::to_owned), entry["from"].clone())
    };
    for (name, value) in [
        ("ROUTER_DEFAULT_TUNNEL_TIMEOUT", "349s"),
        ("ROUTER_HARD_STOP_AFTER", "1h"),
        ("RELOAD_INTERVAL", "5s"),
        ("ROUTER_CANONICAL_HOSTNAME", "router-default.apps.example.com"),
    ] {
        assert_eq!(of(name), (Some(value.to_owned()), name.into()));
    }
    assert_eq!(of("WHARF_HTTP").0.as_deref(), Some("0.0.0.0:80,[::]:80"));
    assert_eq!(of("WHARF_ADMIN").1, "STATS_PORT");
}
