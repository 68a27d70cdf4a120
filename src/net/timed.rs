//! I/O wrapper with phases: idle, head, body, response. One reusable timer per connection.
