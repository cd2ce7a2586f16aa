//! What WindFlow promises in numbers, measured: `cargo bench -p windflow-benches`, or with `-- --quick` in seconds.
//!
//! The measuring is done in `benches/goals`; this crate only declares what it needs.
