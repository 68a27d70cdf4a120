//! curl unpacks what is compressed here.

use wharf::tls::mint;

use super::{HOST, run, wanted};
use crate::harness::{
    manifest::{app, edge as edge_route},
    pod::{Act, Pod},
    router::Edge,
};

/// curl with `--compressed` has the pod's text, over HTTP/1.1 and HTTP/2; without, it is sent as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_unpacks_what_is_compressed() {
    if !wanted("peers_curl_unpacks_what_is_compressed") {
        return;
    }
    let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let whole = text.clone();
    let pod = Pod::start(move |_| {
        let length = whole.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n"
        );
        Act::Reply([head.as_bytes(), whole.as_bytes()].concat())
    })
    .await;
    let authority = mint::authority("peers").expect("an authority");
    let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
    let objects = app(edge_route("a", HOST, Some(&leaf)), &[pod.address]);
    let edge = Edge::with(&objects, |settings| settings.compression.enabled = true).await;
    let url = format!("https://{HOST}/");
    let to = format!("{HOST}:443:{}", edge.https);
    for version in ["--http1.1", "--http2"] {
        for compressed in [true, false] {
            let mut arguments =
                vec!["-sSk", version, "--connect-to", &to, "-w", "%{size_download}"];
            arguments.extend(compressed.then_some("--compressed"));
            arguments.push(&url);
            let output = run("curl", &arguments).await;
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stdout).expect("text");
            let size = said.strip_prefix(&text).expect("the pod's text");
            let size: usize = size.parse().expect("bytes on the wire");
            assert_eq!(size < text.len() / 2, compressed, "{version}: {size} of {}", text.len());
        }
    }
}
