//! Sending one request over HTTP/1.1.
