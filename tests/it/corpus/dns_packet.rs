//! Packets to the DNS server: whatever comes is dropped or answered within the client's limit, and a plain
//! question is answered with the same bytes on the short path and on the whole one.

use std::sync::LazyLock;

use wharf::{
    dns::{
        answer,
        plain::Plain,
        stats::Transport,
        wire::{self, MAX_UDP, Packet, Recursion},
    },
    model::objects::Objects,
    source::document::{self, Outcome},
    zone::{Resolved, Zone},
};

/// Least that a client without EDNS takes.
const PLAIN_UDP: usize = 512;

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, \"fd00::1\"], ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: ext, namespace: app}
spec: {type: ExternalName, externalName: loop.app.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: loop, namespace: app}
spec: {type: ExternalName, externalName: ext.app.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: many, namespace: app}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many, namespace: app, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
";

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let endpoints: String = (1..120).map(|n| format!("- addresses: [10.1.0.{n}]\n")).collect();
    let content = document::read("zone.yaml", &format!("{OBJECTS}{endpoints}"), "");
    assert!(content.findings.is_empty(), "{:?}", content.findings);
    let mut objects = Objects::default();
    for outcome in &content.outcomes {
        if let Outcome::Valid(object) = outcome {
            object.add_to(&mut objects);
        }
    }
    Zone::build(&objects, "cluster.local", &Resolved::new(), 1)
});

/// Checks what is said to `data` as a packet.
pub(super) fn check(data: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let said = whole(data, transport);
        let Some(said) = said else {
            assert!(data.len() < 12 || data[2] & 0x80 != 0, "a query without an answer");
            continue;
        };
        assert!(data[2] & 0x80 == 0, "a response is never answered");
        assert_eq!(
            (&said[..2], said[2] & 0xf8),
            (&data[..2], 0x80 | (data[2] & 0x78)),
            "the header"
        );
        assert!(transport == Transport::Tcp || said.len() <= limit(data), "{} bytes", said.len());
        if data[2] & 0x78 != 0 || data[4..6] != [0, 1] {
            assert_eq!(said.len(), 12, "what is no question is not repeated");
        }
    }
    let mut out = [0; MAX_UDP as usize];
    let plain =
        Plain::read(data).and_then(|plain| plain.answer(&ZONE, Recursion::Absent, &mut out));
    if let Some(written) = plain {
        assert_eq!(Some(&out[..written.length]), whole(data, Transport::Udp).as_deref());
    }
}

/// Most bytes that may come back by UDP: nobody says less than 512, or gets more than [`MAX_UDP`].
fn limit(data: &[u8]) -> usize {
    if data[11] == 0 && data[10] == 0 { PLAIN_UDP } else { usize::from(MAX_UDP) }
}

/// What the whole path says.
fn whole(data: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match wire::read(data, transport) {
        Packet::Ignored => None,
        Packet::Refused(_, bytes) => Some(bytes),
        Packet::Query(request) => {
            let answer = answer::answer(&ZONE, &request.question, None);
            Some(request.encode(&answer, Recursion::Absent).0)
        },
    }
}
