//! `wharf backend`: one sample pod as a process.
//!
//! Called by `main` with what the command line says. SIGTERM and SIGINT end it with exit code 0; a
//! second one ends it at once, with exit code 1.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::signal::Signals;
use crate::{
    backend::{self, Identity},
    net::listen,
};

/// What `wharf backend` is told.
#[derive(Clone, Debug)]
pub struct BackendOptions {
    /// Where to listen. `[::]` means IPv4 as well.
    pub listen: SocketAddr,
    /// Name of the pod.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// PEM files of certificate chain and key; plain HTTP when absent.
    pub tls: Option<TlsFiles>,
    /// How long to keep serving after the first signal.
    pub lame_duck: Duration,
}

/// The two files of `--tls-cert` and `--tls-key`.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Serves until a signal.
///
/// # Errors
/// When the certificate cannot be used, or the address not be listened on.
pub async fn run(options: BackendOptions) -> anyhow::Result<ExitCode> {
    let tls = options.tls.as_ref().map(load_tls).transpose()?;
    let listeners = bind(options.listen)
        .map_err(|error| anyhow::anyhow!(listen::bind_help(options.listen, &error)))?;
    let mut signals = Signals::new()?;
    let identity = Identity::new(&options.name, &options.namespace);
    let cancel = CancellationToken::new();
    let mut servers = JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr()?;
        tracing::info!(%address, pod = %options.name, "listening");
        servers.spawn(backend::serve(listener, identity.clone(), tls.clone(), cancel.clone()));
    }
    signals.stop().await;
    tracing::info!(lame_duck = ?options.lame_duck, "signal received, stopping");
    let stopping = async {
        tokio::time::sleep(options.lame_duck).await;
        cancel.cancel();
        while let Some(ended) = servers.join_next().await {
            ended.context("a listener's task failed")??;
        }
        anyhow::Ok(())
    };
    signals.unless_again(stopping).await
}

fn load_tls(files: &TlsFiles) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let config = backend::server_config(&read(&files.certificate)?, &read(&files.key)?)
        .with_context(|| {
            format!("cannot use {} with {}", files.certificate.display(), files.key.display())
        })?;
    Ok(Arc::new(config))
}

/// One listener, or two on the same port for `[::]`. A machine without IPv6 gets IPv4 alone.
fn bind(address: SocketAddr) -> io::Result<Vec<TcpListener>> {
    let is_any_ipv6 = address.is_ipv6() && address.ip().is_unspecified();
    if !is_any_ipv6 {
        return Ok(vec![listener(address)?]);
    }
    // A port of the kernel's choice is free for IPv6; IPv4 may need another try.
    let mut tries = if address.port() == 0 { 5 } else { 1 };
    loop {
        tries -= 1;
        match bind_both(address) {
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {},
            ended => return ended,
        }
    }
}

fn bind_both(address: SocketAddr) -> io::Result<Vec<TcpListener>> {
    let ipv4 = |port| listener(SocketAddr::from(([0, 0, 0, 0], port)));
    match listener(address) {
        Ok(first) => {
            let port = first.local_addr()?.port();
            Ok(vec![first, ipv4(port)?])
        },
        Err(error) if has_no_ipv6(&error) => Ok(vec![ipv4(address.port())?]),
        Err(error) => Err(error),
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(listen::tcp(address)?)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_ipv6_address_means_ipv4_on_the_same_port_as_well() {
        let listeners = bind("[::]:0".parse().unwrap()).unwrap();
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert!(addresses.iter().any(SocketAddr::is_ipv4), "{addresses:?}");
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    }

    #[test]
    fn a_missing_certificate_file_is_named() {
        let files = TlsFiles { certificate: "no/such.pem".into(), key: "no/key.pem".into() };
        assert_eq!(load_tls(&files).unwrap_err().to_string(), "cannot read no/such.pem");
    }
}
