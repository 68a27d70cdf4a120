//! Objects in, snapshot out: what is served, refused and carried over.
