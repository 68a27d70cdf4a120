//! What a trace asks of others: names, load balancer, routers. Every question has a deadline.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use super::DnsServer;
use crate::{
    app::{client, healthcheck},
    proxy::trace::Seen,
};

/// Largest answer that is read.
const MOST: usize = 16 << 20;

/// The answer to a name.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// Who was asked.
    pub(super) server: String,
    /// Its addresses, or why there are none.
    pub(super) addresses: Result<Vec<IpAddr>, String>,
    /// How long it took.
    pub(super) took: Duration,
}

/// Asks `server` for the addresses of `name`: IPv4, or else IPv6.
pub(super) async fn resolve(server: DnsServer, name: &str, limit: Duration) -> Resolved {
    let begun = Instant::now();
    let (asked, addresses) = match server {
        DnsServer::System => {
            let found = timeout(limit, tokio::net::lookup_host((name, 0))).await;
            let addresses = match found {
                Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {limit:?}")),
            };
            ("the system".to_owned(), addresses)
        },
        DnsServer::At(server) => {
            let name = name.to_owned();
            // The socket is a blocking one, with the deadline of its own.
            let asking = tokio::task::spawn_blocking(move || lookup(server, &name, limit));
            let addresses = asking.await.unwrap_or_else(|_| Err("it failed".to_owned()));
            (server.to_string(), addresses)
        },
    };
    let addresses = addresses.and_then(|found: Vec<IpAddr>| match found.is_empty() {
        true => Err("the name has no address".to_owned()),
        false => Ok(found),
    });
    Resolved { server: asked, addresses, took: begun.elapsed() }
}

fn lookup(server: SocketAddr, name: &str, limit: Duration) -> Result<Vec<IpAddr>, String> {
    for kind in [RecordType::A, RecordType::AAAA] {
        let mut name = Name::from_utf8(name).map_err(|error| error.to_string())?;
        name.set_fqdn(true);
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name, kind));
        let id = query.metadata.id;
        let bytes = query.to_vec().map_err(|error| error.to_string())?;
        let answer = healthcheck::exchange(server, &bytes, id, limit)
            .map_err(|error| format!("no answer: {error}"))?;
        match answer.metadata.response_code {
            ResponseCode::NoError => {},
            ResponseCode::NXDomain => return Err("there is no such name (NXDOMAIN)".to_owned()),
            code => return Err(format!("answered {code}")),
        }
        let addresses = answer.answers.iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        let addresses: Vec<IpAddr> = addresses.collect();
        if !addresses.is_empty() {
            return Ok(addresses);
        }
    }
    Ok(Vec::new())
}

/// The JSON at `path` of the process at `server`.
pub(super) async fn json<T: DeserializeOwned>(
    server: SocketAddr,
    path: &str,
    limit: Duration,
) -> Result<T, String> {
    let reply = client::fetch(&format!("http://{server}{path}"), limit, MOST).await;
    let reply = reply.map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })?;
    if reply.status != 200 {
        let said = String::from_utf8_lossy(&reply.body);
        return Err(format!("{server} answered {}: {}", reply.status, said.trim()));
    }
    serde_json::from_slice(&reply.body)
        .map_err(|error| format!("{server} gave an answer of another version: {error}"))
}

/// A router that notes the next request of a connection.
#[derive(Debug)]
pub(super) struct Watch {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Watch {
    /// Arms a watch at the admin port `server`; it is in force when this returns.
    pub(super) async fn arm(
        server: SocketAddr,
        source: SocketAddr,
        limit: Duration,
    ) -> Result<Self, String> {
        let arming = async {
            let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| error.to_string())?;
            let connection = tokio::spawn(async move { _ = connection.await });
            let source = client::percent_encode(&source.to_string());
            let request = Request::get(format!("/api/v1/trace?client={source}"))
                .header(http::header::HOST, server.to_string())
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string());
            match response {
                Ok(response) if response.status() == 200 => {
                    Ok(Self { body: response.into_body(), connection })
                },
                Ok(response) => {
                    connection.abort();
                    Err(format!("{server} answered {}", response.status()))
                },
                Err(error) => {
                    connection.abort();
                    Err(error)
                },
            }
        };
        timeout(limit, arming).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    }

    /// What it noted; `None` when the connection was not its.
    pub(super) async fn seen(mut self) -> Option<Seen> {
        let body = Limited::new(&mut self.body, MOST).collect().await.ok()?.to_bytes();
        serde_json::from_slice::<Option<Seen>>(&body).ok()?
    }
}
