//! DNS answer.
