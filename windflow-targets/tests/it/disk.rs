//! A folder that is full, or that must not be written: told, nothing half-written, and all right again when it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use windflow_core::target::{Applied, Context, Health, PlanError, Restart, Stack, TargetErrorKind, TargetExt as _};

use crate::place::{Place, eventually, observe, pid_of, program, sh, stack};

fn cx(key: &str) -> Context {
    Context::new(key)
}

/// A place on a file system of its own.
struct Small(Place);

impl Small {
    fn new() -> Self {
        let place = Place::new();
        mount(&["-t", "tmpfs", "-o", "size=4m,mode=700", "windflow-test"], &place.root);
        Self(place)
    }

    fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0.root);
    }

    /// Nothing can be opened to be written any more.
    fn read_only(&self) {
        let root = self.0.root.to_str().unwrap();
        mount(&["--bind", root], &self.0.root);
        mount(&["-o", "remount,bind,ro"], &self.0.root);
    }

    fn writable(&self) {
        unmount(&self.0.root);
    }

    /// Every file here is whole.
    fn is_sound(&self) {
        fn look(dir: &Path) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    look(&path);
                } else if path.extension().is_some_and(|kind| kind == "json") {
                    let text = fs::read_to_string(&path).unwrap();
                    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}: {text}", path.display());
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    assert!(!name.starts_with('.'), "{name} was left");
                }
            }
        }
        look(&self.0.root);
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount").args(arguments).arg(at).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "this test mounts a small file system: run it as root, or under unshare -rm: {said}"
    );
}

fn unmount(at: &Path) {
    assert!(Command::new("umount").arg("--lazy").arg(at).status().unwrap().success());
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(&self.0.root);
    }
}

fn version(version: &str) -> Stack {
    let mut db = sh("echo hello; exec sleep 1000");
    db.restart.policy = Restart::OnFailure;
    stack([("db", db), (if version == "1" { "one" } else { "two" }, program(&["sleep", "1000"]))])
}

/// What an apply answers that has found the disk full: the folder by name, and what to do.
fn refused(small: &Small, answer: Result<Applied, PlanError>) -> bool {
    let error = match answer {
        Ok(Applied::Revision(_)) => return false,
        Ok(Applied::RolledBack { why, .. }) => {
            assert!(why.contains("No space left on device"), "{why}");
            return true;
        }
        Err(PlanError::Target(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(error.message.contains(small.0.root.to_str().unwrap()), "it names the folder: {error}");
    assert!(error.message.contains("No space left on device"), "{error}");
    assert_eq!(error.kind, TargetErrorKind::Transient, "{error}");
    assert_eq!(error.hint.as_deref(), Some("free some space, then do it again"), "{error}");
    true
}

#[tokio::test]
async fn a_full_disk_is_told_wherever_it_is_met_and_the_next_apply_goes_on() {
    // Files and folders run out, one later each time.
    for (met, inodes) in (2..40).enumerate() {
        let small = Small::new();
        let target = small.0.target();
        small.remount(&format!("nr_inodes={inodes}"));
        let full = refused(&small, target.deploy(&cx("one"), version("1")).await);
        small.is_sound();
        small.remount("nr_inodes=0");
        let again = target.deploy(&cx("two"), version("1")).await.unwrap();
        if !full {
            assert_eq!(again, Applied::Nothing);
            assert!(met >= 8, "the disk was full at {met} places only");
            return;
        }
        assert_eq!(again, Applied::Revision(Some(1)), "with {inodes} inodes");
        let observed = observe(&target, &version("1")).await;
        assert!(observed.services.values().all(|service| service.health == Health::Healthy), "{observed:?}");
        target.destroy(&cx("three"), &version("1").name).await.unwrap();
        assert_eq!(fs::read_dir(&small.0.root).unwrap().count(), 0);
    }
    panic!("it never came up");
}

#[tokio::test]
async fn a_disk_that_fills_up_costs_no_service_that_runs() {
    for pages in [0, 1, 2, 4] {
        let small = Small::new();
        let target = small.0.target();
        target.deploy(&cx("one"), version("1")).await.unwrap();
        let pid = pid_of(&target, &version("1"), "db").await;
        let rest = small.0.root.join("rest");
        let _ = fs::write(&rest, vec![b'x'; 8 << 20]);
        let kept = fs::metadata(&rest).unwrap().len().saturating_sub(pages * 4096);
        fs::OpenOptions::new().write(true).open(&rest).unwrap().set_len(kept).unwrap();
        let answer = target.deploy(&cx("two"), version("2")).await;
        assert!(refused(&small, answer) || pages > 2, "with {pages} pages left");
        assert_eq!(pid_of(&target, &version("1"), "db").await, pid, "with {pages} pages left");
        small.is_sound();
        fs::remove_file(&rest).unwrap();
        let answer = target.deploy(&cx("three"), version("2")).await.unwrap();
        assert!(matches!(answer, Applied::Revision(Some(2)) | Applied::Nothing), "{answer:?}");
        assert_eq!(pid_of(&target, &version("2"), "db").await, pid);
        eventually("it is told as it is", async || {
            let observed = observe(&target, &version("2")).await;
            (observed.services.values().all(|service| service.health == Health::Healthy), observed)
        })
        .await;
        target.destroy(&cx("four"), &version("2").name).await.unwrap();
    }
}

#[tokio::test]
async fn what_frees_space_needs_none() {
    let small = Small::new();
    let target = small.0.target();
    target.deploy(&cx("one"), version("1")).await.unwrap();
    let _ = fs::write(small.0.root.join("rest"), vec![b'x'; 8 << 20]);
    assert_eq!(target.destroy(&cx("two"), &version("1").name).await.unwrap(), Applied::Revision(None));
    assert!(small.0.marked(&small.0.root).is_empty());
    assert!(!small.0.dir(&version("1")).exists());
}

#[tokio::test]
async fn a_stack_of_another_user_is_taken_down_and_not_taken_over() {
    let place = crate::place::Place::new();
    let target = place.target();
    target.deploy(&cx("one"), version("1")).await.unwrap();
    let dir = place.dir(&version("1"));
    std::os::unix::fs::chown(&dir, Some(65534), None).unwrap();
    let answer = target.deploy(&cx("two"), version("2")).await;
    let Err(PlanError::Target(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
    assert!(error.message.contains(&format!("{} belongs to user 65534", dir.display())), "{error}");
    assert_eq!(target.destroy(&cx("three"), &version("1").name).await.unwrap(), Applied::Revision(None));
}

#[tokio::test]
async fn a_folder_that_must_not_be_written_is_told_and_nothing_is_touched() {
    let small = Small::new();
    let target = small.0.target();
    small.read_only();
    let denied = |answer: Result<Applied, PlanError>| {
        let Err(PlanError::Target(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.kind, TargetErrorKind::Denied, "{error}");
        assert!(error.message.contains(small.0.root.to_str().unwrap()), "{error}");
        assert_eq!(error.hint.as_deref(), Some("the folder must be writable for the user who deploys"), "{error}");
    };
    denied(target.deploy(&cx("one"), version("1")).await);
    small.writable();
    target.deploy(&cx("two"), version("1")).await.unwrap();
    let pid = pid_of(&target, &version("1"), "db").await;
    small.read_only();
    denied(target.deploy(&cx("three"), version("2")).await);
    denied(target.destroy(&cx("four"), &version("1").name).await);
    assert_eq!(pid_of(&target, &version("1"), "db").await, pid);
    small.writable();
    assert_eq!(target.deploy(&cx("five"), version("2")).await.unwrap(), Applied::Revision(Some(2)));
    target.destroy(&cx("six"), &version("2").name).await.unwrap();
    assert_eq!(fs::read_dir(&small.0.root).unwrap().count(), 0);
}
