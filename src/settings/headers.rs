//! Settings on header fields (spec/route.md 17.4).
//!
//! Part of [`super::RouterSettings`]; filled by `settings::env::headers`.

use crate::model::route::HeaderActions;

/// What the router does to header fields of every route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderSettings {
    /// Actions on every request, before its route is looked up, and on every response of a pod, behind
    /// the route's own [ORD-1, ORD-4]. ROUTER_HTTP_REQUEST_HEADERS and ROUTER_HTTP_RESPONSE_HEADERS.
    pub actions: HeaderActions,
    /// Policy of forwarding headers of routes that choose none, in the annotation's words; empty for
    /// `append` [FWD-1]. ROUTER_SET_FORWARDED_HEADERS.
    pub forwarded: String,
    /// Header names in the spelling that HTTP/1 clients get, and pods of routes that ask for it
    /// [CASE-1]; no name twice. ROUTER_H1_CASE_ADJUST.
    pub spelling: Vec<String>,
}
