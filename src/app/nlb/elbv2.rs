//! The elbv2 Query API of AWS: `POST /` with a form, answered in XML (spec/l4-dns.md A.13).
//!
//! Called by `api`. No credential is looked at: who reaches the port may do everything, so it is on
//! the loopback interface unless told otherwise. Always holds: a web page cannot use it through the
//! browser of someone who can reach it; a call that was begun is ended, whether the caller waits for
//! it or not.

mod actions;
mod control;
mod form;
mod shapes;
mod store;
mod xml;

use std::{path::Path, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use tokio::sync::Mutex;

use super::Fleet;
use crate::{
    app::pages::{Page, page},
    nlb::account::Environment,
    task::workers::Workers,
};
use control::{Control, random};
use form::Form;
use store::Store;
use xml::Xml;

/// Size of a body at most.
const MAX_BODY: usize = 1 << 20;
/// The version of the API.
const VERSION: &str = "2015-12-01";
const FORM: &str = "application/x-www-form-urlencoded";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A call that fails.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    /// The caller can do something about it.
    fn sender(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    /// It is not the caller's fault.
    fn receiver(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code, message: message.into() }
    }

    fn with(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_owned() }
    }
}

/// The API. Clones refer to the same account.
#[derive(Clone, Debug)]
pub struct Elbv2(Arc<Mutex<Control>>);

impl Elbv2 {
    /// The API of an account whose load balancers run in `fleet`. Without a state directory the
    /// account begins empty and is forgotten with the process. Flows of a load balancer that is
    /// deleted get `grace` to end.
    ///
    /// # Errors
    /// What was stored cannot be read. Load balancers that cannot be bound are logged, and shown as
    /// failed.
    pub async fn open(
        environment: Environment,
        state: Option<&Path>,
        fleet: Fleet,
        workers: Workers,
        grace: Duration,
    ) -> anyhow::Result<Self> {
        let store = state.map(Store::new);
        let control = Control::open(environment, store, fleet, workers, grace).await?;
        Ok(Self(Arc::new(Mutex::new(control))))
    }

    /// Answers a call.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Page {
        let id = request_id();
        let (status, body) = match self.call(request).await {
            Ok((action, xml)) => (StatusCode::OK, xml.answer(&action, &id)),
            Err(Failure { status, code, message }) => {
                tracing::debug!(code, message, "call refused");
                (status, Xml::error(code, &message, status.is_client_error(), &id))
            },
        };
        let mut page = page(status, "text/xml", body);
        if let Ok(id) = HeaderValue::try_from(id) {
            page.headers_mut().insert(REQUEST_ID, id);
        }
        page
    }

    async fn call(&self, request: Request<Incoming>) -> Result<(String, Xml), Failure> {
        check_headers(request.headers())?;
        let body = read(request.into_body()).await?;
        let form = Form::parse(&body)?;
        let action = form.whole().text("Action");
        let missing = || Failure::sender("MissingAction", "The parameter Action is missing");
        let action = action.ok_or_else(missing)?;
        match form.whole().text("Version").as_deref() {
            Some(VERSION) => {},
            other => {
                let text = format!(
                    "Could not find the version '{}' of the API, only {VERSION}",
                    other.unwrap_or_default()
                );
                return Err(Failure::sender("NoSuchVersion", text));
            },
        }
        let control = Arc::clone(&self.0);
        // In a task of its own: a caller that leaves does not leave half a change.
        let call = tokio::spawn(async move {
            let xml = control.lock().await.call(&action, form).await?;
            Ok((action, xml))
        });
        let lost = |_| Failure::receiver("InternalFailure", "The call ended too early");
        call.await.map_err(lost)?
    }
}

/// Refuses what a web page could send from elsewhere: browsers say where a POST comes from.
fn check_headers(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(header::ORIGIN) {
        let text = "Calls of web pages are refused: there is an Origin header";
        return Err(Failure::with(StatusCode::FORBIDDEN, "AccessDenied", text));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(FORM) {
        let text = "The body must be application/x-www-form-urlencoded";
        return Err(Failure::with(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            text,
        ));
    }
    Ok(())
}

async fn read(body: Incoming) -> Result<bytes::Bytes, Failure> {
    let too_large = || {
        let text = "The body is larger than 1 MiB";
        Failure::with(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text)
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Failure::sender("ValidationError", "The body broke off")),
    }
}

/// In the form of a UUID.
fn request_id() -> String {
    let (a, b) = (random(), random());
    let (c, d, e) = (a >> 16 & 0xffff, a & 0xffff, b >> 48);
    format!("{:08x}-{c:04x}-{d:04x}-{e:04x}-{:012x}", a >> 32, b & 0xffff_ffff_ffff)
}
