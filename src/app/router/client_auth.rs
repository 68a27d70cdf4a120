//! Client certificates on the control side: reads authorities and revocation lists, follows their files,
//! and downloads lists from where the authorities say [MTLS-1, MTLS-4].
//!
//! [`Source::open`] runs before the first snapshot and fails the start when something cannot be used;
//! [`Source::follow`] is a control task. Always holds: what cannot be used later leaves the state before
//! it in force, with a finding (S-68).

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use rustls::{crypto::CryptoProvider, pki_types::UnixTime};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::followed::Followed;
use crate::{
    app::client,
    model::finding::{Code, Finding, Place, codes},
    settings::tls::{ClientCertificates, TlsSettings},
    tls::{
        client_auth::{
            Authorities, ClientAuth, ClientAuthError, Filter, Revocation, system_bundle,
        },
        crl::{self, List},
    },
};

/// Between two looks at the files.
const POLL: Duration = Duration::from_millis(500);

/// Bytes of a file at most.
const MAX_BYTES: u64 = 64 << 20;

/// One download, over all addresses of its place.
const DOWNLOAD: Duration = Duration::from_secs(30);

/// Bytes of a downloaded list at most.
const DOWNLOAD_BYTES: usize = 32 << 20;

/// What is in force, and what is wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Nothing where clients are not asked.
    pub(super) auth: Option<Arc<ClientAuth>>,
    pub(super) findings: Vec<Finding>,
}

/// The files and places that client authentication is made of.
#[derive(Debug)]
pub(super) struct Source {
    provider: Arc<CryptoProvider>,
    mode: ClientCertificates,
    filter: Filter,
    ca: Followed,
    crl: Option<Followed>,
    parts: Parts,
    auth: Arc<ClientAuth>,
    /// What is wrong with the files.
    bad_ca: Option<Finding>,
    bad_crl: Option<Finding>,
}

/// What a [`ClientAuth`] is built from.
#[derive(Clone, Debug)]
struct Parts {
    authorities: Authorities,
    /// Lists of the file, if there is a file.
    file: Option<Vec<List>>,
    places: Vec<Download>,
}

/// A place that is asked for its list.
#[derive(Clone, Debug)]
struct Download {
    addresses: Vec<String>,
    list: Option<List>,
    due: Instant,
    problem: Option<String>,
}

impl Parts {
    fn new(authorities: Authorities, file: Option<Vec<List>>, before: &[Download]) -> Self {
        let wanted = match &file {
            Some(_) => Vec::new(),
            None => crl::places(authorities.all()),
        };
        let due = Instant::now();
        let known = |addresses: Vec<String>| {
            let same = before.iter().find(|download| download.addresses == addresses);
            let new = Download { addresses, list: None, due, problem: None };
            same.cloned().unwrap_or(new)
        };
        let places = wanted.into_iter().map(known).collect();
        Self { authorities, file, places }
    }

    fn revocation(&self) -> Revocation {
        match &self.file {
            Some(lists) => Revocation::Lists(lists.clone()),
            None if self.places.is_empty() => Revocation::Unchecked,
            None => {
                let lists: Vec<List> =
                    self.places.iter().filter_map(|place| place.list.clone()).collect();
                if lists.is_empty() { Revocation::Unknown } else { Revocation::Lists(lists) }
            },
        }
    }
}

impl Source {
    /// Reads what `settings` name; `None` where clients are not asked for certificates.
    ///
    /// # Errors
    /// When a file or the filter cannot be used: better no router than one that lets everybody in.
    pub(super) fn open(
        settings: &TlsSettings,
        provider: &Arc<CryptoProvider>,
    ) -> anyhow::Result<Option<Self>> {
        let mode = settings.client_certificates;
        if mode == ClientCertificates::None {
            return Ok(None);
        }
        let filter = Filter::new(&settings.client_filter).with_context(|| {
            format!("ROUTER_MUTUAL_TLS_AUTH_FILTER={:?} cannot be used", settings.client_filter)
        })?;
        let ca = match &settings.client_ca {
            Some(path) => path.clone(),
            None => system_bundle().context(
                "ROUTER_MUTUAL_TLS_AUTH needs authorities: set ROUTER_MUTUAL_TLS_AUTH_CA, since this \
                 system has no bundle of its own",
            )?,
        };
        let ca = Followed::new(ca, MAX_BYTES);
        let crl = settings.client_crl.as_ref().map(|path| Followed::new(path, MAX_BYTES));
        let text = ca.read().with_context(|| in_file("authorities", ca.path()))?;
        let authorities =
            Authorities::read(&text).with_context(|| in_file("authorities", ca.path()))?;
        let lists = match &crl {
            None => None,
            Some(file) => {
                let bytes =
                    file.read().with_context(|| in_file("revocation lists", file.path()))?;
                let lists = crl::read(&bytes);
                Some(lists.with_context(|| in_file("revocation lists", file.path()))?)
            },
        };
        let parts = Parts::new(authorities, lists, &[]);
        let auth = build(provider, mode, &filter, &parts, UnixTime::now())
            .with_context(|| in_file("authorities", ca.path()))?;
        let provider = Arc::clone(provider);
        let (bad_ca, bad_crl) = (None, None);
        Ok(Some(Self { provider, mode, filter, ca, crl, parts, auth, bad_ca, bad_crl }))
    }

    pub(super) fn state(&self) -> State {
        let mut findings: Vec<Finding> = self.bad_ca.iter().chain(&self.bad_crl).cloned().collect();
        if !self.auth.valid().is_empty() && !self.auth.valid().contains(&true) {
            let text = "no authority in it is valid now, so clients fail".to_owned();
            findings.push(self.finding(codes::CLIENT_CA, self.ca.path(), text));
        }
        for place in &self.parts.places {
            let Some(problem) = &place.problem else { continue };
            let effect = if place.list.is_some() { "the last one counts" } else { "clients fail" };
            let text = format!("{}: {problem}; {effect}", place.addresses.join(", "));
            findings.push(self.finding(codes::CRL_DOWNLOAD, self.ca.path(), text));
        }
        State { auth: Some(Arc::clone(&self.auth)), findings }
    }

    /// Publishes a new state after every change, until `cancel`.
    pub(super) async fn follow(
        mut self,
        publish: watch::Sender<Arc<State>>,
        cancel: CancellationToken,
    ) {
        loop {
            let downloaded = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                downloaded = self.download() => downloaded,
            };
            let read = tokio::task::block_in_place(|| self.look());
            if downloaded || read {
                publish.send_replace(Arc::new(self.state()));
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(POLL) => {},
            }
        }
    }

    /// Reads the files that have changed; true when the state is another.
    fn look(&mut self) -> bool {
        let mut changed = false;
        if self.ca.has_changed() {
            let problem = self.take_ca(self.ca.read()).err();
            self.bad_ca = problem.map(|text| self.finding(codes::CLIENT_CA, self.ca.path(), text));
            changed = true;
        }
        if let Some(mut crl) = self.crl.take() {
            if crl.has_changed() {
                let problem = self.take_crl(crl.read()).err();
                let finding = |text| self.finding(codes::CLIENT_CRL, crl.path(), text);
                self.bad_crl = problem.map(finding);
                changed = true;
            }
            self.crl = Some(crl);
        }
        self.look_at_dates(UnixTime::now()) || changed
    }

    /// Authorities end and begin without a change of their file (S-68); true when one did.
    fn look_at_dates(&mut self, now: UnixTime) -> bool {
        if self.auth.valid() == self.parts.authorities.valid(now) {
            return false;
        }
        tracing::warn!("an authority of client certificates has ended or begun");
        match self.build(&self.parts, now) {
            Ok(auth) => {
                self.auth = auth;
                true
            },
            Err(error) => {
                tracing::error!(%error, "client certificates cannot be verified anew");
                false
            },
        }
    }

    /// Takes new authorities over, or says what is wrong with them.
    fn take_ca(&mut self, text: io::Result<Vec<u8>>) -> Result<(), String> {
        let text = text.map_err(|error| error.to_string())?;
        let authorities = Authorities::read(&text).map_err(|error| error.to_string())?;
        let parts = Parts::new(authorities, self.parts.file.clone(), &self.parts.places);
        self.auth = self.build(&parts, UnixTime::now()).map_err(|error| error.to_string())?;
        self.parts = parts;
        tracing::info!("authorities of client certificates read");
        Ok(())
    }

    /// Takes new lists over, or says what is wrong with them.
    fn take_crl(&mut self, bytes: io::Result<Vec<u8>>) -> Result<(), String> {
        let bytes = bytes.map_err(|error| error.to_string())?;
        let lists = crl::read(&bytes).map_err(|error| error.to_string())?;
        let parts = Parts { file: Some(lists), ..self.parts.clone() };
        self.auth = self.build(&parts, UnixTime::now()).map_err(|error| error.to_string())?;
        self.parts = parts;
        tracing::info!("revocation lists of client certificates read");
        Ok(())
    }

    /// Asks the places whose time has come; true when the state is another.
    async fn download(&mut self) -> bool {
        let now = Instant::now();
        let mut asked = JoinSet::new();
        for (index, place) in self.parts.places.iter().enumerate() {
            if place.due <= now {
                let (addresses, before) = (place.addresses.clone(), place.list.clone());
                asked.spawn(async move { (index, newest(&addresses, before.as_ref()).await) });
            }
        }
        let mut changed = false;
        while let Some(done) = asked.join_next().await {
            let Ok((index, outcome)) = done else { continue };
            changed |= self.take_download(index, outcome);
        }
        changed
    }

    /// Puts a downloaded list in force; true when the state is another. It came over plain http: one
    /// that nobody has signed would say when to look again, and that what is good is too old.
    fn take_download(&mut self, index: usize, outcome: Result<List, String>) -> bool {
        let mut parts = self.parts.clone();
        let algorithms = self.provider.signature_verification_algorithms.all;
        let outcome = outcome.and_then(|list| {
            let is_good = list.is_signed_by(parts.authorities.all(), algorithms);
            if is_good { Ok(list) } else { Err("served a list of somebody else".to_owned()) }
        });
        let Some(place) = parts.places.get_mut(index) else { return false };
        let (had_problem, is_new) =
            (place.problem.take(), place.list.as_ref() != outcome.as_ref().ok());
        place.due = Instant::now() + crl::RETRY;
        match outcome {
            Err(problem) => place.problem = Some(problem),
            Ok(list) => {
                let wait = crl::next_look(SystemTime::now(), list.next);
                place.due = Instant::now() + wait;
                place.list = Some(list);
            },
        }
        if is_new && place.problem.is_none() {
            match self.build(&parts, UnixTime::now()) {
                Ok(auth) => self.auth = auth,
                Err(error) => {
                    let before = self.parts.places.get(index).and_then(|old| old.list.clone());
                    if let Some(place) = parts.places.get_mut(index) {
                        (place.list, place.problem) = (before, Some(error.to_string()));
                        place.due = Instant::now() + crl::RETRY;
                    }
                },
            }
        }
        let problem = parts.places.get(index).and_then(|place| place.problem.clone());
        self.parts = parts;
        is_new || problem != had_problem
    }

    fn build(&self, parts: &Parts, now: UnixTime) -> Result<Arc<ClientAuth>, ClientAuthError> {
        build(&self.provider, self.mode, &self.filter, parts, now)
    }

    fn finding(&self, code: Code, path: &Path, text: String) -> Finding {
        let fix = match code {
            codes::CRL_DOWNLOAD => "see that the address can be reached from here",
            _ => "put a good file there; until then the last good one counts",
        };
        Finding::new(code, Place::file(&path.display().to_string()), text).with_fix(fix)
    }
}

fn build(
    provider: &Arc<CryptoProvider>,
    mode: ClientCertificates,
    filter: &Filter,
    parts: &Parts,
    now: UnixTime,
) -> Result<Arc<ClientAuth>, ClientAuthError> {
    let revocation = parts.revocation();
    let authorities = &parts.authorities;
    ClientAuth::new(provider, mode, filter.clone(), authorities, revocation, now).map(Arc::new)
}

fn in_file(what: &str, path: &Path) -> String {
    format!("the {what} of client certificates in {} cannot be used", path.display())
}

/// The list of a place from the first of its addresses that has one, unless it is older than `before`.
async fn newest(addresses: &[String], before: Option<&List>) -> Result<List, String> {
    let mut problem = String::new();
    let ask = async {
        for address in addresses {
            match one(address, before).await {
                Ok(list) => return Ok(list),
                Err(reason) => problem = reason,
            }
        }
        Err(())
    };
    match tokio::time::timeout(DOWNLOAD, ask).await {
        Ok(Ok(list)) => Ok(list),
        Ok(Err(())) => Err(problem),
        Err(_elapsed) => Err(format!("no list within {DOWNLOAD:?}")),
    }
}

async fn one(address: &str, before: Option<&List>) -> Result<List, String> {
    let reply = client::fetch(address, DOWNLOAD, DOWNLOAD_BYTES).await;
    let reply = reply.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    if reply.status != 200 {
        return Err(format!("answered with status {}", reply.status));
    }
    let lists = crl::read(&reply.body).map_err(|error| error.to_string())?;
    let list = lists.into_iter().next().ok_or("no list")?;
    if before.is_some_and(|before| list.made < before.made) {
        return Err("served a list that is older than the last one".to_owned());
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
