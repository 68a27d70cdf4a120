//! TLS policy by real tools: curl with certificates good, bad and revoked, openssl's renegotiation and
//! sessions, and HAProxy, which is asked for the fields of the same certificates.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use data_encoding::BASE64;
use rcgen::{DnType, DnValue, string::BmpString};
use tempfile::TempDir;
use tokio::net::TcpStream;
use wharf::{settings::tls::ClientCertificates, tls::mint::Pair};

use super::{run, says, wanted};
use crate::harness::{
    LIMIT,
    authority::{Authority, authority, replace},
    client::{Client, get},
    eventually,
    manifest::{app, edge, with_all},
    pod::{Pod, Seen},
    router::Edge,
    tls::{Hello, Identity, client, connect_with, pair},
};

const HOST: &str = "a.example.com";

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
}

/// Chain and key in one file, as curl and openssl take them.
fn write_identity(path: &Path, identity: &Identity) {
    let chain: String = identity.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    replace(path, &format!("{chain}{}", pem("PRIVATE KEY", identity.key.secret_der())));
}

/// A router that asks for certificates, and the files of its clients.
struct Bed {
    edge: Edge,
    pod: Pod,
    ca: Authority,
    folder: TempDir,
}

impl Bed {
    async fn start(mode: ClientCertificates, everywhere: bool) -> Self {
        let (ca, folder) = (authority("ca", None), TempDir::new().expect("a folder"));
        let path = |name: &str| folder.path().join(name);
        replace(&path("ca.pem"), &ca.pem);
        ca.write_list(&path("crl.pem"), &[66]);
        write_identity(&path("good"), &ca.client("good", 65));
        write_identity(&path("revoked"), &ca.client("revoked", 66));
        write_identity(&path("bad"), &authority("other", None).client("bad", 1));
        let pod = Pod::saying("served").await;
        let own = app(edge("a", HOST, Some(&pair(HOST))), &[pod.address]);
        let others = app(edge("d", "d.example.com", None), &[pod.address]);
        let edge = Edge::with(&with_all([own, others]), |settings| {
            let tls = &mut settings.tls;
            tls.client_certificates = mode;
            (tls.client_ca, tls.client_crl) = (Some(path("ca.pem")), Some(path("crl.pem")));
            tls.http2_everywhere = everywhere;
        })
        .await;
        Self { edge, pod, ca, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a name").to_owned()
    }

    /// The status that curl gets with the identity in file `name`; `000` without a response.
    async fn curl(&self, arguments: &[&str], name: Option<&str>, url: &str) -> String {
        let (identity, to) = (name.map(|name| self.file(name)), format!("::{}", self.edge.https));
        let fixed = ["-sk", "-o", "/dev/null", "-w", "%{http_code}", "--connect-to", &to, url];
        let mut all = [&fixed[..], arguments].concat();
        if let Some(file) = &identity {
            all.extend(["--cert", file]);
        }
        String::from_utf8_lossy(&run("curl", &all).await.stdout).into_owned()
    }
}

/// [MTLS-1, MTLS-2, MTLS-4]: with and without a server name, on both versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_shows_certificates() {
    if !wanted("peers_curl_shows_certificates") {
        return;
    }
    for (mode, none) in
        [(ClientCertificates::Required, "000"), (ClientCertificates::Optional, "200")]
    {
        let bed = Bed::start(mode, false).await;
        let no_name = format!("https://{}/", bed.edge.https.ip());
        for (url, named) in [(format!("https://{HOST}/"), true), (no_name, false)] {
            for version in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
                let host = ["-H", "Host: a.example.com"];
                let arguments = if named { &version[1..] } else { &version[..] };
                let arguments = [arguments, &host[..]].concat();
                for (identity, expected) in [
                    (Some("good"), "200"),
                    (None, none),
                    (Some("bad"), "000"),
                    (Some("revoked"), "000"),
                ] {
                    let status = bed.curl(&arguments, identity, &url).await;
                    assert_eq!(status, expected, "{mode:?} {url} {version:?} {identity:?}");
                }
            }
        }
    }
}

/// S-62, S-65, S-67, [TLS-3]: openssl resumes a session with its certificate; early data and a
/// renegotiation are not accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_openssl_resumes_and_does_not_renegotiate() {
    if !wanted("peers_openssl_resumes_and_does_not_renegotiate") {
        return;
    }
    let bed = Bed::start(ClientCertificates::Required, false).await;
    let (address, session) = (bed.edge.https.to_string(), bed.file("session"));
    let good = bed.file("good");
    let client = |version: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address, "-servername", HOST, "-cert", &good]);
        command.args(["-key", &good, "-ign_eof", version]).args(more);
        command
    };
    let request = bed.file("request");
    replace(
        Path::new(&request),
        &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"),
    );
    for version in ["-tls1_2", "-tls1_3"] {
        for (option, shown) in [("-sess_out", "New, TLSv1"), ("-sess_in", "Reused, TLSv1")] {
            let mut command = client(version, &[option, &session]);
            let input = std::fs::File::open(&request).expect("just written");
            let told = with_input(&mut command, input).await;
            assert!(told.contains(shown), "{version} {option}: {told}");
            assert!(told.contains("HTTP/1.1 200 OK"), "{version} {option}: {told}");
            assert!(!told.contains("Early data was accepted"), "{told}");
        }
    }
    // `R` asks for a renegotiation; without `-ign_eof` it is a command.
    replace(Path::new(&request), "R\n");
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &address,
        "-servername",
        HOST,
        "-tls1_2",
        "-cert",
        &good,
        "-key",
        &good,
    ]);
    let input = std::fs::File::open(&request).expect("just written");
    let told = with_input(&mut command, input).await;
    assert!(told.contains("RENEGOTIATING"), "{told}");
    assert!(told.contains("no renegotiation") || told.contains("alert"), "{told}");
    assert_eq!(bed.curl(&[], Some("good"), &format!("https://{HOST}/")).await, "200");
    assert_eq!(bed.pod.attempts(), 5);
}

/// Runs `command` with a file as its input; what it printed and complained about.
async fn with_input(command: &mut Command, input: std::fs::File) -> String {
    let mut started = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let output = tokio::task::spawn_blocking(move || {
        let mut texts = (String::new(), String::new());
        let read = |pipe: &mut dyn std::io::Read, text: &mut String| {
            let mut bytes = Vec::new();
            let _partly = pipe.read_to_end(&mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        };
        read(&mut started.stdout.take().expect("piped"), &mut texts.0);
        read(&mut started.stderr.take().expect("piped"), &mut texts.1);
        let _status = started.wait();
        texts.0 + &texts.1
    });
    let output = tokio::time::timeout(LIMIT, output).await;
    output.expect("the tool ends").expect("no panic")
}

/// S-63: curl keeps its connection for another host of the same certificate, and gets 421 when it is
/// not the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_is_misdirected() {
    if !wanted("peers_curl_is_misdirected") {
        return;
    }
    let bed = Bed::start(ClientCertificates::Optional, true).await;
    let told = |url: String, host: &'static str| {
        let to = format!("::{}", bed.edge.https);
        async move {
            let header = format!("Host: {host}");
            let both = "%{http_version} %{http_code}";
            let fixed = ["-sk", "-o", "/dev/null", "-w", both, "--connect-to", &to];
            says("curl", &[&fixed[..], &["-H", &header, &url]].concat()).await
        }
    };
    let url = |host: &str| format!("https://{host}/");
    assert_eq!(told(url(HOST), HOST).await, "2 200");
    assert_eq!(told(url("d.example.com"), "d.example.com").await, "2 200");
    assert_eq!(told(url(HOST), "d.example.com").await, "2 421");
    assert_eq!(told(url("d.example.com"), HOST).await, "2 421");
    bed.edge.has_reasons(&[("misdirected", 2)]).await;
}

/// A running HAProxy, which ends with this.
struct HaProxy {
    address: SocketAddr,
    process: Child,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// The fields of OpenShift's template.
const FIELDS: [(&str, &str); 11] = [
    ("X-SSL", "%[ssl_fc]"),
    ("X-SSL-Client-Verify", "%[ssl_c_verify]"),
    ("X-SSL-Client-Serial", "%{+Q}[ssl_c_serial,hex]"),
    ("X-SSL-Client-Version", "%{+Q}[ssl_c_version]"),
    ("X-SSL-Client-SHA1", "%{+Q}[ssl_c_sha1,hex]"),
    ("X-SSL-Client-DN", "%{+Q}[ssl_c_s_dn]"),
    ("X-SSL-Client-CN", "%{+Q}[ssl_c_s_dn(cn)]"),
    ("X-SSL-Issuer", "%{+Q}[ssl_c_i_dn]"),
    ("X-SSL-Client-NotBefore", "%{+Q}[ssl_c_notbefore]"),
    ("X-SSL-Client-NotAfter", "%{+Q}[ssl_c_notafter]"),
    ("X-SSL-Client-DER", "%{+Q}[ssl_c_der,base64]"),
];

impl HaProxy {
    /// In front of `pod`, asking for certificates of the file `ca`.
    async fn start(folder: &Path, pod: SocketAddr, ca: &str) -> Self {
        let Pair { cert_pem, key_pem } = pair(HOST);
        replace(&folder.join("server.pem"), &format!("{cert_pem}{key_pem}"));
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let fields: String = FIELDS
            .iter()
            .map(|(name, value)| format!("  http-request set-header {name} {value}\n"))
            .collect();
        let server = folder.join("server.pem");
        let config = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
             frontend f\n  bind {address} ssl crt {} ca-file {ca} verify optional\n{fields}  \
             default_backend b\nbackend b\n  server s {pod}\n",
            server.display()
        );
        let path = folder.join("haproxy.cfg");
        replace(&path, &config);
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().expect("haproxy is installed");
        let this = Self { address, process };
        eventually("HAProxy", async || TcpStream::connect(this.address).await.ok()).await;
        this
    }
}

/// [MTLS-5], S-55: the fields are those of HAProxy, byte for byte, for plain and for hostile subjects,
/// and without a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_haproxy_says_the_same_of_a_client() {
    if !wanted("peers_haproxy_says_the_same_of_a_client") {
        return;
    }
    let bed = Bed::start(ClientCertificates::Optional, false).await;
    let haproxy = HaProxy::start(bed.folder.path(), bed.pod.address, &bed.file("ca.pem")).await;
    let wide: DnValue = DnValue::BmpString(BmpString::try_from("wide").expect("UCS-2"));
    let custom = |oid: &[u64]| DnType::CustomDnType(oid.to_vec());
    let subjects: [Vec<(DnType, DnValue)>; 7] = [
        vec![(DnType::CommonName, "plain".into())],
        vec![],
        vec![
            (DnType::CountryName, "DE".into()),
            (DnType::StateOrProvinceName, "Berlin".into()),
            (DnType::LocalityName, "Berlin".into()),
            (DnType::OrganizationName, "A \"B\" / Söhne".into()),
            (DnType::OrganizationalUnitName, "unit".into()),
            (custom(&[1, 2, 840, 113_549, 1, 9, 1]), "a@example.com".into()),
            (DnType::CommonName, "web.example.com".into()),
        ],
        vec![(DnType::CommonName, "a\r\nX-Admin: 1\t\u{7f}%41".into())],
        vec![(DnType::CommonName, wide)],
        vec![(custom(&[1, 2, 3, 4]), "own".into()), (DnType::OrganizationName, "no name".into())],
        [
            "4", "5", "9", "12", "13", "15", "16", "17", "20", "41", "42", "43", "44", "46", "65",
            "72", "97",
        ]
        .iter()
        .map(|last| (custom(&[2, 5, 4, last.parse().expect("a number")]), "v".into()))
        .chain([(custom(&[0, 9, 2342, 19_200_300, 100, 1, 1]), "uid".into())])
        .chain([(custom(&[0, 9, 2342, 19_200_300, 100, 1, 3]), "mail".into())])
        .chain([(custom(&[0, 9, 2342, 19_200_300, 100, 1, 25]), "dc".into())])
        .chain([(custom(&[1, 2, 840, 113_549, 1, 9, 2]), "un".into())])
        .chain([(custom(&[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3]), "DE".into())])
        .collect(),
    ];
    let serials = [1, 0x80, 0xffff_ffff, 0x7f, 0x0102_0304, u64::MAX >> 1, 9];
    // As two runs of the same request on HTTP/1.1 over TLS 1.3.
    let hello = Hello { sni: Some(HOST), alpn: &["http/1.1"], version: &rustls::version::TLS13 };
    let identities = subjects.iter().zip(serials).map(|(subject, serial)| {
        // The file of the router has 66 revoked, which none of these is; its list covers them.
        Some(bed.ca.client_with(subject, serial))
    });
    for identity in identities.chain([None]) {
        let mut told = Vec::new();
        for address in [haproxy.address, bed.edge.https] {
            let stream = connect_with(address, Some(HOST), &client(hello, identity.as_ref())).await;
            let mut client = Client::over(stream.expect("a handshake"));
            client.send(get(HOST, "/")).await;
            assert_eq!(client.response().await.status(), 200);
            told.push(fields(bed.pod.seen().last().expect("a request")));
        }
        assert_eq!(told[1], told[0]);
        assert!(told[0].iter().all(|(_, values)| values.len() == 1), "{told:?}");
    }
}

fn fields(seen: &Seen) -> Vec<(String, Vec<String>)> {
    let value = |(name, _): &(&str, &str)| {
        let all = seen.all(name).into_iter().map(str::to_owned).collect();
        (name.to_ascii_lowercase(), all)
    };
    FIELDS.iter().map(value).collect()
}
