//! Scrapes: which format a client wants, and how often a new text is made [MET-4].
//!
//! Owned by the admin port. Always holds: one text is made at a time, and one about many servers is given
//! out again for a while, so that scrapes cost a bounded part of the machine however often they come.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Expiry, Extra, Scrape, classic};
use crate::{proxy::stats::RouterStats, settings::admin::AdminSettings, snapshot::Snapshot};

/// A format of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus 0.0.4, for whoever does not ask for the other.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` field asks for.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        let wants = |part: &str| {
            let mut words = part.split(';').map(str::trim);
            let named = words
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            named && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        };
        if accept.split(',').any(wants) { Self::OpenMetrics } else { Self::Classic }
    }

    /// The `Content-Type` of its text.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Makes texts, and keeps the last one.
#[derive(Debug, Default)]
pub struct Exporter {
    settings: Arc<AdminSettings>,
    scrapes: AtomicU64,
    kept: Mutex<Option<Kept>>,
    /// Certificates of the snapshot with this number, which cost some work to look at.
    certificates: Mutex<(u64, Arc<Vec<Expiry>>)>,
}

/// How long a text of another configuration is given out.
const CHANGED: Duration = Duration::from_secs(5);

/// A text that was made.
#[derive(Debug)]
struct Kept {
    at: Instant,
    interval: Duration,
    /// The snapshot that it tells of.
    generation: u64,
    open: Bytes,
    classic: OnceLock<Bytes>,
}

impl Kept {
    fn text(&self, format: Format) -> Bytes {
        match format {
            Format::OpenMetrics => self.open.clone(),
            Format::Classic => {
                let make = || std::str::from_utf8(&self.open).map(classic::of).unwrap_or_default();
                self.classic.get_or_init(|| make().into()).clone()
            },
        }
    }
}

impl Exporter {
    /// One that shows what `settings` choose.
    #[must_use]
    pub fn new(settings: &AdminSettings) -> Self {
        Self { settings: Arc::new(settings.clone()), ..Self::default() }
    }

    /// All metrics, of this moment or of one that is not long ago [MET-4]. Takes some milliseconds for
    /// each thousand servers.
    #[must_use]
    pub fn scrape(
        &self,
        snapshot: &Arc<Snapshot>,
        stats: &Arc<RouterStats>,
        extra: Extra,
        format: Format,
    ) -> Bytes {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |kept: &&Kept| {
            let age = kept.at.elapsed();
            // The series of a route go with it [MET-5], though not so often that scrapes are the work.
            let same = kept.generation == snapshot.generation || age < CHANGED;
            age < kept.interval && same
        };
        if let Some(kept) = kept.as_ref().filter(is_fresh) {
            return kept.text(format);
        }
        let scrape = Scrape {
            snapshot: Arc::clone(snapshot),
            stats: Arc::clone(stats),
            settings: Arc::clone(&self.settings),
            extra,
            number: self.scrapes.fetch_add(1, Relaxed) + 1,
            certificates: self.certificates(snapshot),
        };
        let interval = self.settings.keep(scrape.rows());
        let open = scrape.text().into();
        let made = Kept {
            at: Instant::now(),
            interval,
            generation: snapshot.generation,
            open,
            classic: OnceLock::new(),
        };
        kept.insert(made).text(format)
    }

    fn certificates(&self, snapshot: &Snapshot) -> Arc<Vec<Expiry>> {
        let mut known = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != snapshot.generation {
            *known = (snapshot.generation, Arc::new(expiries(snapshot)));
        }
        Arc::clone(&known.1)
    }
}

/// One for each route and kind of key: a route whose host is served twice has one certificate.
fn expiries(snapshot: &Snapshot) -> Vec<Expiry> {
    let infos = snapshot.certs.describe().into_iter().map(|info| {
        // `Route NAMESPACE/NAME`, or a word for the default.
        let route = info.source.strip_prefix("Route ").and_then(|key| key.split_once('/'));
        let (namespace, route) = route.unwrap_or(("", ""));
        Expiry {
            namespace: namespace.to_owned(),
            route: route.to_owned(),
            key: info.key,
            not_after: info.not_after,
        }
    });
    let mut all: Vec<_> = infos.collect();
    all.sort_by(|a, b| (&a.namespace, &a.route, &a.key).cmp(&(&b.namespace, &b.route, &b.key)));
    all.dedup_by(|a, b| (&a.namespace, &a.route, &a.key) == (&b.namespace, &b.route, &b.key));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        for (accept, format) in [
            ("", Format::Classic),
            ("*/*", Format::Classic),
            ("text/plain;version=0.0.4", Format::Classic),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/plain, Application/OpenMetrics-Text ; q=0.1", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, text/plain", Format::Classic),
        ] {
            assert_eq!(Format::of(accept), format, "{accept}");
        }
    }

    /// [MET-4]: within the interval the same text, afterwards a new one.
    #[tokio::test(start_paused = true)]
    async fn met_4_a_text_is_given_out_again_within_the_interval() {
        let snapshot = Arc::new(fixture::snapshot());
        let stats = Arc::new(RouterStats::new(1));
        let scrape = |exporter: &Exporter| {
            exporter.scrape(&snapshot, &stats, Extra::default(), Format::OpenMetrics)
        };
        let number = |exporter: &Exporter| {
            let text = String::from_utf8(scrape(exporter).to_vec()).unwrap();
            let line =
                text.lines().find(|line| line.starts_with("haproxy_exporter_total_scrapes "));
            line.unwrap().to_owned()
        };
        let settings = AdminSettings {
            scrape_interval: Some(Duration::from_secs(5)),
            ..AdminSettings::default()
        };
        let exporter = Exporter::new(&settings);
        let first = number(&exporter);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(number(&exporter), first, "7 rows add 35 ms");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(number(&exporter), "haproxy_exporter_total_scrapes 2");
        let fresh = Exporter::default();
        assert_ne!(number(&fresh), number(&fresh), "a small router's text is never old");
    }
}
