//! Closing a TCP connection by a reset.
//!
//! Called by whoever gives a connection up that is not to end in good order.

use tokio::net::TcpStream;

/// Makes the coming close a reset, which throws away what the peer has not taken.
pub fn on_close(stream: &TcpStream) {
    // Without the option the close is an ordinary one, in the kernel's own time.
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection is closed and not reset");
    }
}
