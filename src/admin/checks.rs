//! The health pages [ADMIN-2, ADMIN-3]: `/healthz`, `/healthz/ready`, and each of their checks by its
//! name, with `?verbose` and `?exclude=` as in Kubernetes.
//!
//! Called by `admin` for everybody. The flags are in `readiness`; the check of the plain port asks it over
//! a connection of its own, where the router is run as OpenShift runs it.

use std::time::Duration;

use http::StatusCode;

use super::readiness::Readiness;
use crate::probe::{self, HttpCheck, Matcher, Outcome, Preamble};

/// Limit of the request to the plain port.
const LIMIT: Duration = Duration::from_secs(2);

/// What the ready check asks for.
#[derive(Clone, Debug)]
pub struct PortCheck {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// A PROXY header that names nobody comes first.
    pub proxy: bool,
}

impl PortCheck {
    const fn name(&self) -> &'static str {
        if self.proxy { "backend-proxy-http" } else { "backend-http" }
    }

    /// A status from 200 to 399 within two seconds; with a PROXY header as well, where OpenShift takes
    /// any (row 34 of the quirk register).
    async fn holds(&self) -> bool {
        let asked = async {
            let found = tokio::net::lookup_host((&*self.host, self.port)).await.ok()?;
            let check =
                HttpCheck { host: &self.host, path: &self.path, matcher: &Matcher::default() };
            let preamble = if self.proxy { Preamble::ProxyLocal } else { Preamble::None };
            for address in found {
                if probe::http(address, check, LIMIT, preamble).await == Outcome::Pass {
                    return Some(());
                }
            }
            None
        };
        matches!(tokio::time::timeout(LIMIT, asked).await, Ok(Some(())))
    }
}

/// The status and text of a health page, `path` behind `/healthz`; nothing when there is no such check.
pub(super) async fn answer(
    ready: &Readiness,
    port: Option<&PortCheck>,
    path: &str,
    query: Option<&str>,
) -> Option<(StatusCode, String)> {
    let (failed, checks) = match path {
        "" | "/" | "/controller" => (StatusCode::INTERNAL_SERVER_ERROR, vec![("controller", true)]),
        "/ready" | "/ready/" => {
            (StatusCode::SERVICE_UNAVAILABLE, readiness(ready, port, None).await)
        },
        path => {
            let name = path.strip_prefix("/ready").unwrap_or(path).strip_prefix('/')?;
            let checks = readiness(ready, port, Some(name)).await;
            (StatusCode::SERVICE_UNAVAILABLE, checks)
        },
    };
    (!checks.is_empty()).then(|| page(&checks, failed, query))
}

/// Checks of readiness and whether they hold, or only the one of this name: a check that nobody asks for
/// costs nothing.
async fn readiness(
    ready: &Readiness,
    port: Option<&PortCheck>,
    name: Option<&str>,
) -> Vec<(&'static str, bool)> {
    let mut checks: Vec<_> = ready.checks().into();
    if port.is_some() {
        // The port itself says more than that it is bound.
        checks.retain(|(name, _)| *name != Readiness::LISTENERS);
    }
    checks.retain(|(check, _)| name.is_none_or(|name| name == *check));
    if let Some(port) = port.filter(|port| name.is_none_or(|name| name == port.name())) {
        checks.insert(0, (port.name(), port.holds().await));
    }
    checks
}

/// What `checks` come to. All is listed with `?verbose`, what fails always.
fn page(
    checks: &[(&'static str, bool)],
    failed: StatusCode,
    query: Option<&str>,
) -> (StatusCode, String) {
    let pairs = || query.unwrap_or("").split('&').map(|it| it.split_once('=').unwrap_or((it, "")));
    let verbose = pairs().any(|(name, _)| name == "verbose");
    let excluded = |check: &str| pairs().any(|(name, value)| name == "exclude" && value == check);
    let holds = checks.iter().all(|(name, holds)| *holds || excluded(name));
    if holds && !verbose {
        return (StatusCode::OK, "ok".to_owned());
    }
    let mut body = String::new();
    for (name, holds) in checks {
        let (mark, end) = match (excluded(name), holds) {
            (true, _) if verbose => ("[+]", " excluded: ok\n"),
            (false, false) => ("[-]", " failed\n"),
            (false, true) if verbose => ("[+]", " ok\n"),
            _ => continue,
        };
        [mark, name, end].iter().for_each(|part| body.push_str(part));
    }
    let status = if holds { "passed" } else { "failed" };
    body.push_str("healthz check ");
    body.push_str(status);
    body.push('\n');
    (if holds { StatusCode::OK } else { failed }, body)
}
