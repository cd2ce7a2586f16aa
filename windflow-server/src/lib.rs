//! WindFlow server.
