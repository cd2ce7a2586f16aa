//! WindFlow targets.
