//! `wharf explain URL`: who serves a URL and why; `wharf explain WH1001`: the page of a code.

use std::{fmt::Write as _, io::Write};

use super::{
    client,
    get::{self, GetError},
    output,
    table::clean,
};
use crate::{
    admin::{
        explain::{self, ExplainError, Explanation, Outcome},
        routes::EndpointLine,
    },
    snapshot::Snapshot,
};

#[cfg(test)]
mod tests;

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of codes has no such code.
    #[error("there is no code {code}")]
    Code {
        /// The code.
        code: String,
    },
    /// The running router could not be asked.
    #[error(transparent)]
    Ask(#[from] GetError),
    /// The URL is not one.
    #[error(transparent)]
    Url(#[from] ExplainError),
    /// The answer cannot be read or written.
    #[error("cannot read the answer")]
    Json(#[from] serde_json::Error),
    /// The output is gone.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
}

/// True for `WH1001`: the letters and digits of a code, which no host name is meant by.
#[must_use]
pub fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix("WH").or_else(|| text.strip_prefix("wh"));
    digits.is_some_and(|rest| rest.len() == 4 && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Prints the title and page of `code`, found by `find` from its number.
pub fn code(
    code: &str,
    find: impl Fn(u16) -> Option<(&'static str, &'static str)>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let number = if is_code(code) { code[2..].parse().ok() } else { None };
    let (title, page) = number.and_then(find).ok_or_else(|| Error::Code { code: clean(code) })?;
    Ok(writeln!(out, "{}: {title}\n\n{}", code.to_uppercase(), page.trim_end())?)
}

/// Explains `url` from `snapshot`.
pub fn offline(
    url: &str,
    snapshot: &Snapshot,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Error> {
    print(&explain::explain(snapshot, url)?, json, out)
}

/// Explains `url` as the router at `server` sees it now.
pub fn live(url: &str, server: Option<&str>, json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let path = format!("/api/v1/explain?url={}", client::percent_encode(url));
    let value = get::fetch(server.unwrap_or(get::ROUTER), &path)?;
    print(&serde_json::from_value(value)?, json, out)
}

fn print(explained: &Explanation, json: bool, out: &mut dyn Write) -> Result<(), Error> {
    let text =
        if json { output::json(&serde_json::to_value(explained)?)? } else { render(explained) };
    Ok(out.write_all(text.as_bytes())?)
}

/// The text form: one block of lines for each heading.
fn render(explained: &Explanation) -> String {
    let mut page = Page::default();
    page.line("listener", &listener(explained));
    match &explained.winner {
        Some(winner) => {
            page.line(
                "winner",
                &format!(
                    "Route {}/{}   host {}   path {}   {}",
                    winner.namespace,
                    winner.name,
                    winner.host,
                    or_all(&winner.path),
                    winner.termination
                ),
            );
        },
        None => page.line("winner", "none"),
    }
    page.line("", &format!("why: {}", explained.why));
    let names: Vec<String> = explained
        .losers
        .iter()
        .map(|loser| format!("{}/{}   path {}", loser.namespace, loser.name, or_all(&loser.path)))
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (index, (name, loser)) in names.iter().zip(&explained.losers).enumerate() {
        let heading = if index == 0 { "losers" } else { "" };
        page.line(heading, &format!("{name:width$}   {}", loser.why));
    }
    if let Some(winner) = &explained.winner {
        page.line(
            "policy",
            &format!(
                "timeout {} · tunnel {} · forwarded headers {}",
                winner.policy.timeout, winner.policy.tunnel_timeout, winner.policy.forwarded
            ),
        );
        if explained.outcome == Outcome::Serve {
            let nowhere = match explained.tls && winner.termination == "passthrough" {
                true => "none; the connection is closed",
                false => "none; answer: 503",
            };
            endpoints(&explained.endpoints, nowhere, &mut page);
        }
    }
    page.0
}

fn or_all(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn listener(explained: &Explanation) -> String {
    if !explained.tls {
        return format!("http (Host {})", explained.host);
    }
    match &explained.certificate {
        Some(cert) => format!(
            "https (SNI {}, certificate of {}, valid until {})",
            explained.host, cert.source, cert.not_after
        ),
        None => format!("https (SNI {}, the pod's own certificate)", explained.host),
    }
}

/// One line for each service: its share, and its endpoints; `nowhere` when there is none
/// [NOMATCH-2, NOMATCH-5].
fn endpoints(lines: &[EndpointLine], nowhere: &str, page: &mut Page) {
    if lines.is_empty() {
        page.line("endpoints", nowhere);
        return;
    }
    let total: u32 = lines.iter().map(|line| u32::from(line.weight)).sum();
    let mut services: Vec<&str> = lines.iter().map(|line| line.service.as_str()).collect();
    services.dedup();
    for (index, service) in services.into_iter().enumerate() {
        let own = || lines.iter().filter(move |line| line.service == service);
        let weight: u32 = own().map(|line| u32::from(line.weight)).sum();
        let percent = (weight * 100).checked_div(total).unwrap_or(0);
        let mut text = format!("{service} {percent}%");
        for line in own() {
            let health = if line.up { "up" } else { "down" };
            text.extend(["  ", &line.address, " ", health]);
        }
        page.line(if index == 0 { "endpoints" } else { "" }, &text);
    }
}

/// Lines with a heading in front.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, heading: &str, text: &str) {
        let text = clean(text);
        // Writing into a String does not fail.
        let _ = writeln!(self.0, "{heading:<11}{text}");
    }
}
