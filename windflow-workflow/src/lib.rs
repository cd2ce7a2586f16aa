//! WindFlow workflow.
