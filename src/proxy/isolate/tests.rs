//! What a panic takes with it, and how often it is counted.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use super::*;
use crate::proxy::{
    fixture,
    response::{Exchange, ResponseBody},
};

struct Held(Rc<Cell<u32>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// the panic ends here, and everything the future held is dropped once.
#[tokio::test]
async fn r_22_a_panic_ends_the_future_alone() {
    let drops = Rc::new(Cell::new(0));
    let held = Held(Rc::clone(&drops));
    let outcome = isolate(async move {
        let _held = held;
        tokio::task::yield_now().await;
        panic!("on purpose");
    })
    .await;
    assert_eq!(outcome, Err::<(), _>(Panicked));
    assert_eq!(drops.get(), 1);
    assert_eq!(isolate(async { 7 }).await, Ok(7));
}

/// A body of one byte, or of none because it panics.
struct TestBody(Option<Bytes>, bool);

impl hyper::body::Body for TestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(!self.1, "on purpose");
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// As `serve::answer`, with a handler that does what its path says.
async fn answer(
    held: Rc<Notify>,
    seen: Rc<RefCell<Vec<String>>>,
    request: Request<Incoming>,
) -> Result<Response<TestBody>, Infallible> {
    let path = request.uri().path().to_owned();
    seen.borrow_mut().push(path.clone());
    let handled = isolate(async {
        match path.as_str() {
            "/held" => held.notified().await,
            "/panic" => panic!("on purpose"),
            _ => {},
        }
        Response::new(TestBody(Some(Bytes::from_static(b"x")), path == "/body"))
    });
    Ok(handled.await.unwrap_or_else(|Panicked| {
        let mut response = Response::new(TestBody(None, false));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

/// a stream whose handler panics gets a 500, one whose body panics is reset, and the others on
/// the same connection get what they asked for, before and after.
#[tokio::test(flavor = "local")]
async fn r_22_a_panic_in_a_stream_leaves_its_siblings_alone() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (held, seen) = (Rc::new(Notify::new()), Rc::<RefCell<Vec<String>>>::default());
    let (hold, see) = (Rc::clone(&held), Rc::clone(&seen));
    let service = service_fn(move |request| answer(Rc::clone(&hold), Rc::clone(&see), request));
    let serving =
        server::conn::http2::Builder::new(Local).serve_connection(TokioIo::new(far), service);
    let serving = tokio::task::spawn_local(serving);
    let (mut sender, driver) =
        client::conn::http2::handshake(Local, TokioIo::new(near)).await.unwrap();
    let driver = tokio::task::spawn_local(driver);
    let mut ask = |path: &str| {
        let request = Request::get(format!("http://a{path}")).body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request);
        tokio::task::spawn_local(async move {
            let (parts, body) = response.await?.into_parts();
            Ok::<_, hyper::Error>((parts.status.as_u16(), body.collect().await?.to_bytes()))
        })
    };
    let first = ask("/held");
    assert_eq!(ask("/panic").await.unwrap().unwrap().0, 500);
    let cut = ask("/body").await.unwrap().unwrap_err();
    assert!(!cut.is_closed(), "the stream ends and not the connection: {cut:?}");
    assert_eq!(ask("/after").await.unwrap().unwrap().0, 200);
    held.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), (200, Bytes::from_static(b"x")));
    assert_eq!(*seen.borrow(), ["/held", "/panic", "/body", "/after"]);
    drop(sender);
    driver.await.unwrap().unwrap();
    serving.await.unwrap().unwrap();
}

/// Panics while the body of a response with `version` is around; the count of panics before and after
/// its connection is gone as well.
fn counts(version: Version) -> (u64, u64) {
    let connection = fixture::connection(version == Version::HTTP_2);
    let stats = Arc::clone(&connection.worker.stats);
    let mut request = Request::new(());
    *request.version_mut() = version;
    let exchange = Exchange::begin(&connection, Rc::default(), &request, 1);
    let body = ResponseBody::fixed(Bytes::from_static(b"x")).with(exchange);
    let panics = || stats.workers.sum(|cell| &cell.panics);
    let fail = |held: &mut dyn FnMut()| {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _held = scopeguard(held);
            panic!("on purpose");
        }));
        assert!(outcome.is_err());
    };
    let mut body = Some(body);
    fail(&mut || drop(body.take()));
    let after_body = panics();
    let mut connection = Some(connection);
    if version != Version::HTTP_2 {
        fail(&mut || drop(connection.take()));
    }
    drop(connection);
    (after_body, panics())
}

/// Runs `act` when the scope is left, by a panic or not.
fn scopeguard<'a>(act: &'a mut dyn FnMut()) -> impl Drop + 'a {
    struct Guard<'a>(&'a mut dyn FnMut());
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(act)
}

/// the panic of a response body is counted once: by its stream's body on HTTP/2, where the
/// connection lives on, and by its connection on HTTP/1.
#[test]
fn r_22_a_panic_of_a_body_counts_once() {
    assert_eq!(counts(Version::HTTP_2), (1, 1));
    assert_eq!(counts(Version::HTTP_11), (0, 1));
}
