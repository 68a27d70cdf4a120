//! The admin port over real sockets: readiness, who may read what, no secrets.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

struct Fixture {
    address: SocketAddr,
    state: Arc<AdminState>,
    cancel: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

async fn start() -> Fixture {
    let live = Arc::new(Live::from_pointee(fixture::snapshot()));
    let state = Arc::new(AdminState::new(live, Arc::new(RouterStats::new(1)), Arc::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let server = tokio::spawn(serve(listener, state.clone(), cancel.clone()));
    Fixture { address, state, cancel, server }
}

async fn ask(fixture: &Fixture, method: &str, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// [ADMIN-2, ADMIN-3]
#[tokio::test]
async fn readiness_names_what_is_missing_admin_3() {
    let admin = start().await;
    assert_eq!(ask(&admin, "GET", "/healthz").await, (200, "ok".to_owned()));
    let (status, body) = ask(&admin, "GET", "/healthz/ready").await;
    assert_eq!(status, 503);
    assert_eq!(body, "[-]listeners failed\n[-]has-synced failed\nhealthz check failed\n");
    admin.state.ready.set_synced();
    admin.state.ready.set_listening();
    assert_eq!(ask(&admin, "GET", "/healthz/ready").await, (200, "ok".to_owned()));
    let (_, body) = ask(&admin, "GET", "/healthz/ready?verbose").await;
    assert_eq!(
        body,
        "[+]listeners ok\n[+]has-synced ok\n[+]process-running ok\nhealthz check passed\n"
    );
    admin.state.ready.set_draining();
    let (status, body) = ask(&admin, "GET", "/healthz/ready").await;
    assert_eq!((status, body.as_str()), (503, "[-]process-running failed\nhealthz check failed\n"));
}

/// [ADMIN-2, ADMIN-3]: each check by its name, and without those that are excluded.
#[tokio::test]
async fn admin_3_checks_have_names_and_can_be_excluded() {
    let admin = start().await;
    admin.state.ready.set_listening();
    for (path, status, body) in [
        ("", 200, "ok"),
        ("/", 200, "ok"),
        ("/controller", 200, "ok"),
        ("?verbose", 200, "[+]controller ok\nhealthz check passed\n"),
        ("/listeners", 200, "ok"),
        ("/ready/listeners", 200, "ok"),
        ("/has-synced", 503, "[-]has-synced failed\nhealthz check failed\n"),
        ("/ready?exclude=has-synced", 200, "ok"),
        (
            "/ready?verbose&exclude=has-synced",
            200,
            "[+]listeners ok\n[+]has-synced excluded: ok\n[+]process-running ok\nhealthz check \
             passed\n",
        ),
        ("/ready?exclude=listeners", 503, "[-]has-synced failed\nhealthz check failed\n"),
        ("/backend-http", 404, "there is no such check\n"),
    ] {
        let answer = ask(&admin, "GET", &format!("/healthz{path}")).await;
        assert_eq!(answer, (status, body.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn pages_are_json_without_secrets_s_92() {
    let admin = start().await;
    for page in ["routes", "details", "services", "endpoints", "certs", "snapshot"] {
        let (status, body) = ask(&admin, "GET", &format!("/api/v1/{page}")).await;
        assert_eq!(status, 200, "{page}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
        assert!(!body.contains("CANARY"), "{page}");
    }
    let (_, body) = ask(&admin, "GET", "/api/v1/routes").await;
    let routes: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        routes["items"][0]["status"]["ingress"][0],
        serde_json::json!({
            "host": "shop.example.com",
            "routerName": "default",
            "conditions": [{
                "type": "Admitted",
                "status": "True",
                "lastTransitionTime": "2026-08-04T12:30:00Z",
            }],
            "wildcardPolicy": "None",
        }),
        "[STAT-1] [STAT-3]"
    );
    let condition = &routes["items"][1]["status"]["ingress"][0]["conditions"][0];
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["reason"], "HostAlreadyClaimed");
    assert_eq!(condition["message"], "route web already exposes shop.example.com");
}

#[tokio::test]
async fn explain_takes_an_encoded_url() {
    let admin = start().await;
    let (status, body) =
        ask(&admin, "GET", "/api/v1/explain?url=https%3A%2F%2Fshop.example.com%2Fcart").await;
    assert_eq!(status, 200);
    let explained: explain::Explanation = serde_json::from_str(&body).unwrap();
    assert_eq!(explained.winner.unwrap().name, "web");
    for query in ["", "?url=", "?url=%", "?url=%ff", "?url=ftp%3A%2F%2Fa"] {
        assert_eq!(ask(&admin, "GET", &format!("/api/v1/explain{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn only_reading_is_possible_s_91() {
    let admin = start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(ask(&admin, method, "/api/v1/routes").await.0, 405, "{method}");
    }
    assert_eq!(ask(&admin, "HEAD", "/metrics").await, (200, String::new()));
    assert!(ask(&admin, "GET", "/metrics").await.1.contains("haproxy_up 1\n"));
    assert_eq!(ask(&admin, "GET", "/nothing").await.0, 404);
}

#[tokio::test]
async fn a_stranger_sees_health_alone_s_91() {
    let admin = start().await;
    let stranger = async |path: &str| {
        let head = Request::get(path).body(()).unwrap().into_parts().0;
        answer(&admin.state, false, head).await.status().as_u16()
    };
    assert_eq!(stranger("/healthz").await, 200);
    assert_eq!(stranger("/healthz/ready").await, 503);
    assert_eq!(stranger("/healthz/ready/has-synced").await, 503);
    for path in ["/", "/;csv", "/metrics", "/api/v1/routes", "/healthzz", "/debug/pprof/heap"] {
        assert_eq!(stranger(path).await, 403, "{path}");
    }
    let net = ["10.0.0.0/8".parse().unwrap()];
    let trusted = |ip: &str| is_trusted(ip.parse().unwrap(), &net);
    for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.9.9.9", "::ffff:10.9.9.9"] {
        assert!(trusted(ip), "{ip}");
    }
    for ip in ["192.0.2.1", "2001:db8::1", "11.0.0.1"] {
        assert!(!trusted(ip), "{ip}");
    }
}

#[tokio::test]
async fn cancelling_ends_it_with_connections_open() {
    let admin = start().await;
    let mut idle = TcpStream::connect(admin.address).await.unwrap();
    assert_eq!(ask(&admin, "GET", "/healthz").await.0, 200);
    admin.cancel.cancel();
    admin.server.await.unwrap();
    // Cut, with either word for it.
    let read = idle.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// As many connections as may be watched, and no more; each ends with who asked.
#[tokio::test]
async fn watches_are_bounded_and_end_with_their_connections() {
    let admin = start().await;
    let target = "/api/v1/trace?client=127.0.0.1%3a7";
    let mut asking = Vec::new();
    for _ in 0..crate::proxy::trace::MOST {
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        // The head comes once the watch is in force, before there is a body.
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        asking.push(stream);
    }
    assert_eq!(ask(&admin, "GET", target).await.0, 429);
    assert_eq!(ask(&admin, "GET", "/api/v1/trace?client=7").await.0, 400);
    assert_eq!(ask(&admin, "POST", target).await.0, 405);
    drop(asking);
    let ended = async {
        while admin.state.stats.watches.is_armed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, ended).await.unwrap();
}
