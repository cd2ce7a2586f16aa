//! What WindFlow promises in numbers, measured: `cargo bench -p windflow-benches`, or with `-- --quick` in seconds.
//!
//! The measuring is done in `benches/goals`, and beside other tools on real engines in `benches/engines`; this crate declares
//! what they need, and holds the table they print.

pub mod table;
