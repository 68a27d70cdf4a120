//! UDP in user space, and what user space cannot carry.

use tokio::net::UdpSocket;

use super::*;

/// A pod that answers each datagram with its letter.
struct UdpPod {
    address: SocketAddr,
    _serves: JoinSet<()>,
}

impl UdpPod {
    async fn new(letter: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let mut serves = JoinSet::new();
        serves.spawn(async move {
            let mut room = [0; 100];
            while let Ok((length, client)) = socket.recv_from(&mut room).await {
                room[length] = letter;
                let _sent = socket.send_to(&room[..=length], client).await;
            }
        });
        Self { address, _serves: serves }
    }
}

/// A Service of one UDP port.
fn udp(last: u8, more: &Value) -> Vip {
    let place = std::net::UdpSocket::bind(SocketAddr::from(([127, 96, 1, last], 0)));
    let address = place.and_then(|socket| socket.local_addr()).expect("all of 127/8 is here");
    let mut vip = vip(last, more);
    vip.service["spec"]["clusterIP"] = json!(format!("172.30.1.{last}"));
    vip.service["spec"]["ports"] = json!([{"port": address.port(), "protocol": "UDP"}]);
    Vip { service: vip.service, address }
}

fn of_udp(mut slice: Value) -> Value {
    slice["ports"][0]["protocol"] = json!("UDP");
    slice
}

fn udp_slices(pods: &[&UdpPod]) -> Vec<Value> {
    let pods = pods.iter().enumerate();
    pods.map(|(index, pod)| of_udp(slice(&format!("web-{index}"), pod.address, &json!({}))))
        .collect()
}

async fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.connect(to).await.expect("an address");
    socket
}

/// The letter of the pod that answers, or the error that came instead.
async fn ask(socket: &UdpSocket) -> std::io::Result<char> {
    socket.send(b"ping").await?;
    let mut answer = [0; 100];
    let length = within("the answer", socket.recv(&mut answer)).await?;
    assert_eq!(&answer[..4], b"ping");
    assert_eq!(length, 5);
    Ok(char::from(answer[4]))
}

/// [SVC-01] [SVC-02] [SVC-11]: a flow keeps its pod, another has the next; a pod that leaves is left at
/// once, and without any the port is closed.
#[tokio::test]
async fn svc_11_a_udp_flow_is_pinned_until_its_pod_leaves() {
    let (a, b) = (UdpPod::new(b'A').await, UdpPod::new(b'B').await);
    // Turns are in the order of addresses.
    let (a, b, letters) =
        if a.address < b.address { (&a, &b, ['A', 'B']) } else { (&b, &a, ['B', 'A']) };
    let vip = udp(1, &json!({}));
    let options = options(Kind::Rr);
    let totals = Arc::clone(&options.totals);
    let mut vips = Vips::new(options);
    assert_eq!(apply(&mut vips, &vip.service, &udp_slices(&[a, b])).await, 1);
    let (one, two) = (client(vip.address).await, client(vip.address).await);
    for _ in 0..3 {
        assert_eq!(ask(&one).await.unwrap(), letters[0]);
        assert_eq!(ask(&two).await.unwrap(), letters[1]);
    }
    // A change that is none to them.
    apply(&mut vips, &vip.service, &udp_slices(&[a, b])).await;
    assert_eq!(ask(&one).await.unwrap(), letters[0]);
    apply(&mut vips, &vip.service, &udp_slices(&[b])).await;
    for socket in [&one, &two] {
        assert_eq!(ask(socket).await.unwrap(), letters[1]);
    }
    assert_eq!(apply(&mut vips, &vip.service, &[]).await, 0);
    assert_eq!(ask(&one).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    apply(&mut vips, &vip.service, &udp_slices(&[a])).await;
    assert_eq!(ask(&one).await.unwrap(), letters[0]);
    let (taken, ended) = (&totals.udp.taken, &totals.udp.ended);
    let count =
        |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(count(taken), 4);
    assert!(within("the end", vips.drain(Duration::from_secs(5))).await, "flows do not linger");
    assert_eq!(count(ended), 4);
}

/// Flows are bounded: who comes beyond has no answer, and the others go on.
#[tokio::test]
async fn a_client_beyond_the_most_flows_has_no_answer() {
    let (pod, vip) = (UdpPod::new(b'A').await, udp(2, &json!({})));
    let mut options = options(Kind::Rr);
    options.connections = 1;
    let totals = Arc::clone(&options.totals);
    let mut vips = Vips::new(options);
    apply(&mut vips, &vip.service, &udp_slices(&[&pod])).await;
    let (first, second) = (client(vip.address).await, client(vip.address).await);
    assert_eq!(ask(&first).await.unwrap(), 'A');
    second.send(b"ping").await.unwrap();
    eventually("the refusal to be counted", async || {
        let refused = totals.udp.refused.load(std::sync::atomic::Ordering::Relaxed);
        (refused == 1).then_some(())
    })
    .await;
    assert_eq!(ask(&first).await.unwrap(), 'A');
}

/// [SVC-03] [B.3]: policy Local, over sockets: the outside has no answer, who is inside has all.
#[tokio::test]
async fn svc_3_an_outer_address_without_a_local_endpoint_is_silent() {
    let (pods, mut vip) = (pods("A").await, vip(13, &json!({"externalTrafficPolicy": "Local"})));
    vip.service["spec"]["type"] = json!("LoadBalancer");
    vip.service["spec"]["internalTrafficPolicy"] = json!("Local");
    vip.service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "172.30.1.13"}]}});
    let there = [slice("web-0", pods[0].address, &json!({"nodeName": "there"}))];
    let mut vips = Vips::new(options(Kind::Rr));
    apply(&mut vips, &vip.service, &there).await;
    let silence = Duration::from_millis(200);
    let connected = tokio::time::timeout(silence, TcpStream::connect(vip.address)).await;
    assert!(connected.is_err(), "{connected:?}");
    // These clients are of this machine, so the outer policy is not for them.
    let outer = SocketAddr::from(([127, 96, 1, 13], vip.address.port()));
    assert_eq!(connect(outer).await.0, 'A');
    // UDP likewise: no answer, and no refusal either.
    let (pod, vip) = (UdpPod::new(b'A').await, udp(14, &json!({"internalTrafficPolicy": "Local"})));
    let there = [of_udp(slice("web-0", pod.address, &json!({"nodeName": "there"})))];
    assert_eq!(apply(&mut vips, &vip.service, &there).await, 0);
    let socket = client(vip.address).await;
    socket.send(b"ping").await.unwrap();
    let mut room = [0; 10];
    assert!(tokio::time::timeout(silence, socket.recv(&mut room)).await.is_err());
    apply(&mut vips, &vip.service, &udp_slices(&[&pod])).await;
    assert_eq!(ask(&socket).await.unwrap(), 'A');
}

/// SCTP is not carried, and said so, with a way out; the other ports of the Service are served.
#[tokio::test]
async fn sctp_is_refused_with_a_way_out() {
    let (pods, mut vip) = (pods("A").await, vip(15, &json!({})));
    let port = vip.address.port();
    vip.service["spec"]["ports"] = json!([
        {"name": "", "port": port}, {"name": "signal", "port": port, "protocol": "SCTP"},
    ]);
    let objects = Objects {
        services: vec![stored::<Service>(&vip.service)],
        slices: slices(&pods).iter().map(stored::<EndpointSlice>).collect(),
        ..Objects::default()
    };
    let services: Vec<_> = build(&objects).into_iter().map(Arc::new).collect();
    let mut vips = Vips::new(options(Kind::Rr));
    let applied = vips.apply(&services).await;
    let [(address, failure)] = &applied.failed[..] else { panic!("{:?}", applied.failed) };
    assert_eq!(*address, vip.address);
    assert_eq!(
        failure.to_string(),
        "SCTP is not carried in user space: use --mode nftables, or leave the port out"
    );
    assert_eq!(connect(vip.address).await.0, 'A');
}
