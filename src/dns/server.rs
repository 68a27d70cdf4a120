//! DNS server.
