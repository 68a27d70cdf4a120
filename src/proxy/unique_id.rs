//! The unique id of a request: made once, told to the pod and logged [UID-1].
//!
//! Called by `forward`. Without the two settings this is a branch.

use http::{HeaderMap, HeaderValue};

use super::{
    logline::{Frame, Process, write},
    response::Exchange,
};

/// Makes the id of a request that goes to a pod.
pub(super) fn make(exchange: &mut Exchange) {
    if exchange.record.detail.is_none() {
        return;
    }
    let Some((_, format)) = exchange.connection.worker.settings.log.unique_id() else { return };
    let mut text = exchange.connection.worker.take_space();
    text.clear();
    let frame = Frame { record: &exchange.record, process: Process::this(), count: 0, id: None };
    write(format, &frame, &mut text);
    let id = text.as_slice().into();
    exchange.connection.worker.return_space(text);
    if let Some(detail) = &mut exchange.record.detail {
        detail.unique_id = Some(id);
    }
}

/// Adds the field that names it, behind those that the client may have sent.
pub(super) fn add(exchange: &Exchange, headers: &mut HeaderMap) {
    let Some(detail) = &exchange.record.detail else { return };
    let Some((name, _)) = exchange.connection.worker.settings.log.unique_id() else { return };
    if let Some(Ok(value)) = detail.unique_id.as_deref().map(HeaderValue::from_bytes) {
        headers.append(name.clone(), value);
    }
}
