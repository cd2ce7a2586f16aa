//! What a person reads, compared with what is written down. `WINDFLOW_SNAPSHOTS=write` writes it down anew.

use std::path::Path;

use crate::world::World;

/// Compares a text with the snapshot of a name, after what differs from run to run has been taken out.
#[track_caller]
pub fn matches(name: &str, world: &World, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots").join(format!("{name}.txt"));
    let text = redacted(text, world);
    if std::env::var("WINDFLOW_SNAPSHOTS").is_ok_and(|wish| wish == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, known, "{} differs; WINDFLOW_SNAPSHOTS=write takes it over", shown(&path));
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Ids, times, durations, hashes and paths replaced by words.
pub fn redacted(text: &str, world: &World) -> String {
    let text = text.replace(&*world.dir.to_string_lossy(), "DIR").replace(env!("CARGO_BIN_EXE_windflow"), "WINDFLOW");
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let uuid = bare.len() == 36 && bare.chars().filter(|c| *c == '-').count() == 4;
    let moment = bare.len() >= 20 && bare.starts_with("20") && bare.ends_with('Z') && bare.contains('T');
    let seconds = bare.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
    match () {
        () if uuid => word.replace(bare, "ID"),
        () if moment => word.replace(bare, "TIME"),
        () if seconds => word.replace(bare, "TOOK"),
        () if bare.starts_with("sha256:") => word.replace(bare, "HASH"),
        () => word.to_owned(),
    }
}
