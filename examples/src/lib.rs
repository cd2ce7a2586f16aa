//! WindFlow examples.
