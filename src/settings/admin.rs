//! Settings of the admin port beside its address: who may read it, its TLS, and what metrics are shown
//! (spec/route.md 17.5, 18).
//!
//! Part of [`super::RouterSettings`]; files are read by `app::router`.

use std::{fmt, path::PathBuf, time::Duration};

use super::tls::TlsSettings;

/// Columns of HAProxy's CSV whose metrics are shown where nobody chooses [MET-1].
pub const EXPORTED: [u16; 24] =
    [2, 4, 5, 7, 8, 9, 13, 14, 17, 21, 24, 33, 35, 39, 40, 41, 42, 43, 44, 58, 59, 60, 79, 85];

/// The admin port.
#[derive(Clone, Debug, Default)]
pub struct AdminSettings {
    /// It is as OpenShift runs it [ADMIN-3, ADMIN-5]: the ready check asks the plain port itself, which
    /// answers at `/_______internal_router_healthz`. ROUTER_METRICS_TYPE.
    pub haproxy: bool,
    /// Name that opens the port to everybody who knows it, with [`Self::password`] [ADMIN-4].
    /// STATS_USERNAME, STATS_USERNAME_FILE.
    pub username: Option<Given>,
    /// STATS_PASSWORD, STATS_PASSWORD_FILE.
    pub password: Option<Given>,
    /// PEM file with a certificate: the port answers TLS, too [ADMIN-1]. ROUTER_METRICS_TLS_CERT_FILE.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key. ROUTER_METRICS_TLS_KEY_FILE.
    pub key: Option<PathBuf>,
    /// Versions, suites and groups of that TLS; nothing else of it counts. ROUTER_METRICS_TLS_CIPHERS,
    /// ROUTER_METRICS_TLS_MIN_VERSION, ROUTER_METRICS_TLS_CURVES.
    pub tls: TlsSettings,
    /// What the ready check asks for instead of the router's own page; `http` alone.
    /// ROUTER_METRICS_READY_HTTP_URL.
    pub ready_url: Option<http::Uri>,
    /// `/_______internal_router_healthz` is answered to everybody, as OpenShift does (row 33 of the quirk
    /// register). WHARF_INTERNAL_HEALTH_ANYWHERE.
    pub health_anywhere: bool,
    /// Columns whose metrics are shown; [`EXPORTED`] when absent. ROUTER_METRICS_HAPROXY_EXPORTED.
    pub exported: Option<Vec<u16>>,
    /// With more servers than this no metrics of servers are shown [MET-3]; any number of them when
    /// absent. ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD.
    pub server_threshold: Option<usize>,
    /// How long metrics of 1,000 servers, backends and frontends are kept [MET-4].
    /// ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL.
    pub scrape_interval: Option<Duration>,
}

impl AdminSettings {
    /// True when the metrics of `column` are shown.
    #[must_use]
    pub fn exports(&self, column: u16) -> bool {
        self.exported.as_deref().unwrap_or(&EXPORTED).contains(&column)
    }

    /// How long a text about `rows` servers, backends and frontends is kept [MET-4]. Where nobody sets
    /// an interval, the first thousand of them cost nothing, so that a small router's metrics are always
    /// those of this moment.
    #[must_use]
    pub fn keep(&self, rows: usize) -> Duration {
        const BASE: Duration = Duration::from_secs(5);
        let thousands = u32::try_from(rows).unwrap_or(u32::MAX) / 1000;
        match self.scrape_interval {
            None => BASE * thousands,
            #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
            Some(base) => base.mul_f64(1.0 + rows as f64 / 1000.0),
        }
    }
}

/// A word of the credentials: itself, or the file that holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Given {
    /// The word.
    Text(String),
    /// Path of its file; wins over a word.
    File(PathBuf),
}

impl fmt::Debug for Given {
    /// Leaves out the word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MET-4]
    #[test]
    fn met_4_a_text_is_kept_for_the_interval_and_as_much_for_every_thousand_rows() {
        let kept = |interval, rows| {
            AdminSettings { scrape_interval: interval, ..AdminSettings::default() }.keep(rows)
        };
        let base = Some(Duration::from_secs(4));
        for (rows, seconds) in [(0, 4), (500, 6), (1000, 8), (10_000, 44)] {
            assert_eq!(kept(base, rows).as_secs(), seconds, "{rows}");
        }
        for (rows, seconds) in [(0, 0), (999, 0), (1000, 5), (10_000, 50)] {
            assert_eq!(kept(None, rows).as_secs(), seconds, "{rows}");
        }
        assert_eq!(kept(Some(Duration::ZERO), 9_000), Duration::ZERO);
    }

    /// [MET-1]
    #[test]
    fn met_1_a_list_takes_the_place_of_the_usual_columns() {
        let usual = AdminSettings::default();
        assert_eq!((0..100).filter(|column| usual.exports(*column)).count(), 24);
        let chosen = AdminSettings { exported: Some(vec![3]), ..AdminSettings::default() };
        assert_eq!((0..100).filter(|column| chosen.exports(*column)).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_password_is_not_shown() {
        let word = Given::Text("hunter2".to_owned());
        assert_eq!(format!("{word:?}"), "Text(..)");
    }
}
