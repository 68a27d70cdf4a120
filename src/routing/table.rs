//! The compiled routing table.

/// Routes by host and path.
#[derive(Debug)]
pub struct RouteTable<V>(pub Vec<V>);

/// Outcome of a lookup.
#[derive(Debug)]
pub enum Lookup<'a, V> {
    /// Serve.
    Serve(&'a V),
    /// Redirect.
    Redirect(&'a V),
    /// Host, but no path.
    NoPath,
    /// No host.
    NoHost,
}

impl<V> RouteTable<V> {
    /// Looks up.
    pub fn lookup(&self, _tls: bool, _host: &[u8], path: &str) -> Lookup<'_, V> {
        match self.0.first() {
            Some(value) if path.starts_with("/redirect") => Lookup::Redirect(value),
            Some(value) => Lookup::Serve(value),
            None => Lookup::NoHost,
        }
    }
}
