//! Host normalisation and validation.
