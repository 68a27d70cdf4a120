//! dig against cluster DNS: the same truth table, read by a resolver tool that is not ours.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;
use wharf::nlb::{NlbHandle, config::parse};

use super::{run, wanted};
use crate::dns::{Row, Said, start, table, without_serial};

/// What dig printed with `+comments +answer +authority +additional`.
fn printed(text: &str) -> Said {
    let mut said = Said::default();
    let mut section = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            rest.split(',').next().unwrap_or_default().clone_into(&mut said.code);
        }
        if let Some((_, flags)) = line.split_once("flags: ") {
            said.cut |=
                flags.split(';').next().is_some_and(|set| set.split(' ').any(|f| f == "tc"));
        }
        if let Some(name) = line.strip_prefix(";; ").and_then(|l| l.strip_suffix(" SECTION:")) {
            section = name;
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(';') || fields.len() < 5 {
            continue;
        }
        let data = without_serial(&fields[4..].join(" ").replace('"', ""));
        match section {
            "ANSWER" => said.answers.push(data),
            "ADDITIONAL" => said.additional.push(data),
            "AUTHORITY" if fields[3] == "SOA" => said.soas.push(fields[0].to_owned()),
            _ => {},
        }
    }
    said.answers.sort();
    said.additional.sort();
    said
}

/// What dig says of each row, asked at `server` by UDP and by TCP.
async fn dig_reads_the_table(server: SocketAddr) {
    let (at, port) = (format!("@{}", server.ip()), server.port().to_string());
    for Row { name, record_type, wanted } in table() {
        for transport in ["+notcp", "+tcp"] {
            let arguments = [
                at.as_str(),
                "-p",
                &port,
                "-q",
                &name,
                "-t",
                &record_type,
                transport,
                "+noall",
                "+comments",
                "+answer",
                "+authority",
                "+additional",
                "+norecurse",
                // An answer that was cut is wanted as it is.
                "+ignore",
                "+tries=1",
            ];
            let output = run("dig", &arguments).await;
            assert!(output.status.success(), "{name} {record_type} {transport}: {output:?}");
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(printed(&text), wanted, "{name} {record_type} {transport}\n{text}");
        }
    }
}

/// [DNS-01] [DNS-C] dig reads every row of C.4 by UDP and by TCP.
#[tokio::test]
async fn dns_01_dig_reads_the_truth_table() {
    if !wanted("dns_01_dig_reads_the_truth_table") {
        return;
    }
    let (server, _running) = start().await;
    dig_reads_the_table(server).await;
}

/// [NLB-06] The same through a load balancer, whose listener has both transports on one port.
#[tokio::test]
async fn nlb_06_dig_asks_through_the_load_balancer() {
    if !wanted("nlb_06_dig_asks_through_the_load_balancer") {
        return;
    }
    let (server, _running) = start().await;
    let config = parse(&format!(
        "name: dns
listeners: [{{ address: 127.0.0.1:0, protocol: TCP_UDP, targetGroup: dns }}]
targetGroups:
  - {{ name: dns, protocol: TCP_UDP, port: {}, targets: [{{ id: {} }}] }}
",
        server.port(),
        server.ip()
    ));
    let cancel = CancellationToken::new();
    let balancer = NlbHandle::start(config.unwrap(), cancel).await.unwrap();
    dig_reads_the_table(balancer.local_addrs()[0].1).await;
    let totals = &balancer.listeners()[0];
    let (tcp, udp) = (totals.by_protocol.tcp, totals.by_protocol.udp);
    let rows = u64::try_from(table().len()).unwrap();
    assert!(tcp.new_flow_count >= rows && udp.new_flow_count >= 1, "{totals:?}");
    assert_eq!(totals.dropped_datagram_count, 0);
}
