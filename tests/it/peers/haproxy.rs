//! HAProxy in front of wharf, naming clients by PROXY headers, and behind it, as the pod of a
//! passthrough route; openssl and curl as its clients.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use wharf::tls::mint::{self, Authority};

use super::{HOST, run, says, wanted};
use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app, route},
    pod::Pod,
    router::Edge,
};

/// A running HAProxy, killed when dropped. It has its listener from us, as its standard input.
pub(super) struct Haproxy {
    pub(super) address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Haproxy {
    /// One with this frontend behind `bind fd@0`; `files` are put into the folder that `{}` stands for.
    pub(super) fn start(frontend: &str, files: &[(&str, &str)]) -> Self {
        Self::with("", "it", frontend, files)
    }

    /// One with these global settings, whose frontend is called `public`.
    pub(super) fn logging(global: &str, frontend: &str) -> Self {
        Self::with(global, "public", frontend, &[])
    }

    fn with(global: &str, name: &str, frontend: &str, files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("the folder is writable");
        }
        let place = folder.path().to_str().expect("a name");
        let text = format!(
            "{global}defaults\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n\
             frontend {name}\n  bind fd@0 {}\n",
            frontend.replace("{}", place)
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).expect("the folder is writable");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(Path::new(&file))
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn();
        Self { address, process: process.expect("haproxy is installed"), _folder: folder }
    }

    /// One that names its clients to `router` by `header`, on requests and on checks.
    fn in_front_of(router: SocketAddr, header: &str) -> Self {
        Self::start(
            &format!(
                "\n  mode tcp\n  default_backend router\nbackend router\n  mode tcp\n  server \
                 router {router} {header} check check-send-proxy inter 50\n"
            ),
            &[],
        )
    }

    /// A TLS pod.
    fn pod(authority: &Authority) -> Self {
        let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
        let pem = [leaf.cert_pem, leaf.key_pem].concat();
        Self::start(
            "ssl crt {}/pod.pem alpn h2,http/1.1 ssl-min-ver TLSv1.0 ciphers \
             DEFAULT:@SECLEVEL=0\n  mode http\n  http-request return status 200 content-type \
             text/plain lf-string \"haproxy %[ssl_fc_protocol] %[ssl_fc_sni]\"\n",
            &[("pod.pem", &pem)],
        )
    }
}

/// [LSN-3, FWD-4]: both versions of the header as HAProxy writes them, and its checks, which name
/// nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_haproxy_names_its_clients() {
    if !wanted("peers_haproxy_names_its_clients") {
        return;
    }
    for header in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"] {
        let pod = Pod::saying("pod").await;
        let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
            settings.proxy_protocol = true;
        })
        .await;
        let front = Haproxy::in_front_of(edge.http, header);
        let port = eventually("an answer through HAProxy", async || {
            let mut client = Client::connect(front.address).await;
            let port = client.stream.local_addr().expect("connected").port();
            (client.get(HOST, "/").await.text() == "pod").then_some(port)
        })
        .await;
        let seen = pod.seen();
        let seen = seen.last().expect("a request");
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "{header}");
        let own = front.address.port().to_string();
        assert_eq!(seen.all("x-forwarded-port"), [own.as_str()], "{header}: not the router's");
        assert_ne!(own, port.to_string());
        assert_eq!(edge.reasons(), [], "{header}: no check was refused");
    }
}

/// [SNI-3, LSN-5]: curl and openssl reach HAProxy through a second one and wharf, with its certificate
/// verified, in versions and suites that wharf itself does not speak.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_haproxy_is_a_pod_behind_passthrough() {
    if !wanted("peers_haproxy_is_a_pod_behind_passthrough") {
        return;
    }
    let authority = mint::authority("peers").expect("an authority");
    let pod = Haproxy::pod(&authority);
    let passed = route("a", HOST).with("/spec/tls/termination", "passthrough");
    let edge = Edge::with(&app(passed, &[pod.address]), |settings| {
        settings.proxy_protocol = true;
    })
    .await;
    let front = Haproxy::in_front_of(edge.https, "send-proxy-v2");
    let folder = TempDir::new().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.pair().cert_pem).expect("the folder is writable");
    let ca = ca.to_str().expect("a name");
    let (to, url) = (format!("{HOST}:443:{}", front.address), format!("https://{HOST}/"));
    let fixed = ["-sS", "--cacert", ca, "--connect-to", &to, &url];
    eventually("an answer through both", async || {
        run("curl", &fixed).await.status.success().then_some(())
    })
    .await;
    let rows: [(&[&str], &str); 4] = [
        (&["--http2", "--tlsv1.3"], "TLSv1.3"),
        (&["--http1.1", "--tls-max", "1.2"], "TLSv1.2"),
        (&["--http1.1", "--tls-max", "1.1", "--tlsv1.1", "--ciphers", OLD], "TLSv1.1"),
        (&["--http1.1", "--tls-max", "1.0", "--tlsv1.0", "--ciphers", OLD], "TLSv1"),
    ];
    for (arguments, version) in rows {
        let told = says("curl", &[&fixed[..], arguments].concat()).await;
        assert_eq!(told, format!("haproxy {version} {HOST}"), "{arguments:?}");
    }
    let address = front.address.to_string();
    let odd: [&[&str]; 4] = [
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        &["-max_send_frag", "512", "-split_send_frag", "100"],
        &["-no_ticket", "-groups", "X448"],
        &["-tls1", "-cipher", OLD],
    ];
    for hello in odd {
        let fixed = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            HOST,
            "-CAfile",
            ca,
            "-verify_return_error",
        ];
        let told = says("openssl", &[&fixed[..], hello].concat()).await;
        assert!(told.contains("Verify return code: 0 (ok)"), "{hello:?}: {told}");
    }
    // Without the name, TLS ends at wharf, which speaks no such version.
    let here = ["s_client", "-connect", &address, "-noservername", "-tls1", "-cipher", OLD];
    assert!(!run("openssl", &here).await.status.success());
    assert_eq!(edge.reasons(), [("tls_handshake", 1)]);
}

const OLD: &str = "ALL:@SECLEVEL=0";
