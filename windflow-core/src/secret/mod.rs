//! Secrets: references travel, values do not.

mod mask;
mod reference;
mod source;
mod value;

pub use mask::Masker;
pub use reference::SecretRef;
pub use source::{MemorySecrets, SecretError, SecretSource, SecretSources};
pub use value::Secret;
