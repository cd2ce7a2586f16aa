//! YAML events into a tree, behind a guard: the bounds are checked event by event, before anything grows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::diagnostic::{Diagnostic, Diagnostics, Problems};
use super::limits::Limits;
use super::meter::{Meter, Metered};
use super::scalar::Scalar;
use super::source::{Position, Source, Span};
use super::tree::{Entry, Kind, MergeTag, Node};

/// What reading a document has cost, whether it was refused or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// Events taken from the parser.
    pub events: usize,
    /// Nodes that were copied for anchors and aliases.
    pub alias_nodes: usize,
    /// Bytes of text that were copied for anchors and aliases.
    pub alias_bytes: usize,
}

/// Reads one YAML document into a tree. `file` is what messages call it.
///
/// ```
/// use windflow_workflow::document::{Limits, read};
/// let (tree, work) = read("demo.yaml", "a: [1, two]\n", &Limits::untrusted());
/// assert_eq!(tree?.to_value(), serde_json::json!({"a": [1, "two"]}));
/// assert_eq!(work.events, 11);
/// # Ok::<(), windflow_workflow::document::Diagnostics>(())
/// ```
pub fn read(file: &str, text: &str, limits: &Limits) -> (Result<Node, Diagnostics>, Work) {
    if let Err(problems) = check_text(file, text.as_bytes(), limits) {
        return (Err(problems), Work::default());
    }
    let mut problems = Problems::new(Source::new(file, text), limits.max_problems);
    let (root, work) = read_source(&mut problems, 0, Tags::None, limits);
    match root {
        Some(root) if problems.is_empty() => (Ok(root), work),
        _ => (Err(problems.into_diagnostics()), work),
    }
}

/// The text of a file, if it is short enough, UTF-8 and free of what no text file holds. Looks at each byte once.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn check_text<'a>(file: &str, bytes: &'a [u8], limits: &Limits) -> Result<&'a str, Diagnostics> {
    let one = |at: usize, message: String, hint: &str| {
        let before = String::from_utf8_lossy(&bytes[..at]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let at = Position { line: number(line), column: number(column) };
        let mut problem = Diagnostic::new(file, at, "", message);
        problem.hint = Some(hint.to_owned());
        Diagnostics::new(vec![problem], Vec::new())
    };
    if bytes.len() > limits.max_bytes {
        let message = format!("the file is longer than {} bytes, the most that is read", limits.max_bytes);
        let hint = "split it, or move data to files that the steps read themselves";
        return Err(Diagnostics::new(vec![Diagnostic::of_file(file, message).with_hint(hint)], Vec::new()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| one(error.valid_up_to(), "is not UTF-8 text".to_owned(), "save the file as UTF-8"))?;
    // The parser takes NUL for the end of the file; YAML allows none of these.
    match bytes.iter().position(|b| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || *b == 0x7f) {
        Some(at) => {
            let message = format!("the control character 0x{:02x} may not stand in a YAML file", bytes[at]);
            Err(one(at, message, "inside double quotes write it as an escape, such as \"\\x1b\""))
        }
        None => Ok(text),
    }
}

/// Which tags a document may hold besides those of YAML itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// None.
    None,
    /// `!reset` and `!override`.
    Compose,
}

/// Reads one of the texts, which was checked. `None` when it had to stop; otherwise what could be read, problems or not.
pub(crate) fn read_source(problems: &mut Problems, file: u32, tags: Tags, limits: &Limits) -> (Option<Node>, Work) {
    let source = problems.source_of(Span::START.of_file(file));
    let meter = Meter::new(limits.max_flow);
    let mut reader = Reader {
        parser: Parser::new(Metered::new(source.text(), meter.clone())),
        meter,
        source: &source,
        file,
        tags,
        limits,
        problems,
        work: Work::default(),
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
    };
    let complete = reader.run().is_some();
    let (root, work) = (reader.root.take(), reader.work);
    if complete && root.is_none() {
        problems.push(Diagnostic::of_file(source.name(), "the file is empty"));
    }
    (root.filter(|_| complete), work)
}

struct Reader<'a> {
    parser: Parser<'a, Metered<'a>>,
    meter: Meter,
    source: &'a Source,
    file: u32,
    tags: Tags,
    limits: &'a Limits,
    problems: &'a mut Problems,
    work: Work,
    open: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
}

struct Frame {
    start: Position,
    anchor: usize,
    tag: Option<MergeTag>,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    // The key that waits for its value; a key that was refused keeps its place, so that the value is not taken for
    // another key.
    Map { entries: Vec<Entry>, key: Option<(Box<str>, Span, bool)> },
}

impl Reader<'_> {
    /// `None` when reading had to stop; the reason is among the problems.
    fn run(&mut self) -> Option<()> {
        let mut documents = 0;
        let mut last = Position::START;
        while let Some(event) = self.parser.next_event() {
            if self.meter.is_spent() {
                let message = format_args!(
                    "what follows runs on for more than {} marks such as ',' and ':'",
                    self.limits.max_flow
                );
                let hint = "write long lists and maps line by line, and long texts as blocks, after '|'";
                return self.stop(last, message, Some(hint));
            }
            self.meter.reset();
            let (event, span) = match event {
                Ok((event, span)) => (event, self.span(span)),
                Err(error) => {
                    let at = self.source.clamp(position(*error.marker()));
                    return self.stop(at, format_args!("is not valid YAML: {}", error.info()), None);
                }
            };
            last = span.end;
            self.work.events += 1;
            if self.work.events > self.limits.max_events {
                let message = format_args!("holds more than {} pieces of YAML", self.limits.max_events);
                return self.stop(span.start, message, Some("split the file"));
            }
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let message = "a second document starts here, and a file may hold one only";
                        return self.stop(span.start, message, Some("put it into a file of its own"));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let (text_tag, tag) = self.tag(tag.as_deref(), span);
                    let quoted = !matches!(style, ScalarStyle::Plain) || text_tag;
                    let kind = Kind::Scalar(Scalar::new(cow(text), !quoted));
                    self.complete(Node { span, kind, tag }, anchor)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    let (_, tag) = self.tag(tag.as_deref(), span);
                    self.enter(span, anchor, tag, Inside::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    let (_, tag) = self.tag(tag.as_deref(), span);
                    self.enter(span, anchor, tag, Inside::Map { entries: Vec::new(), key: None })?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(frame) = self.open.pop() {
                        self.leave(frame, span.end)?;
                    }
                }
                Event::Alias(anchor) => {
                    let node = self.alias(anchor, span)?;
                    self.complete(node, 0)?;
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
            // Whoever has that much to put right does not need the rest, which may be made of nothing else.
            if self.problems.is_full() {
                return None;
            }
        }
        Some(())
    }

    fn stop(&mut self, at: Position, message: impl std::fmt::Display, hint: Option<&str>) -> Option<()> {
        let path = self.path();
        self.problems.hinted(Span::at(at).of_file(self.file), &path, message, hint.map(str::to_owned));
        None
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        // Almost always in range; what is one past the last line, as the end of the file is, gets a place that exists.
        Span { start: self.near(position(span.start)), end: self.near(position(span.end)), file: self.file }
    }

    fn near(&self, at: Position) -> Position {
        if self.source.line(at.line).is_some_and(|line| line.len() >= usize::try_from(at.column).unwrap_or(0)) {
            at
        } else {
            self.source.clamp(at)
        }
    }

    /// Where the reader stands, as a path.
    fn path(&self) -> String {
        let mut out = String::new();
        for frame in &self.open {
            if out.len() > 120 {
                out.push('…');
                break;
            }
            match &frame.inside {
                Inside::List(items) => out.push_str(&format!("[{}]", items.len())),
                Inside::Map { key: Some((key, ..)), .. } => {
                    if !out.is_empty() && !key.is_empty() {
                        out.push('.');
                    }
                    out.extend(key.chars().take(80));
                }
                Inside::Map { key: None, .. } => {}
            }
        }
        out
    }

    fn enter(&mut self, span: Span, anchor: usize, tag: Option<MergeTag>, inside: Inside) -> Option<()> {
        if self.open.len() >= self.limits.max_depth {
            let message = format_args!("is nested more than {} levels deep", self.limits.max_depth);
            return self.stop(span.start, message, None);
        }
        self.open.push(Frame { start: span.start, anchor, tag, inside });
        Some(())
    }

    fn leave(&mut self, frame: Frame, end: Position) -> Option<()> {
        let span = Span { start: frame.start, end: end.max(frame.start), file: self.file };
        let kind = match frame.inside {
            Inside::List(items) => Kind::List(items),
            Inside::Map { entries, .. } => Kind::Map(self.merged(entries)),
        };
        self.complete(Node { span, kind, tag: frame.tag }, frame.anchor)
    }

    /// Puts a finished piece where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Option<()> {
        if anchor != 0 && self.limits.max_alias_nodes > 0 {
            self.charge(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match &mut frame.inside {
            Inside::List(items) => items.push(node),
            Inside::Map { entries, key } => match key.take() {
                Some((key, key_span, true)) => entries.push(Entry { key, key_span, value: node }),
                Some((_, _, false)) => {}
                None => {
                    let named = match node.kind {
                        Kind::Scalar(scalar) if !(scalar.is_plain() && scalar.to_value().is_null()) => {
                            Some(Box::from(scalar.text()))
                        }
                        _ => None,
                    };
                    let good = named.is_some();
                    *key = Some((named.unwrap_or_default(), node.span, good));
                    if !good {
                        let path = self.path();
                        let hint =
                            "if this is meant as text, put it in quotes; '{{ … }}' alone reads as a map".to_owned();
                        self.problems.hinted(node.span, &path, "a key must be text", Some(hint));
                    }
                }
            },
        }
        Some(())
    }

    fn charge(&mut self, node: &Node) -> Option<()> {
        let (nodes, bytes) = node.weight();
        self.work.alias_nodes += nodes;
        self.work.alias_bytes += bytes;
        if self.work.alias_nodes > self.limits.max_alias_nodes || self.work.alias_bytes > self.limits.max_alias_bytes {
            let message = format_args!(
                "anchors and aliases copy more than {} nodes or {} bytes",
                self.limits.max_alias_nodes, self.limits.max_alias_bytes
            );
            return self.stop(node.span.start, message, Some("write less of the file through aliases"));
        }
        Some(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Option<Node> {
        if self.limits.max_alias_nodes == 0 {
            self.stop(span.start, "aliases are not allowed in this file", Some("write out what it stands for"))?;
        }
        let Some(node) = self.anchors.remove(&anchor) else {
            self.stop(span.start, "this alias stands inside what it names", Some("an anchor may not hold itself"))?;
            return None;
        };
        self.charge(&node)?;
        let copy = node.clone();
        self.anchors.insert(anchor, node);
        Some(copy)
    }

    /// Whether a tag says that this is text, and what it says about merging.
    fn tag(&mut self, tag: Option<&Tag>, span: Span) -> (bool, Option<MergeTag>) {
        let Some(tag) = tag else { return (false, None) };
        if tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "str" | "map" | "seq") {
            return (tag.suffix == "str", None);
        }
        if self.tags == Tags::Compose && tag.handle == "!" {
            match tag.suffix.as_str() {
                "reset" => return (false, Some(MergeTag::Reset)),
                "override" => return (false, Some(MergeTag::Override)),
                _ => {}
            }
        }
        let path = self.path();
        let name: String = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let name: String = name.chars().take(60).collect();
        let hint = "remove it; a value's type follows from how it is written".to_owned();
        self.problems.hinted(span, &path, format_args!("the tag '{name}' is not read here"), Some(hint));
        (false, None)
    }

    /// The entries of a map: unique, with what `<<` brings in behind what is written out.
    fn merged(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: BTreeMap<&str, Span> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for (place, entry) in entries.iter().enumerate() {
            if let Some(earlier) = first.get(&*entry.key) {
                twice.insert(place);
                if self.problems.is_full() {
                    continue;
                }
                let message = format!("'{}' is there twice, first on line {}", entry.key, earlier.start.line);
                let path = join(&self.path(), &entry.key);
                self.problems.error(entry.key_span, &path, message);
            } else {
                first.insert(&entry.key, entry.key_span);
            }
        }
        let merges = first.contains_key("<<");
        if !twice.is_empty() {
            // The first one stands for both, so that nobody complains about the second again.
            let mut place = 0;
            entries.retain(|_| {
                place += 1;
                !twice.contains(&(place - 1))
            });
        }
        if !merges {
            return entries;
        }
        let mut kept = Vec::with_capacity(entries.len());
        let mut brought = Vec::new();
        for entry in entries {
            if &*entry.key != "<<" {
                kept.push(entry);
                continue;
            }
            match entry.value.kind {
                Kind::Map(more) => brought.extend(more),
                Kind::List(items) if items.iter().all(|item| matches!(item.kind, Kind::Map(_))) => {
                    brought.extend(
                        items
                            .into_iter()
                            .filter_map(|item| match item.kind {
                                Kind::Map(more) => Some(more),
                                _ => None,
                            })
                            .flatten(),
                    );
                }
                _ => {
                    let path = join(&self.path(), "<<");
                    self.problems.error(entry.value.span, &path, "'<<' merges a map or a list of maps into this one");
                }
            }
        }
        let mut names: BTreeSet<Box<str>> = kept.iter().map(|entry| entry.key.clone()).collect();
        kept.extend(brought.into_iter().filter(|entry| names.insert(entry.key.clone())));
        kept
    }
}

fn position(marker: saphyr_parser::Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

fn cow(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into_boxed_str()
}

/// A path and one more key.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
