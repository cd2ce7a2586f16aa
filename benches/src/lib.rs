//! WindFlow benches.
