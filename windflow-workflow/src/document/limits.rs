//! How large a document may be.

/// The bounds a document is read within. All are checked while it is read, so that a document which breaks one costs
/// no more than one which just keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest file, in bytes.
    pub max_bytes: usize,
    /// The deepest nesting of lists and maps.
    pub max_depth: usize,
    /// The most events (scalars, starts, ends) of the YAML parser.
    pub max_events: usize,
    /// The most marks, such as `,` `:` `[` and quotes, in one `[…]` or `{…}` and in one quoted or plain text: the parser holds
    /// all of it before it gives out the first of it. Between the marks, and in blocks (`|`, `>`), texts and lines may be as
    /// long as the file.
    pub max_flow: usize,
    /// The most nodes that aliases may add in all; 0 refuses aliases.
    pub max_alias_nodes: usize,
    /// The most bytes of text that aliases may add in all.
    pub max_alias_bytes: usize,
    /// The most files that one stack may be made of.
    pub max_files: usize,
    /// The most nodes that the services of a stack may copy from one another, and that short forms may become.
    pub max_copied_nodes: usize,
    /// How deep files may include one another.
    pub max_include_depth: usize,
    /// The most problems that are reported for one file.
    pub max_problems: usize,
}

impl Limits {
    /// For files of the person who runs the program: large graphs, anchors and aliases.
    #[must_use]
    pub const fn operator() -> Self {
        Self {
            max_bytes: 1024 * 1024,
            max_depth: 64,
            max_events: 100_000,
            max_flow: 20_000,
            max_alias_nodes: 10_000,
            max_alias_bytes: 1024 * 1024,
            max_files: 100,
            max_copied_nodes: 1_000_000,
            max_include_depth: 16,
            max_problems: 100,
        }
    }

    /// For files that somebody else has sent.
    #[must_use]
    pub const fn untrusted() -> Self {
        Self {
            max_bytes: 256 * 1024,
            max_depth: 64,
            max_events: 50_000,
            max_flow: 20_000,
            max_alias_nodes: 0,
            max_alias_bytes: 0,
            max_files: 20,
            max_copied_nodes: 100_000,
            max_include_depth: 8,
            max_problems: 100,
        }
    }
}

impl Default for Limits {
    /// The tight ones.
    fn default() -> Self {
        Self::untrusted()
    }
}
