//! L2: header rules: hop-by-hop, forwarding headers.
