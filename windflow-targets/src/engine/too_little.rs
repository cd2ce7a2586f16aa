//! Memory that is less than an engine gives to anything. Pure.

use windflow_core::target::Service;

/// The bounds of memory that are below what this engine takes, as path within the service and sentence.
pub(crate) fn too_little(service: &Service, least: u64) -> Vec<(String, String)> {
    let asked = [("limits", service.resources.limits.memory), ("reservations", service.resources.reservations.memory)];
    let low = asked.iter().filter_map(|(field, bytes)| Some((field, (*bytes)?)));
    // Nothing asked for and 0 are the same.
    let low = low.filter(|(_, bytes)| (1..least).contains(bytes));
    low.map(|(field, bytes)| {
        let why = format!("{bytes} bytes are less than an engine takes: write at least {}m", least / (1024 * 1024));
        (format!("resources.{field}.memory"), why)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_least_is_told_by_its_path() {
        let mut service = Service::default();
        service.resources.limits.memory = Some(1);
        service.resources.reservations.memory = Some(6 * 1024 * 1024);
        let told = too_little(&service, 6 * 1024 * 1024);
        let why = "1 bytes are less than an engine takes: write at least 6m".to_owned();
        assert_eq!(told, [("resources.limits.memory".to_owned(), why)]);
    }
}
