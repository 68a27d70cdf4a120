//! Names that are looked for before the zone's.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

/// Has 192.0.2.9 for everything below `view.test`, and counts what it is asked.
#[derive(Debug, Default)]
struct Counted {
    asked: AtomicUsize,
    apart: bool,
}

impl View for Counted {
    fn answer(&self, question: &Query, _: IpAddr) -> Option<Answer> {
        self.asked.fetch_add(1, Relaxed);
        let name = question.name();
        let data = RData::A("192.0.2.9".parse().unwrap());
        let record = hickory_proto::rr::Record::from_rdata(name.clone(), 60, data);
        let has = Name::from_ascii("view.test.").unwrap().zone_of(name);
        has.then(|| Answer { answers: vec![record], ..Answer::default() })
    }

    fn is_apart(&self) -> bool {
        self.apart
    }
}

/// A view that is apart is not asked for plain names of the zone; another one is.
#[tokio::test]
async fn a_view_apart_does_not_delay_the_zone() {
    for (apart, asked) in [(true, 1), (false, 3)] {
        let view = Arc::new(Counted { apart, ..Counted::default() });
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp_socket = UdpSocket::bind(address).await.unwrap();
        let zone = Arc::new(ArcSwap::from_pointee(zone("cluster.local", "10.0.0.1")));
        let (stats, cancel) = (Arc::new(DnsStats::default()), CancellationToken::new());
        let server = Server::new(Arc::clone(&zone), None, Arc::clone(&stats), Settings::default())
            .with_view(Some(Arc::<Counted>::clone(&view)));
        let task = tokio::spawn(Arc::new(server).run(udp_socket, tcp, cancel.clone()));
        let server = Running { address, stats, zone, cancel: cancel.drop_guard(), task };
        for (name, said) in [
            ("web.app.svc.cluster.local.", &["10.0.0.1"][..]),
            ("nobody.app.svc.cluster.local.", &[]),
            ("a.view.test.", &["192.0.2.9"]),
        ] {
            assert_eq!(data(&udp(&server, &question(name, RecordType::A)).await), said, "{name}");
        }
        assert_eq!(view.asked.load(Relaxed), asked, "apart: {apart}");
    }
}
