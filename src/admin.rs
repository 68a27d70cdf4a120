//! stub
pub mod readiness;
use std::sync::Arc;
/// s
#[derive(Debug)]
pub struct AdminState;
impl AdminState {
    /// n
    pub fn new<A, B, C, D>(_a: Arc<A>, _b: Arc<B>, _c: Arc<C>, _d: Arc<D>) -> Self {
        Self
    }
}
/// s
pub async fn serve(
    _l: tokio::net::TcpListener,
    _s: Arc<AdminState>,
    c: tokio_util::sync::CancellationToken,
) {
    c.cancelled().await
}
