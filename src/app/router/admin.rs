//! What the admin port is made of: its credentials, its certificate, its check of the plain port.
//!
//! Read at start, where anything wrong stops the process; the files of the certificate are looked at by a
//! task of their own. Always holds: a pair that cannot be served leaves the one before it in force.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use super::followed::Followed;
use crate::{
    admin::{AdminState, TlsCell, access::Credentials, checks::PortCheck, readiness::Readiness},
    proxy::{self, stats::RouterStats},
    settings::{
        RouterSettings,
        admin::{AdminSettings, Given},
    },
    snapshot::Live,
    telemetry::metrics::{Exporter, Extra, ExtraCell},
    tls::{keys, server::Profile, suites::Dropped},
};

/// Most bytes of one file.
const MAX_BYTES: u64 = 1 << 20;
/// How often the files of the certificate are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The state of the port of a router whose plain port is `http`.
///
/// # Errors
/// A file cannot be read or used, or settings contradict each other.
pub(super) fn state(
    settings: &RouterSettings,
    http: SocketAddr,
    live: &Arc<Live>,
    stats: &Arc<RouterStats>,
    ready: &Arc<Readiness>,
    tls: Option<&Tls>,
) -> anyhow::Result<Arc<AdminState>> {
    let port = &settings.admin_port;
    Ok(Arc::new(AdminState {
        live: Arc::clone(live),
        stats: Arc::clone(stats),
        ready: Arc::clone(ready),
        allow: settings.admin_allow.clone(),
        credentials: credentials(port)?,
        tls: tls.map(|tls| Arc::clone(&tls.cell)),
        port_check: port.haproxy.then(|| port_check(settings, http)),
        metrics: Exporter::new(port),
        extra: ExtraCell::new(Extra {
            max_connections: settings.max_connections as u64,
            ..Extra::default()
        }),
    }))
}

/// What the settings give [ADMIN-4]; a line's end behind a word in a file is not part of it.
fn credentials(port: &AdminSettings) -> anyhow::Result<Option<Credentials>> {
    let word = |given: &Option<Given>, name: &str| match given {
        None => Ok(String::new()),
        Some(Given::Text(text)) => Ok(text.clone()),
        Some(Given::File(path)) => {
            let text = Followed::new(path, MAX_BYTES).text();
            let text = text.with_context(|| format!("cannot read {name} {}", path.display()))?;
            Ok::<_, anyhow::Error>(text.trim_end_matches(['\r', '\n']).to_owned())
        },
    };
    let name = word(&port.username, "STATS_USERNAME_FILE")?;
    let password = word(&port.password, "STATS_PASSWORD_FILE")?;
    if name.is_empty() != password.is_empty() {
        tracing::warn!("STATS_USERNAME and STATS_PASSWORD open the admin port only together");
    }
    Ok(Credentials::new(&name, &password))
}

/// The plain port's own health page, unless a URL is given [ADMIN-3].
fn port_check(settings: &RouterSettings, http: SocketAddr) -> PortCheck {
    let proxy = settings.proxy_protocol;
    match &settings.admin_port.ready_url {
        Some(url) => PortCheck {
            host: url.host().unwrap_or("localhost").trim_matches(['[', ']']).to_owned(),
            port: url.port_u16().unwrap_or(80),
            path: url.path_and_query().map_or("/", |it| it.as_str()).to_owned(),
            proxy,
        },
        None => {
            let host = match http.ip() {
                ip if !ip.is_unspecified() => ip.to_string(),
                ip if ip.is_ipv4() => "127.0.0.1".to_owned(),
                _ => "::1".to_owned(),
            };
            PortCheck { host, port: http.port(), path: proxy::HEALTH_PATH.to_owned(), proxy }
        },
    }
}

/// The TLS of the port, with what it is made of.
#[derive(Debug)]
pub(super) struct Tls {
    profile: Profile,
    certificate: Followed,
    key: Followed,
    cell: TlsCell,
}

impl Tls {
    /// What the settings ask for [ADMIN-1]; nothing without a certificate.
    ///
    /// # Errors
    /// It cannot be served; an unknown group counts as that.
    pub(super) fn open(port: &AdminSettings) -> anyhow::Result<Option<Self>> {
        let (certificate, key) = match (&port.certificate, &port.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            _ => anyhow::bail!(
                "ROUTER_METRICS_TLS_CERT_FILE and ROUTER_METRICS_TLS_KEY_FILE must be set together"
            ),
        };
        let profile = Profile::new(&port.tls).context("cannot set up the TLS of the admin port")?;
        for Dropped { setting, word, why } in profile.dropped() {
            ensure!(*setting != "ROUTER_CURVES", "ROUTER_METRICS_TLS_CURVES: {word} {why}");
            tracing::warn!(word, "left out of ROUTER_METRICS_TLS_CIPHERS: it {why}");
        }
        let file = |path: &Path| Followed::new(path, MAX_BYTES);
        let (certificate, key) = (file(certificate), file(key));
        let config = config(&profile, &certificate, &key)?;
        let cell = Arc::new(ArcSwap::new(config));
        Ok(Some(Self { profile, certificate, key, cell }))
    }

    /// Follows the files until `cancel`.
    pub(super) async fn follow(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = tick.tick() => {},
            }
            // A mounted folder may be slow.
            tokio::task::block_in_place(|| self.look());
        }
    }

    fn look(&mut self) {
        let key = self.key.has_changed();
        if !self.certificate.has_changed() && !key {
            return;
        }
        match config(&self.profile, &self.certificate, &self.key) {
            Ok(config) => {
                self.cell.store(config);
                tracing::info!("the admin port has a new certificate");
            },
            Err(error) => tracing::warn!("{error:#}; the last certificate is served"),
        }
    }
}

/// A configuration that serves the pair in these files.
fn config(
    profile: &Profile,
    certificate: &Followed,
    key: &Followed,
) -> anyhow::Result<Arc<ServerConfig>> {
    let read = |file: &Followed| {
        let place = file.path().display();
        file.text()
            .with_context(|| format!("cannot read the certificate of the admin port {place}"))
    };
    let pair = keys::parse(profile.provider(), &read(certificate)?, &read(key)?, "");
    let pair = pair.context("the certificate of the admin port cannot be used")?;
    profile.config(pair, false).context("the certificate of the admin port cannot be used")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::mint;

    fn port(given: &[(&str, &Path)]) -> AdminSettings {
        let file = |name: &str| {
            given.iter().find(|(known, _)| *known == name).map(|(_, path)| path.to_path_buf())
        };
        AdminSettings {
            username: file("name").map(Given::File),
            password: Some(Given::Text("secret".to_owned())),
            certificate: file("certificate"),
            key: file("key"),
            ..AdminSettings::default()
        }
    }

    /// [ADMIN-4]: a file that cannot be read stops the start.
    #[test]
    fn admin_4_words_come_out_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("name");
        let port = port(&[("name", &path)]);
        let error = format!("{:#}", credentials(&port).unwrap_err());
        assert!(error.contains("cannot read STATS_USERNAME_FILE"), "{error}");
        std::fs::write(&path, "admin\n").unwrap();
        assert!(credentials(&port).unwrap().is_some());
        std::fs::write(&path, "\n").unwrap();
        assert!(credentials(&port).unwrap().is_none());
    }

    /// [ADMIN-1]: a pair that cannot be served stops the start, and is left out later.
    #[test]
    fn admin_1_the_last_good_certificate_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let pair = |name: &str| mint::self_signed(&[name.to_owned()]).unwrap();
        let both = port(&[("certificate", &certificate), ("key", &key)]);
        assert!(Tls::open(&both).is_err(), "there are no files");
        let first = pair("a.test");
        std::fs::write(&certificate, &first.cert_pem).unwrap();
        std::fs::write(&key, &first.key_pem).unwrap();
        assert!(Tls::open(&port(&[("certificate", &certificate)])).is_err(), "and no key");
        let mut tls = Tls::open(&both).unwrap().unwrap();
        let served = Arc::clone(&tls.cell.load());
        std::fs::write(&certificate, "nothing").unwrap();
        (0..3).for_each(|_| tls.look());
        assert!(Arc::ptr_eq(&served, &tls.cell.load()));
        let second = pair("b.test");
        std::fs::write(&certificate, &second.cert_pem).unwrap();
        std::fs::write(&key, &second.key_pem).unwrap();
        (0..3).for_each(|_| tls.look());
        assert!(!Arc::ptr_eq(&served, &tls.cell.load()));
        let mut unknown = both;
        unknown.tls.curves = "X25519:brainpool".to_owned();
        let error = Tls::open(&unknown).unwrap_err().to_string();
        assert!(error.starts_with("ROUTER_METRICS_TLS_CURVES: brainpool"), "{error}");
    }
}
