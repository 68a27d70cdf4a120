//! The table of environment variables: the only place that reads the environment.
