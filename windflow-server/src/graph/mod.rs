//! Pictures of a workflow.

mod layers;
mod markup;
mod svg;
mod text;

pub use markup::{dot, mermaid};
pub use svg::svg;
pub use text::text;
