//! PROXY protocol v1 and v2: sans-io parse and write, and the bounded read from a socket.
