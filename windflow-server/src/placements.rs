//! Where stacks were, remembered beside the state: one empty file for each stack that a target may hold.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use windflow_core::target::Placements;
use windflow_core::{StackName, TargetName};

/// A folder with a folder for each target.
#[derive(Clone, Debug)]
pub struct FilePlacements(PathBuf);

impl FilePlacements {
    /// Below the folder of the state.
    #[must_use]
    pub fn below(state: &Path) -> Self {
        Self(state.join(".placements"))
    }

    fn file(&self, target: &TargetName, stack: &StackName) -> PathBuf {
        self.0.join(target.as_str()).join(stack.as_str())
    }

    fn keep(&self, target: &TargetName, file: &Path) -> io::Result<()> {
        let folder = self.0.join(target.as_str());
        fs::create_dir_all(&folder)?;
        File::create(file)?.sync_all()?;
        for folder in [Some(&*folder), Some(&*self.0), self.0.parent()].into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Should the machine fail before this is on disk, it is remembered as there: the safe side.
        _ => Ok(()),
    }
}

impl Placements for FilePlacements {
    fn may_hold(&self, target: &TargetName, stack: &StackName) -> bool {
        // What cannot be looked at may be there.
        self.file(target, stack).try_exists().unwrap_or(true)
    }

    fn note(&self, target: &TargetName, stack: &StackName, may_hold: bool) -> io::Result<()> {
        let file = self.file(target, stack);
        let noted = file.try_exists().and_then(|is_kept| match may_hold {
            // Where nothing can be written there may be nothing to write.
            _ if is_kept == may_hold => Ok(()),
            true => self.keep(target, &file),
            false => forget(&file),
        });
        noted.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_outlives_the_process_and_goes_when_the_stack_was_seen_absent() {
        let dir = std::env::temp_dir().join(format!("windflow-placements-{}", std::process::id()));
        let (main, spare): (TargetName, TargetName) = ("main".parse().unwrap(), "spare".parse().unwrap());
        let shop: StackName = "shop".parse().unwrap();
        let placements = || FilePlacements::below(&dir);
        placements().note(&main, &shop, false).unwrap();
        assert!(!dir.exists(), "nothing is written for nothing");
        placements().note(&main, &shop, true).unwrap();
        placements().note(&main, &shop, true).unwrap();
        assert!(placements().may_hold(&main, &shop) && !placements().may_hold(&spare, &shop));
        placements().note(&main, &shop, false).unwrap();
        assert!(!placements().may_hold(&main, &shop));
        fs::remove_dir_all(&dir).unwrap();
    }
}
