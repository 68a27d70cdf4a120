//! What of a client's addresses decides its target.

use tokio::net::TcpSocket;

use super::*;

/// [NLB-02]
#[tokio::test]
async fn nlb_02_connections_of_one_source_port_reach_several_targets() {
    let mut targets = Vec::new();
    for name in 0..4 {
        targets.push(Target::start(name).await);
    }
    let (handle, address) = start(config(&targets)).await;
    until(&handle, all(State::Healthy)).await;
    let mut source = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut counts = [0; 4];
    for _ in 0..100 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(source).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        source = stream.local_addr().unwrap();
        counts[usize::from(stream.read_u8().await.unwrap())] += 1;
        // A reset leaves nothing of the port behind, so that it can be had again.
        stream.set_zero_linger().unwrap();
    }
    assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
}

/// [NLB-17] Where addresses of clients cannot be kept, nobody is misled: no listener is set up for that,
/// and what listens goes on as it was.
#[tokio::test]
async fn nlb_17_keeping_addresses_needs_a_privilege() {
    let targets = [Target::start(0).await];
    let mut config = config(&targets);
    let (handle, address) = start(config.clone()).await;
    until(&handle, all(State::Healthy)).await;
    config.groups[0].preserve_client = true;
    let changed = handle.apply(config.clone());
    let started = NlbHandle::start(config, CancellationToken::new()).await;
    match transparent::may(address) {
        Ok(()) => drop((changed.unwrap(), started.unwrap())),
        Err(_) => {
            for error in [changed.unwrap_err(), started.unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains("group pods keeps the addresses of clients"), "{error}");
            }
            assert_eq!(open(address).await.1, 0);
        },
    }
}
