//! stub
/// s
pub async fn run_checks(
    _p: tokio::sync::watch::Receiver<
        std::sync::Arc<Vec<std::sync::Arc<crate::upstream::peer::Peer>>>,
    >,
    _i: std::time::Duration,
    _t: std::time::Duration,
    c: tokio_util::sync::CancellationToken,
) {
    c.cancelled().await
}
