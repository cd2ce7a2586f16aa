//! What no engine takes, of either kind, told before anything begins. Pure.

use windflow_core::target::Service;

/// What this service asks for in vain, as path within it and sentence. An engine takes bounds of memory from `least` bytes on.
pub(crate) fn no_engine_takes(service: &Service, least: u64) -> Vec<(String, String)> {
    let asked = [("limits", service.resources.limits.memory), ("reservations", service.resources.reservations.memory)];
    let low = asked.iter().filter_map(|(field, bytes)| Some((field, (*bytes)?)));
    // Nothing asked for and 0 are the same.
    let low = low.filter(|(_, bytes)| (1..least).contains(bytes));
    let mut found: Vec<(String, String)> = low
        .map(|(field, bytes)| {
            let why = format!("{bytes} bytes are less than an engine takes: write at least {}m", least / (1024 * 1024));
            (format!("resources.{field}.memory"), why)
        })
        .collect();
    if let Some(dir) = service.working_dir.as_deref().filter(|dir| !dir.is_empty() && !dir.starts_with('/')) {
        found.push(("working_dir".to_owned(), format!("'{dir}' is not an absolute path")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_least_is_told_by_its_path() {
        let mut service = Service::default();
        service.resources.limits.memory = Some(1);
        service.resources.reservations.memory = Some(6 * 1024 * 1024);
        let told = no_engine_takes(&service, 6 * 1024 * 1024);
        let why = "1 bytes are less than an engine takes: write at least 6m".to_owned();
        assert_eq!(told, [("resources.limits.memory".to_owned(), why)]);
    }

    #[test]
    fn a_program_begins_at_an_absolute_path() {
        let at = |dir: &str| no_engine_takes(&Service { working_dir: Some(dir.to_owned()), ..Service::default() }, 1);
        assert_eq!(at("app"), [("working_dir".to_owned(), "'app' is not an absolute path".to_owned())]);
        assert_eq!((at("/app"), at("")), (Vec::new(), Vec::new()));
    }
}
