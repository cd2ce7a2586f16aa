//! What people and programs read: the only place that prints.

pub mod events;
pub mod holder;
pub mod json;
pub mod lines;
pub mod log;
pub mod output;
pub mod plan;
pub mod progress;
pub mod report;
pub mod status;
pub mod text;
