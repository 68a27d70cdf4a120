//! Host claims: "oldest wins" as a pure function of the current set of routes.
