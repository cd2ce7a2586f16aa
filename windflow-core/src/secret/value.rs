//! A secret value in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A secret value. It has no `Display`, no `Serialize` and no `Clone`, its `Debug` shows a mask, and its memory is
/// wiped when it goes.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Keep it out of logs, errors, arguments and anything that is stored.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
