//! The ClientHello of a connection to the TLS port: read once, and decided by once [LSN-5].
//!
//! Called by `entry` and, to hand it on to the TLS library, by `secure`. Always holds: what was read is
//! kept as it came, so that a pod gets it unchanged and the library sees what it would have read by
//! itself; a connection that waits for its first byte has no buffer, and one that waits for more has no
//! more than [`MAX_HELLO`].

use std::{io, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderValue;
use rustls::server::Acceptor;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::worker::Worker;
use crate::{
    snapshot::CompiledRoute,
    tls::hello::{MAX_HELLO, Scan, Scanner, server_name},
};

/// Room for the hello of a browser.
const FIRST_READ: usize = 2048;

/// A route that takes a connection as it is.
pub(super) struct Taken {
    pub(super) route: Arc<CompiledRoute>,
    /// The server name as it was sent, for the access log.
    pub(super) name: Option<HeaderValue>,
    /// Of the snapshot that it is from.
    pub(super) generation: u64,
}

/// Reads until there is a whole hello, or none can come of it: the library has the words for that.
/// Empty when the client went without a byte. The caller sets the deadline.
///
/// # Errors
/// The client ended before, or its hello is too long (S-69), or what the socket says.
pub(super) async fn read(stream: &TcpStream) -> io::Result<Bytes> {
    let mut scanner = Scanner::default();
    let mut said = BytesMut::new();
    loop {
        stream.readable().await?;
        if said.capacity() == said.len() {
            said.reserve(FIRST_READ.max(said.len()));
        }
        let room = (said.capacity() - said.len()).min(MAX_HELLO - said.len());
        match stream.try_read_buf(&mut (&mut said).limit(room)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {},
            Ok(0) | Err(_) if said.is_empty() => return Ok(Bytes::new()),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => match scanner.scan(&said) {
                Scan::Complete | Scan::NotTls => return Ok(said.freeze()),
                Scan::More => {},
                Scan::TooLong => return Err(io::Error::other("the ClientHello is too long")),
            },
            Err(error) => return Err(error),
        }
    }
}

/// The route that takes the connection which began with `said`, if one does.
pub(super) fn passthrough(worker: &Worker, said: &[u8]) -> Option<Taken> {
    let snapshot = worker.live.load();
    if snapshot.passthrough.is_empty() {
        return None;
    }
    let name = server_name(said)?;
    let route = Arc::clone(snapshot.passthrough.lookup(&name)?);
    let name = worker.logs().then(|| HeaderValue::from_bytes(&name).ok()).flatten();
    Some(Taken { route, name, generation: snapshot.generation })
}

/// Goes on with the TLS library as if it had read `said` itself. What is no hello for it is answered
/// with its alert.
///
/// # Errors
/// What the library or the socket says.
pub(super) async fn accept(
    mut stream: TcpStream,
    said: Bytes,
) -> io::Result<StartHandshake<TcpStream>> {
    let mut acceptor = Acceptor::default();
    let mut rest = &said[..];
    // All of it before the library looks: it keeps what is behind the hello, but only until then.
    while !rest.is_empty() && acceptor.read_tls(&mut rest)? > 0 {}
    drop(said);
    match acceptor.accept() {
        Ok(Some(accepted)) => Ok(StartHandshake::from_parts(accepted, stream)),
        Ok(None) => LazyConfigAcceptor::new(acceptor, stream).await,
        Err((error, mut alert)) => {
            let mut words = Vec::new();
            alert.write_all(&mut words)?;
            stream.write_all(&words).await?;
            Err(io::Error::new(io::ErrorKind::InvalidData, error))
        },
    }
}
