//! Header actions of routes and of the router, ready to run [HDR-5 to HDR-9, ENV-HDR].
//!
//! Made of the lists of the API by `compile` (a route's) and by `proxy::worker` (the router's); run by
//! `proxy` at the two places where ORD-2 and ORD-4 want them. Always holds: no action touches a field
//! that says where a message ends or that ends at the proxy ([`is_framing`]), and every value that is
//! written is a legal field value, whatever a client, a pod or a certificate put into it.

mod value;

use http::{HeaderMap, HeaderName};

use self::value::Value;
use super::certificate::CertificateFields;
use crate::{
    model::{
        grammar::action::{Side, is_framing},
        route::HeaderChange,
    },
    settings::limits::LimitSettings,
};

/// What is added behind and in front of a value: `: ` and the end of the line.
const LINE: usize = 4;

/// The head would be too large with what the actions add [HDR-9].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header actions make the head larger than ROUTER_BUF_SIZE")]
pub struct Overflow;

/// A list of actions.
#[derive(Clone, Debug, Default)]
pub struct Actions(Box<[Action]>);

/// One action.
#[derive(Clone, Debug)]
struct Action {
    name: HeaderName,
    /// Nothing: the field is deleted.
    set: Option<Value>,
}

impl Actions {
    /// Makes the list of `changes`, which validation has accepted; what is not understood all the same
    /// is left out.
    #[must_use]
    pub fn compile(changes: &[HeaderChange], side: Side) -> Self {
        let action = |change: &HeaderChange| {
            let name = HeaderName::from_bytes(change.name.as_bytes()).ok()?;
            if is_framing(name.as_str()) {
                return None;
            }
            let set = match (change.action.kind.as_str(), &change.action.set) {
                ("Set", Some(set)) => Some(Value::compile(&set.value, side)?),
                ("Delete", None) => None,
                _ => return None,
            };
            Some(Action { name, set })
        };
        Self(changes.iter().filter_map(action).collect())
    }

    /// True when there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the list on `fields`, each action on what those before it left [HDR-7]. `client` has the
    /// certificate for `ssl_c_der`.
    ///
    /// A rewritten head has at most the buffer of `limits`, and a single value too. A received one has at
    /// most that less the reserve, so actions may always add as much as the reserve, and more where the
    /// head was smaller.
    ///
    /// # Errors
    /// [`Overflow`]; the fields are partly rewritten then.
    pub fn apply(
        &self,
        fields: &mut HeaderMap,
        client: Option<&CertificateFields>,
        limits: &LimitSettings,
    ) -> Result<(), Overflow> {
        let mut added = 0;
        for Action { name, set } in &self.0 {
            let Some(set) = set else {
                fields.remove(name);
                continue;
            };
            let value = set.evaluate(fields, client, limits.buffer)?;
            added += name.as_str().len() + value.len() + LINE;
            fields.insert(name, value);
        }
        // Half of the reserve, since a request has two lists, which may both come this far unmeasured.
        let reserve = limits.buffer - limits.head();
        if added > reserve / 2 && size(fields) > limits.buffer { Err(Overflow) } else { Ok(()) }
    }
}

/// Bytes of the fields on the wire of HTTP/1.
fn size(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE).sum()
}

#[cfg(test)]
mod tests;
