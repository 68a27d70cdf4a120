//! Binding for commands: what fails says in one sentence what to do about it.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::net::listen;

/// A TCP listener on `address` that no runtime knows yet.
///
/// # Errors
/// The port cannot be had.
pub fn tcp(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    listen::tcp(address).map_err(|error| help(address, &error))
}

/// A TCP listener on each of `addresses` that no runtime knows yet, and where they are. They refuse
/// connections until they are opened ([`listen::open`]).
///
/// # Errors
/// A port cannot be had.
pub fn closed_tcp_all(
    addresses: &[SocketAddr],
) -> anyhow::Result<(Vec<std::net::TcpListener>, Vec<SocketAddr>)> {
    let mut bound = (Vec::new(), Vec::new());
    for address in addresses {
        let listener = listen::closed_tcp(*address).map_err(|error| help(*address, &error))?;
        bound.1.push(listener.local_addr()?);
        bound.0.push(listener);
    }
    Ok(bound)
}

fn help(address: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!(listen::bind_help(address, error))
}

/// A TCP listener on `address` for the present runtime.
///
/// # Errors
/// The port cannot be had.
pub fn tokio_tcp(address: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::from_std(tcp(address)?)?)
}

/// Addresses for people.
#[must_use]
pub fn shown(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
