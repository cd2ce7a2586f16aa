//! Every key of the Compose Specification: what it may hold, and how files that are merged share it. What services have is
//! in `service_keys.rs`.

use super::merge;
pub(super) use super::service_keys::{DEPENDENCY, ENV_FILE, GPU, HEALTH_OURS, HTTP, MOUNT, PORT, PROCESS, SERVICE};
use super::shape::{Key, Merge, Names, Shape, Table};
use super::short;
use crate::document::tree::Node;

pub(super) const NOT_YET: &str = "is not honoured yet; remove it, or deploy this part by other means";

/// A key whose values are put together piece by piece.
pub(super) const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, merge: Merge::Deep, keep: false }
}

impl Key {
    /// A later value takes the place of an earlier one.
    pub(super) const fn replaced(self) -> Self {
        Self { merge: Merge::Replace, ..self }
    }

    /// A later item takes the place of an earlier one of the same name.
    pub(super) const fn unique(self, name: fn(&Node) -> String) -> Self {
        Self { merge: Merge::Unique(name), ..self }
    }

    /// A rule of its own.
    pub(super) const fn by(self, rule: fn(Node, Node, &Shape) -> Node) -> Self {
        Self { merge: Merge::By(rule), ..self }
    }

    /// What is empty says something, too.
    pub(super) const fn kept(self) -> Self {
        Self { keep: true, ..self }
    }
}

/// A table without keys that are refused or needed.
pub(super) const fn table(what: &'static str, keys: &'static [Key]) -> Table {
    Table { what, keys, later: &[], needs: &[] }
}

/// A stack file.
pub(super) static STACK: Table = Table {
    what: "a stack",
    keys: &[
        key("name", Shape::Word),
        key("version", Shape::Any),
        key("services", Shape::Map(&Shape::Fields(&SERVICE))),
        key("networks", Shape::Map(&Shape::Fields(&NETWORK))),
        key("volumes", Shape::Map(&Shape::Fields(&VOLUME))),
        key("secrets", Shape::Map(&Shape::Fields(&SECRET))),
        key("configs", Shape::Map(&Shape::Fields(&CONFIG))),
        key("models", Shape::Map(&Shape::Fields(&MODEL))),
        key("include", Shape::List(&Shape::Short(super::include::short, &INCLUDE))),
    ],
    later: &[("nodes", "is not a key of a stack; this looks like a workflow"), ("jobs", NOT_YET)],
    needs: &[],
};

/// One of the files that are included.
pub(super) static INCLUDE: Table = Table {
    what: "an include",
    keys: &[
        key("path", Shape::TextOrTexts),
        key("env_file", Shape::TextOrTexts),
        key("project_directory", Shape::Word),
    ],
    later: &[],
    needs: &[("path", "the file that is included, or several that are merged")],
};

/// The old way of naming what is somebody else's.
pub(super) static EXTERNAL: Table = table("external", &[key("name", Shape::Word)]);

/// A network.
pub(super) static NETWORK: Table = table(
    "a network",
    &[
        key("name", Shape::Word),
        key("driver", Shape::Word),
        key("driver_opts", Shape::Pairs(Names::Options)),
        key("ipam", Shape::Fields(&IPAM)),
        key("external", Shape::Own(short::external, &EXTERNAL)),
        key("internal", Shape::Flag),
        key("attachable", Shape::Flag),
        key("enable_ipv4", Shape::Flag).kept(),
        key("enable_ipv6", Shape::Flag).kept(),
        key("labels", Shape::Pairs(Names::Labels)),
    ],
);

static IPAM: Table = table(
    "ipam",
    &[
        key("driver", Shape::Word),
        key("config", Shape::List(&Shape::Fields(&POOL))).by(merge::pools),
        key("options", Shape::Pairs(Names::Options)),
    ],
);

static POOL: Table = table(
    "an address pool",
    &[
        key("subnet", Shape::Subnet),
        key("ip_range", Shape::Subnet),
        key("gateway", Shape::Address),
        key("aux_addresses", Shape::Pairs(Names::Options)),
    ],
);

/// A volume.
pub(super) static VOLUME: Table = table(
    "a volume",
    &[
        key("name", Shape::Word),
        key("driver", Shape::Word),
        key("driver_opts", Shape::Pairs(Names::Options)),
        key("external", Shape::Own(short::external, &EXTERNAL)),
        key("labels", Shape::Pairs(Names::Labels)),
    ],
);

/// A secret.
pub(super) static SECRET: Table = table(
    "a secret",
    &[
        key("name", Shape::Word),
        key("file", Shape::Path),
        key("environment", Shape::Word),
        key("external", Shape::Own(short::external, &EXTERNAL)),
        key("labels", Shape::Pairs(Names::Labels)),
        key("driver", Shape::Word),
        key("driver_opts", Shape::Pairs(Names::Options)),
        key("template_driver", Shape::Word),
    ],
);

/// A config.
pub(super) static CONFIG: Table = table(
    "a config",
    &[
        key("name", Shape::Word),
        key("content", Shape::Text),
        key("file", Shape::Path),
        key("environment", Shape::Word),
        key("external", Shape::Own(short::external, &EXTERNAL)),
        key("labels", Shape::Pairs(Names::Labels)),
        key("template_driver", Shape::Word),
    ],
);

/// A model.
pub(super) static MODEL: Table = Table {
    what: "a model",
    keys: &[
        key("name", Shape::Word),
        key("model", Shape::Word),
        key("context_size", Shape::Whole(0, i64::MAX)),
        key("runtime_flags", Shape::Texts),
    ],
    later: &[],
    needs: &[("model", "the name of the model's image")],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::document::{Kind, Limits, read};

    /// The table behind a shape.
    fn behind(shape: &Shape) -> Option<&'static Table> {
        match shape {
            Shape::Fields(table) | Shape::Short(_, table) | Shape::Several(_, table) | Shape::Own(_, table) => {
                Some(table)
            }
            Shape::Map(inner) | Shape::List(inner) | Shape::Named(inner) => behind(inner),
            _ => None,
        }
    }

    /// Every key there is, as `table: key`.
    fn all(table: &'static Table, out: &mut BTreeSet<String>) {
        for key in table.keys {
            if out.insert(format!("{}: {}", table.what, key.name))
                && let Some(table) = behind(&key.shape)
            {
                all(table, out);
            }
        }
    }

    /// Those a file has.
    fn has(node: &Node, shape: &Shape, out: &mut BTreeSet<String>) {
        match (&node.kind, shape) {
            (Kind::List(items), Shape::List(inner)) => items.iter().for_each(|item| has(item, inner, out)),
            (Kind::List(items), shape) => items.iter().for_each(|item| has(item, shape, out)),
            (Kind::Map(entries), Shape::Map(inner) | Shape::Named(inner)) => {
                entries.iter().for_each(|entry| has(&entry.value, inner, out));
            }
            (Kind::Map(entries), shape) => {
                let Some(table) = behind(shape) else { return };
                for entry in entries {
                    if let Some(key) = table.key(&entry.key) {
                        out.insert(format!("{}: {}", table.what, key.name));
                        has(&entry.value, &key.shape, out);
                    } else if table.what == "it" || table.what == "a dependency" {
                        has(&entry.value, &Shape::Fields(&DEPENDENCY), out);
                    }
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_corpus_has_every_key() {
        let mut wanted = BTreeSet::new();
        all(&STACK, &mut wanted);
        let mut found = BTreeSet::new();
        let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corpus")];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|end| end == "yaml") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    // A tag is of no interest here, and this reader takes none.
                    let text = text.replace("!reset", "").replace("!override", "");
                    if let Ok(tree) = read("f.yaml", &text, &Limits::operator()).0 {
                        has(&tree, &Shape::Fields(&STACK), &mut found);
                    }
                }
            }
        }
        // What only this project knows stands in files of its own.
        let missing: Vec<&String> = wanted.difference(&found).collect();
        let ours = ["x-windflow", "rollout", "an HTTP check", "a process"];
        let missing: Vec<&&String> = missing.iter().filter(|key| !ours.iter().any(|word| key.contains(word))).collect();
        assert!(missing.is_empty(), "no file of the corpus has {missing:#?}");
        assert!(wanted.len() > 200, "only {} keys", wanted.len());
    }
}
