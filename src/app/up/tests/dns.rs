//! One DNS server for the cluster's names, those of the load balancers, and those outside.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::net::UdpSocket;

use super::*;
use crate::{
    app::dns::{Forwarding, parse_forward},
    zone::{PodMode, ZoneOptions},
};

/// Any free port for each.
const ANY: Ports = Ports { http: 0, https: 0, dns: 0, admin: [0; 2], nlb_api: 0 };

/// A name server that has 192.0.2.53 for every name. It ends with the test.
async fn outside() -> SocketAddr {
    let socket = UdpSocket::bind(loopback(0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1_232];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut answer = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = answer.queries[0].name().clone();
            let data = RData::A("192.0.2.53".parse().unwrap());
            answer.add_answer(Record::from_rdata(name, 60, data));
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

/// What `server` says of the addresses of `name`, by UDP and by TCP alike.
async fn ask(server: SocketAddr, name: &str) -> (ResponseCode, Vec<String>) {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let packet = question.to_vec().unwrap();
    let said = |bytes: &[u8]| {
        let answer = Message::from_vec(bytes).unwrap();
        let mut data: Vec<_> = answer.answers.iter().map(|it| it.data.to_string()).collect();
        data.sort();
        (answer.metadata.response_code, data)
    };
    let udp = UdpSocket::bind(loopback(0)).await.unwrap();
    udp.send_to(&packet, server).await.unwrap();
    let mut bytes = vec![0; 1_500];
    let length = tokio::time::timeout(START, udp.recv(&mut bytes)).await.unwrap().unwrap();
    let by_udp = said(&bytes[..length]);
    let mut tcp = TcpStream::connect(server).await.unwrap();
    tcp.write_u16(packet.len().try_into().unwrap()).await.unwrap();
    tcp.write_all(&packet).await.unwrap();
    let mut bytes = vec![0; tcp.read_u16().await.unwrap().into()];
    tcp.read_exact(&mut bytes).await.unwrap();
    assert_eq!(by_udp, said(&bytes), "{name}");
    by_udp
}

/// [B.3, A.2, C.9]: one server, one port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_the_balancer_and_the_outside_have_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let (net, _lock) = net();
    let forward = parse_forward(&outside().await.to_string()).unwrap();
    let options = UpOptions {
        manifests: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("routes")],
        certs: folder.path().join("certs"),
        access_log: false,
        dns: Answering {
            zone: ZoneOptions { pods: PodMode::Disabled, ..ZoneOptions::default() },
            forwarding: Forwarding { servers: vec![forward], ..Forwarding::default() },
            view: None,
        },
    };
    let up = start(&options, ANY, net).await.unwrap();
    let server = up.a.dns.expect("the first router serves DNS");
    assert_eq!(up.b.dns, None);

    let pods: Vec<String> = (1..=4).map(|pod| format!("127.{net}.1.{pod}")).collect();
    let cluster = ask(server, "myservice.app-dev.svc.cluster.local.").await;
    assert_eq!(cluster, (ResponseCode::NoError, pods));
    let gone = (ResponseCode::NXDomain, Vec::new());
    assert_eq!(ask(server, "nobody.app-dev.svc.cluster.local.").await, gone);
    // What the zone shows is as was told.
    assert_eq!(ask(server, "10-0-0-1.app-dev.pod.cluster.local.").await, gone);

    let regional = format!("{}.", up.balancer.names().regional);
    let nodes = vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()];
    assert_eq!(ask(server, &regional).await, (ResponseCode::NoError, nodes));
    for (zone, node) in [("a", "127.0.0.1"), ("B", "127.0.0.2")] {
        let zonal = ask(server, &format!("{zone}.{regional}")).await;
        assert_eq!(zonal, (ResponseCode::NoError, vec![node.to_owned()]), "{zone}");
    }
    assert_eq!(ask(server, &format!("c.{regional}")).await, gone);
    // Another's load balancer is as foreign as any name.
    let other = regional.replacen("up-", "up-f", 1);
    for foreign in ["example.com.", "elb.us-east-1.amazonaws.com.", &other] {
        let answer = ask(server, foreign).await;
        assert_eq!(answer, (ResponseCode::NoError, vec!["192.0.2.53".to_owned()]), "{foreign}");
    }

    // Whoever goes to what the name says is served.
    let listeners = up.balancer.local_addrs();
    assert_eq!(listeners.len(), 4, "two ports at each node: {listeners:?}");
    for (_, listener) in listeners {
        TcpStream::connect(listener).await.unwrap();
    }
    up.stop().await;
}
