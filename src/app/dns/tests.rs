//! From objects to answers on a socket.

mod table;

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use serde_json::json;

use super::*;
use crate::model::objects::{ObjectKey, Stored};

/// Far beyond what an answer takes; a test that waits this long has failed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

fn objects(ip: &str) -> Arc<Objects> {
    let service = serde_json::from_value(json!({"spec": {"clusterIP": ip}})).unwrap();
    let key = ObjectKey::new("app", "web");
    let services = vec![Arc::new(Stored::in_memory(key, service, "test"))];
    Arc::new(Objects { services, ..Objects::default() })
}

async fn ask(client: &UdpSocket) -> (ResponseCode, Vec<String>) {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("web.app.svc.cluster.local.").unwrap();
    message.add_query(Query::query(name, RecordType::A));
    client.send(&message.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 512];
    let length = tokio::time::timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    let data = answer.answers.iter().map(|record| record.data.to_string()).collect();
    (answer.metadata.response_code, data)
}

/// Asks until the answer is `wanted`; fails after [`PATIENCE`].
async fn until(client: &UdpSocket, wanted: &str) {
    let asking = async {
        while ask(client).await.1 != [wanted] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
}

/// [DNS-D], [DNS-E]
#[tokio::test]
async fn answers_follow_the_objects() {
    let sockets = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = sockets.tcp.local_addr().unwrap();
    assert_eq!(sockets.udp.local_addr().unwrap(), address);
    let (send, receive) = watch::channel(Arc::default());
    let cancel = CancellationToken::new();
    let service = ZoneService {
        sockets,
        domain: "cluster.local".into(),
        options: ZoneOptions::default(),
        forward: None,
        stats: Arc::default(),
        settings: Settings::default(),
    };
    let task = tokio::spawn(serve_zone(service, receive, cancel.clone()));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(address).await.unwrap();

    assert_eq!(ask(&client).await.0, ResponseCode::ServFail, "not synced");
    send.send_replace(objects("10.0.0.1"));
    until(&client, "10.0.0.1").await;
    send.send_replace(objects("10.0.0.2"));
    until(&client, "10.0.0.2").await;
    drop(send);
    assert_eq!(ask(&client).await.1, ["10.0.0.2"], "the last zone stays");
    cancel.cancel();
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[test]
fn serials_only_grow() {
    assert!(serial(0) > 1_700_000_000);
    assert_eq!(serial(u32::MAX - 1), u32::MAX);
    assert_eq!(serial(u32::MAX), u32::MAX);
}

/// [DNS-F] A failure that is remembered is SERVFAIL again, without the name server; a question that the
/// cache answers needs no place among those that wait.
#[tokio::test]
async fn a_remembered_failure_is_servfail() {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = Arc::new(Resolver::to(&[upstream.local_addr().unwrap()]).unwrap());
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        loop {
            let (length, client) = upstream.recv_from(&mut buffer).await.unwrap();
            let mut answer = Message::from_vec(&buffer[..length]).unwrap().into_response();
            if answer.queries[0].name().to_ascii() == "silent.test." {
                continue;
            }
            answer.metadata.response_code = ResponseCode::Refused;
            upstream.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    let object = json!({"spec": {"type": "ExternalName", "externalName": "db.outside.test"}});
    let key = ObjectKey::new("app", "web");
    let services =
        vec![Arc::new(Stored::in_memory(key, serde_json::from_value(object).unwrap(), "test"))];
    let (send, receive) = watch::channel(Arc::default());
    let stats = Arc::new(DnsStats::default());
    let service = ZoneService {
        sockets: bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        domain: "cluster.local".into(),
        options: ZoneOptions::default(),
        forward: Some(Arc::clone(&resolver)),
        stats: Arc::clone(&stats),
        settings: Settings { max_forwards: 1, ..Settings::default() },
    };
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(service.sockets.udp.local_addr().unwrap()).await.unwrap();
    let cancel = CancellationToken::new();
    let _stop = cancel.clone().drop_guard();
    tokio::spawn(serve_zone(service, receive, cancel));
    send.send_replace(Arc::new(Objects { services, ..Objects::default() }));
    let asked = async {
        while resolver.stats().tries.load() == 0 {
            assert_eq!(ask(&client).await, (ResponseCode::ServFail, vec![]));
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert_eq!(resolver.stats().tries.load(), 3, "every attempt at the only server");

    // The one place is taken by a question that nobody answers.
    let mut silent = Message::new(8, MessageType::Query, OpCode::Query);
    silent.add_query(Query::query(Name::from_ascii("silent.test.").unwrap(), RecordType::A));
    client.send(&silent.to_vec().unwrap()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&client).await, (ResponseCode::ServFail, vec![]));
    }
    assert_eq!((resolver.stats().denial_hits.load(), stats.forwards_refused.load()), (2, 0));
}
