//! Binding for commands: what fails says in one sentence what to do about it.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::net::listen;

/// A TCP listener on `address` that no runtime knows yet.
///
/// # Errors
/// The port cannot be had.
pub fn tcp(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    listen::tcp(address).map_err(|error| anyhow::anyhow!(listen::bind_help(address, &error)))
}

/// A TCP listener on `address` for the present runtime.
///
/// # Errors
/// The port cannot be had.
pub fn tokio_tcp(address: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::from_std(tcp(address)?)?)
}
