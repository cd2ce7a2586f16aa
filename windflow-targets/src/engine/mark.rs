//! The labels by which we know what is ours. Names are for people; nothing is ever found or removed by one.

use std::collections::HashMap;

use windflow_core::{OwnerId, StackName};

/// Whose it is.
pub(crate) const OWNER: &str = "windflow.owner";
/// Of which stack it is.
pub(crate) const STACK: &str = "windflow.stack";
/// Of which service.
pub(crate) const SERVICE: &str = "windflow.service";
/// Which instance of it, counted from 1.
pub(crate) const INSTANCE: &str = "windflow.instance";
/// The service as it was asked for, as JSON: no secret is in it but by reference.
pub(crate) const SPEC: &str = "windflow.spec";
/// What decides whether a thing must be made anew.
pub(crate) const IDENTITY: &str = "windflow.identity";
/// What decides whether a service of a Swarm restarts with those it needs: a hash of what they are.
pub(crate) const RESTARTS_WITH: &str = "windflow.restarts-with";
/// Of each container another: an image that was made of one carries all its marks, and hands them on to strangers.
pub(crate) const MADE: &str = "windflow.made";
/// What tells whether the files it was handed have another content now: a salted hash, never a value.
pub(crate) const VALUES: &str = "windflow.values";
/// Which part of the stack it is: `networks.front`.
pub(crate) const PART: &str = "windflow.part";
/// The number of a revision.
pub(crate) const REVISION: &str = "windflow.revision";
/// A record of ours: a revision, an intent, an adoption.
pub(crate) const RECORD: &str = "windflow.record";
/// What an apply that is under way intends, and its key.
pub(crate) const DOING: &str = "windflow.doing";
/// The revision that is staged beside the current one.
pub(crate) const STAGED: &str = "windflow.staged";
/// What was taken over from somebody else.
pub(crate) const ADOPTED: &str = "windflow.adopted";
/// All of them start like this, and no stack may use such a label.
pub(crate) const PREFIX: &str = "windflow.";

/// The labels everything of a stack carries.
pub(crate) fn labels(owner: &OwnerId, stack: &StackName) -> HashMap<String, String> {
    HashMap::from([(OWNER.to_owned(), owner.to_string()), (STACK.to_owned(), stack.to_string())])
}

/// The filter that finds everything of a stack.
pub(crate) fn of_stack(owner: &OwnerId, stack: &StackName) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{OWNER}={owner}"), format!("{STACK}={stack}")])])
}

/// The filter that finds everything of an owner.
pub(crate) fn of_owner(owner: &OwnerId) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("{OWNER}={owner}")])])
}

/// Whether marks come from an image that was made of a container of ours: then what carries them is a stranger's.
pub(crate) fn is_inherited(labels: &HashMap<String, String>, of_image: Option<&HashMap<String, String>>) -> bool {
    let Some(of_image) = of_image.filter(|labels| labels.contains_key(OWNER)) else { return false };
    labels
        .iter()
        .filter(|(label, _)| label.starts_with(PREFIX))
        .all(|(label, value)| of_image.get(label) == Some(value))
}

/// Whether a label is ours rather than the stack's.
pub(crate) fn is_ours(label: &str) -> bool {
    label.starts_with(PREFIX) && label != windflow_core::target::RESTART_LABEL
}

/// Why what carries the marks of a stack cannot be somebody else's to it: its destroy would find it, and remove it.
pub(crate) fn own_as_external(what: &str, real: &str) -> String {
    format!(
        "the {what} '{real}' is this stack's own, and cannot be external to it: leave `external` out, or name one that \
         somebody else has made"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_an_image_make_nobody_ours() {
        let map = |all: &[(&str, &str)]| -> HashMap<String, String> {
            all.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
        };
        let image = map(&[(OWNER, "me"), (STACK, "shop"), (MADE, "1"), ("team", "a")]);
        assert!(is_inherited(&map(&[(OWNER, "me"), (STACK, "shop"), (MADE, "1"), ("team", "b")]), Some(&image)));
        assert!(!is_inherited(&map(&[(OWNER, "me"), (STACK, "shop"), (MADE, "2"), ("team", "a")]), Some(&image)));
        assert!(!is_inherited(&image, Some(&map(&[("team", "a")]))));
        assert!(!is_inherited(&image, None));
    }
}
