//! Files and folders of the target that somebody has damaged or removed.

use std::fs;

use windflow_core::target::{Applied, Context, Desired, Target as _, TargetErrorKind, TargetExt as _};

use crate::place::{Place, eventually, pid_of, sh, stack};

fn cx(key: &str) -> Context {
    Context::new(key)
}

#[tokio::test]
async fn what_only_says_how_it_runs_is_made_anew_when_it_is_damaged() {
    for (file, supervised) in [("state.json", true), ("state.json", false), ("spec.json", true), ("spec.json", false)] {
        let place = Place::new();
        let target = place.target();
        let stack = stack([("db", sh("exec sleep 1000"))]);
        target.deploy(&cx("one"), stack.clone()).await.unwrap();
        let before = pid_of(&target, &stack, "db").await;
        if !supervised {
            place.kill_supervisors().await;
        }
        fs::write(place.dir(&stack).join(file), "garbage").unwrap();
        // What is seen of it may be too little; it may not be an error.
        target.plan_for(&cx("look"), &Desired::Present(stack.clone())).await.unwrap();
        target.deploy(&cx("two"), stack.clone()).await.unwrap();
        let settled = target.plan_for(&cx("look"), &Desired::Present(stack.clone())).await.unwrap();
        assert!(settled.changes.is_empty(), "{file} {supervised}: {settled:?}");
        let after = pid_of(&target, &stack, "db").await;
        let services = place.marked(&place.dir(&stack));
        assert_eq!(
            services,
            [after],
            "{file} {supervised}: one runs, and there is no other beside it ({before} before)"
        );
        fs::write(place.dir(&stack).join(file), "{\"version\":").unwrap();
        let gone = target.destroy(&cx("three"), &stack.name).await.unwrap();
        assert_eq!(gone, Applied::Revision(None));
        eventually("nothing runs", async || {
            let left = (place.supervisors(), place.marked(&place.root));
            (left.0.is_empty() && left.1.is_empty(), left)
        })
        .await;
    }
}

#[tokio::test]
async fn a_damaged_record_of_revisions_is_named_and_can_be_moved_away() {
    for file in ["current.json", "revisions/1.json"] {
        let place = Place::new();
        let target = place.target();
        let stack = stack([("db", sh("exec sleep 1000"))]);
        target.deploy(&cx("one"), stack.clone()).await.unwrap();
        let pid = pid_of(&target, &stack, "db").await;
        let path = place.dir(&stack).join(file);
        fs::write(&path, "garbage").unwrap();
        let error = target.observe(&cx("look"), &stack.name).await.unwrap_err();
        let told = format!("local/{}: {} is damaged: expected value", stack.name, path.display());
        assert!(error.kind == TargetErrorKind::Denied && error.to_string().starts_with(&told), "{error}");
        assert!(error.to_string().contains("move the file away"), "{error}");
        fs::remove_file(&path).unwrap();
        target.deploy(&cx("two"), stack.clone()).await.unwrap();
        assert_eq!(pid_of(&target, &stack, "db").await, pid, "{file}: what runs goes on");
        target.destroy(&cx("three"), &stack.name).await.unwrap();
    }
}

#[tokio::test]
async fn a_stack_whose_folder_is_gone_is_taken_down() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let marked = || place.marked(&place.root).len() + place.supervisors().len();
    assert_eq!(marked(), 2);
    fs::remove_dir_all(&place.root).unwrap();
    eventually("nothing of it is left", async || (marked() == 0, marked())).await;
    assert!(!place.root.exists(), "nothing was made again");
}

#[tokio::test]
async fn a_stack_applied_anew_after_its_folder_was_removed_has_one_supervisor() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let first = place.supervisors();
    fs::remove_dir_all(&place.root).unwrap();
    target.deploy(&cx("two"), stack.clone()).await.unwrap();
    eventually("the first supervisor is gone", async || {
        let left = place.supervisors();
        (left.len() == 1 && left != first, left)
    })
    .await;
    let pid = pid_of(&target, &stack, "db").await;
    assert_eq!(place.marked(&place.root), [pid]);
    target.destroy(&cx("three"), &stack.name).await.unwrap();
}

#[tokio::test]
async fn a_service_whose_folder_was_removed_gets_another_with_its_next_start() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("echo $$; exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    fs::remove_dir_all(place.dir(&stack).join("services/db/0")).unwrap();
    let plan = target.plan_restart(&cx("two"), &stack.name, None, "now").await.unwrap();
    assert_eq!(target.apply(&cx("two"), &plan).await.unwrap(), Applied::Revision(Some(2)));
    let pid = pid_of(&target, &stack, "db").await;
    eventually("it says so in its log", async || {
        let log = fs::read_to_string(place.dir(&stack).join("services/db/0/log.jsonl")).unwrap_or_default();
        (log.contains(&pid.to_string()), log)
    })
    .await;
    target.destroy(&cx("three"), &stack.name).await.unwrap();
}
