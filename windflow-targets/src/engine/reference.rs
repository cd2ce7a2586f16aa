//! What the name of an image may look like: `[registry/]path[:tag][@digest]`.

/// The longest that a registry and a path may be together.
const LONGEST: usize = 255;

/// What is wrong with the name of an image, by the rules that every engine has.
pub(crate) fn name_problem(image: &str) -> Option<String> {
    let (named, digest) = match image.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (image, None),
    };
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match named.get(last..)?.find(':') {
        Some(colon) => (named.get(..last + colon)?, named.get(last + colon + 1..)),
        None => (named, None),
    };
    let (registry, path) = match repository.split_once('/') {
        Some((first, rest)) if is_registry(first) => (Some(first), rest),
        _ => (None, repository),
    };
    let wrong = if registry.is_some_and(|registry| !is_host(registry)) {
        "what is before the first '/' is no host, with or without a port"
    } else if path.is_empty() || !path.split('/').all(is_part) {
        "its path has lower-case letters and digits, and single '.', '_' or '-' between them"
    } else if repository.len() > LONGEST {
        "it has more than 255 characters"
    } else if tag.is_some_and(|tag| !is_tag(tag)) {
        "a tag has at most 128 letters, digits, '_', '.' and '-', and does not start with '.' or '-'"
    } else if digest.is_some_and(|digest| !is_digest(digest)) {
        "a digest is 'sha256:' and 64 digits from 0 to f"
    } else {
        return None;
    };
    Some(format!("'{image}' is no name of an image: {wrong}"))
}

/// Whether the first part of a name stands for a registry.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
}

fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.rfind(':') {
        Some(colon) if !registry.ends_with(']') => (registry.get(..colon), registry.get(colon + 1..)),
        _ => (Some(registry), None),
    };
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = |label: &str| {
        let fits = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && fits && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name = |host: &str| match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label),
    };
    host.is_some_and(is_name) && port.is_none_or(is_number)
}

fn is_part(part: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = part.as_bytes();
    loop {
        let letters = rest.iter().take_while(|byte| is_letter(**byte)).count();
        if letters == 0 {
            return false;
        }
        rest = rest.get(letters..).unwrap_or_default();
        let between = rest.iter().take_while(|byte| !is_letter(**byte)).count();
        match rest.get(..between) {
            None | Some([]) => return true,
            Some([b'.' | b'_'] | [b'_', b'_']) => {}
            Some(dashes) if dashes.iter().all(|byte| *byte == b'-') => {}
            Some(_) => return false,
        }
        rest = rest.get(between..).unwrap_or_default();
    }
}

fn is_tag(tag: &str) -> bool {
    let fits = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    fits && (1..=128).contains(&tag.len()) && !tag.starts_with(['.', '-'])
}

fn is_digest(digest: &str) -> bool {
    let is_hex = |hex: &str| hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
        // Engines may know others.
        Some((algorithm, hex)) => !algorithm.is_empty() && hex.len() >= 32 && is_hex(&hex.to_ascii_lowercase()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_told_from_what_is_none() {
        let hex = "0123456789abcdef".repeat(4);
        let digest = format!("web:1.2@sha256:{hex}");
        let good = [
            "web",
            "web:1",
            "wf-busybox:1",
            "x/a.b_c__d---e/f:V_1.0-x",
            "localhost:5000",
            "localhost/web",
            "127.0.0.1:9/none:1",
            "GHCR.io/a/b",
            "[::1]:5000/web",
            digest.as_str(),
        ];
        for name in good {
            assert_eq!(name_problem(name), None, "{name}");
        }
        let long = format!("web:{}", "x".repeat(129));
        let bad = [
            "",
            "UPPER:bad tag",
            "UPPER",
            "web:bad tag",
            "web:",
            "web:.1",
            "web@sha256:12",
            "web@",
            " web",
            "a//b",
            "/web",
            "web/",
            "a..b",
            "a___b",
            "-web",
            "ho st.io/web",
            "-.io/web",
            "host:port/web",
            "[::g]/web",
            "wéb",
            long.as_str(),
        ];
        for name in bad {
            let told = name_problem(name).unwrap_or_else(|| panic!("{name:?} is no name of an image"));
            assert!(told.starts_with(&format!("'{name}' is no name of an image: ")), "{told}");
        }
    }
}
