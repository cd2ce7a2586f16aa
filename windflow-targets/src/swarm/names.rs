//! What objects of a Swarm are called. Names are for people: nothing is ever found by one.

use windflow_core::{ContentHash, OwnerId};

/// The longest name a service may have; configs and secrets may have one more.
const LONGEST: usize = 63;

/// The name of something of a stack: `<stack>_<name>`, or as near to it as a Swarm allows.
pub(super) fn object(stack: &str, name: &str) -> String {
    join(stack, name, "")
}

/// The same with something behind it that tells versions apart: `<stack>_<name>-<version>`.
pub(super) fn version(stack: &str, name: &str, version: &str) -> String {
    join(stack, name, &format!("-{version}"))
}

/// The same name when somebody else has it already.
pub(super) fn beside(stack: &str, name: &str, owner: &OwnerId) -> String {
    version(stack, name, &short(&ContentHash::of(owner.as_str().as_bytes()), 6))
}

/// The name of a record of ours. Names of configs are unique in a Swarm: whoever makes one first has it.
pub(super) fn record(owner: &OwnerId, stack: &str, what: &str) -> String {
    join(&format!("windflow-{owner}"), stack, &format!("-{what}"))
}

/// The first digits of a hash.
pub(super) fn short(hash: &ContentHash, digits: usize) -> String {
    hash.to_string().trim_start_matches("sha256:").chars().take(digits).collect()
}

fn join(stack: &str, name: &str, end: &str) -> String {
    let whole = format!("{stack}_{name}");
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let plain: String = whole.chars().map(|c| if fit(c) { c } else { '-' }).collect();
    let plain = plain.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if plain == whole && plain.len() + end.len() <= LONGEST {
        return format!("{plain}{end}");
    }
    // What had to be changed could be somebody else's name: the hash tells them apart.
    let hash = short(&ContentHash::of(format!("{stack}\n{name}").as_bytes()), 10);
    let room = LONGEST.saturating_sub(hash.len() + 1 + end.len());
    let kept: String = plain.chars().take(room).collect();
    match kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => format!("windflow-{hash}{end}"),
        kept => format!("{kept}-{hash}{end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_stack_s_and_its_own_where_a_swarm_allows_it() {
        assert_eq!(object("shop", "web"), "shop_web");
        assert_eq!(version("shop", "tls", "0123456789"), "shop_tls-0123456789");
        assert_eq!(beside("shop", "web", &OwnerId::new("me").unwrap()), "shop_web-2744cc");
        assert!(object("_", "a..").starts_with("a-"), "{}", object("_", "a.."));
        assert_ne!(object("_", "a.."), object("_", "a--"));
        let long = record(&OwnerId::new("me").unwrap(), &"x".repeat(63), "r10");
        assert!(long.len() <= LONGEST && long.ends_with("-r10"), "{long}");
    }
}
