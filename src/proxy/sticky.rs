//! Stickiness: a client stays with the pod that its cookie names (spec/route.md 15.4).
//!
//! [`ask`] takes the cookie out of a request on its way to a pod, [`server`] is asked before the
//! balancer is, and [`answer`] sets the cookie where another pod has answered. All texts are in the
//! snapshot. A request without cookies pays for one lookup, and its response for one clone of a
//! field.

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, SET_COOKIE},
};

use super::{response::Exchange, select::Tries};
use crate::{
    headers::{Found, cacheable, cookie},
    snapshot::{Backend, CompiledRoute},
};

/// What stands behind the value in cookies with dates, which OpenShift's router never sets.
const DATE: u8 = b'|';

/// Takes the stickiness cookie out of a request's `fields` [STICK-6]. Returns the server that it asks
/// for, and what there is to say of it [LOG-7]. The first value that names a server that is up
/// counts [STICK-8].
pub(super) fn ask(backend: &Backend, fields: &mut HeaderMap) -> (Option<usize>, [u8; 2]) {
    let Some(sticky) = &backend.sticky else { return (None, *b"--") };
    let (mut asked, mut state) = (None, b'N');
    cookie::take(fields, sticky.name().as_bytes(), |value| {
        let value = value.split(|byte| *byte == DATE).next().unwrap_or_default();
        let named = if asked.is_none() { sticky.server(value) } else { None };
        state = match named {
            Some(index) if backend.keeps(index) => {
                asked = Some(index);
                b'V'
            },
            Some(_) => b'D',
            None if asked.is_some() => b'U',
            None if state == b'D' => b'D',
            None => b'I',
        };
    });
    (asked, [state, b'N'])
}

/// The server that the request's cookie names, unless it is down by now or failed in this round. One
/// without weight is as good as any [W-5].
pub(super) fn server(exchange: &Exchange, backend: &Backend, tries: &Tries) -> Option<usize> {
    exchange.sticky.filter(|index| backend.keeps(*index) && !tries.tried.contains(*index))
}

/// Puts the cookie on a pod's response, unless the request had it [STICK-5]; the pod cannot set it
/// itself [STICK-6]. What a cache could keep is not for caches then [STICK-7]. `found` is what
/// `fields` had.
pub(super) fn answer(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    status: StatusCode,
    found: Found,
    fields: &mut HeaderMap,
) {
    let Some(sticky) = &route.backend.sticky else { return };
    let record = &mut exchange.record;
    if found.set_cookie() && cookie::take_set(fields, sticky.name().as_bytes()) {
        record.cookie_states[1] = b'D';
    }
    let used = record.server.and_then(|index| usize::try_from(index).ok());
    let Some(line) = used.and_then(|index| sticky.line(index)) else { return };
    if exchange.sticky == used {
        return;
    }
    record.cookie_states[1] = b'I';
    let private = found.freshness() && cacheable::is_cacheable(&record.method, status, fields);
    fields.append(SET_COOKIE, line.clone());
    if private {
        fields.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

#[cfg(test)]
mod tests;
