//! Files and folders of the target that somebody has damaged or removed.

use std::fs;
use std::time::Duration;

use windflow_core::target::{Applied, Context, Desired, Health, Restart, Target as _, TargetErrorKind, TargetExt as _};

use crate::place::{Place, eventually, kill, observe, pid_of, sh, stack};

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
        let plan = target.plan_for(&cx("look"), &Desired::Present(stack.clone())).await.unwrap();
        let told = (file, supervised) == ("state.json", true);
        assert_eq!(plan.changes.is_empty(), told, "{file} {supervised}: the supervisor knows how it runs: {plan:?}");
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
        if !supervised {
            place.kill_supervisors().await;
        }
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
        let applied = target.deploy(&cx("two"), stack.clone()).await.unwrap();
        assert_eq!(applied, Applied::Revision(Some(2)), "{file}: no number is given twice");
        assert_eq!(pid_of(&target, &stack, "db").await, pid, "{file}: what runs goes on");
        target.destroy(&cx("three"), &stack.name).await.unwrap();
    }
}

#[tokio::test]
async fn a_stack_whose_folder_is_gone_is_taken_down() {
    for adopted in [false, true] {
        let place = Place::new();
        let target = place.target();
        let stack = stack([("db", sh("(setsid sleep 1001 &); exec sleep 1000"))]);
        target.deploy(&cx("one"), stack.clone()).await.unwrap();
        if adopted {
            // What left the service then has nobody above it but the machine's first process.
            place.kill_supervisors().await;
            target.deploy(&cx("two"), stack.clone()).await.unwrap();
        }
        let marked = || place.marked(&place.root).len() + place.supervisors().len();
        assert_eq!(marked(), 3);
        fs::remove_dir_all(&place.root).unwrap();
        eventually("nothing of it is left", async || (marked() == 0, marked())).await;
        assert!(!place.root.exists(), "nothing was made again");
    }
}

#[tokio::test]
async fn a_stack_whose_folder_was_emptied_is_taken_down() {
    let place = Place::new();
    let target = place.target();
    let stack = stack([("db", sh("exec sleep 1000"))]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let marked = || place.marked(&place.root).len() + place.supervisors().len();
    assert_eq!(marked(), 2);
    fs::remove_dir_all(place.dir(&stack)).unwrap();
    fs::create_dir_all(place.dir(&stack).join("services")).unwrap();
    eventually("nothing of it is left", async || (marked() == 0, marked())).await;
}

#[tokio::test]
async fn what_runs_goes_with_its_stack_whichever_file_of_it_was_lost() {
    let lost: [&[&str]; 4] = [
        &["spec.json"],
        &["spec.json", "state.json"],
        &["current.json", "spec.json"],
        &["spec.json", "state.json", "current.json", "revisions"],
    ];
    for lost in lost {
        let place = Place::new();
        let target = place.target();
        let stack = stack([("db", sh("exec sleep 1000"))]);
        target.deploy(&cx("one"), stack.clone()).await.unwrap();
        place.kill_supervisors().await;
        for name in lost {
            let path = place.dir(&stack).join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.unwrap();
        }
        assert_eq!(place.marked(&place.root).len(), 1);
        assert_eq!(target.destroy(&cx("two"), &stack.name).await.unwrap(), Applied::Revision(None), "{lost:?}");
        assert!(place.marked(&place.root).is_empty(), "{lost:?}: it was said to be gone, and runs");
        assert!(place.supervisors().is_empty(), "{lost:?}");
    }
}

#[tokio::test]
async fn a_stack_applied_anew_after_its_folder_was_removed_is_left_alone_by_its_first_supervisor() {
    let always = |text: &str| {
        let mut service = sh(text);
        service.restart.policy = Restart::Always;
        service.stop_grace_period = Some(Duration::from_millis(200));
        service
    };
    for text in ["exec sleep 1000", "trap '' TERM; while :; do sleep 1; done"] {
        let place = Place::new();
        let target = place.target();
        let before = stack([("db", always(text)), ("old", always(text))]);
        target.deploy(&cx("one"), before).await.unwrap();
        let first = place.supervisors();
        fs::remove_dir_all(&place.root).unwrap();
        let after = stack([("db", always(text))]);
        assert_eq!(target.deploy(&cx("two"), after.clone()).await.unwrap(), Applied::Revision(Some(1)));
        let pid = pid_of(&target, &after, "db").await;
        eventually("the first supervisor is gone", async || {
            let left = place.supervisors();
            (left.len() == 1 && left != first, left)
        })
        .await;
        let db = observe(&target, &after).await.services["db"].instances[0].clone();
        assert_eq!((db.id, db.restarts), (pid.to_string(), 0), "{text}: nobody has touched it");
        eventually("nothing of the first is left", async || {
            let left = place.marked(&place.root.join("ours/shop/services/old"));
            (left.is_empty(), left)
        })
        .await;
        target.destroy(&cx("three"), &after.name).await.unwrap();
        assert!(place.marked(&place.root).is_empty());
    }
}

#[tokio::test]
async fn a_folder_that_was_replaced_by_its_copy_goes_on_as_the_stack() {
    let place = Place::new();
    let target = place.target();
    let tick = place.root.join("tick");
    let mut service = sh(&format!("echo $$ begins; while :; do read line < {} && echo $$ $line; done", tick.display()));
    service.restart.policy = Restart::Always;
    let made = tokio::process::Command::new("mkfifo").arg(&tick).status().await.unwrap();
    assert!(made.success());
    let stack = stack([("db", service)]);
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let (pid, supervisors) = (pid_of(&target, &stack, "db").await, place.supervisors());
    let (ours, aside) = (place.root.join("ours"), place.root.join("aside"));
    fs::rename(&ours, &aside).unwrap();
    let copied = tokio::process::Command::new("cp").arg("-a").arg(&aside).arg(&ours).status().await.unwrap();
    assert!(copied.success());
    eventually("another supervisor has taken over", async || {
        let (now, log) = (place.supervisors(), fs::read_to_string(place.dir(&stack).join("supervisor.log")));
        (now.len() == 1 && now != supervisors && log.is_ok_and(|log| log.contains("its lock was replaced")), now)
    })
    .await;
    let says = async |pid: i32, what: &str| {
        eventually("it says so in its log", async || {
            let log = fs::read_to_string(place.dir(&stack).join("services/db/0/log.jsonl")).unwrap_or_default();
            (log.contains(&format!("{pid} {what}")), log)
        })
        .await;
    };
    let healthy = async |but: i32| {
        eventually("it is healthy", async || {
            let seen = observe(&target, &stack).await.services["db"].instances[0].clone();
            (seen.health == Health::Healthy && !seen.id.is_empty() && seen.id != but.to_string(), seen)
        })
        .await
    };
    assert_eq!(healthy(0).await.id, pid.to_string(), "what ran runs on");
    fs::write(&tick, "goes on\n").unwrap();
    says(pid, "goes on").await;
    kill(pid);
    let again = healthy(pid).await.id.parse().unwrap();
    says(again, "begins").await;
    let plan = target.plan_restart(&cx("two"), &stack.name, None, "now").await.unwrap();
    assert_eq!(target.apply(&cx("two"), &plan).await.unwrap(), Applied::Revision(Some(2)), "it takes orders");
    target.destroy(&cx("three"), &stack.name).await.unwrap();
    assert!(place.marked(&place.root).is_empty());
}

#[tokio::test]
async fn a_copy_of_the_folder_has_nothing_to_do_with_what_runs() {
    let (place, copy) = (Place::new(), Place::new());
    let stack = stack([("db", sh("exec sleep 1000"))]);
    let target = place.target();
    target.deploy(&cx("one"), stack.clone()).await.unwrap();
    let pid = pid_of(&target, &stack, "db").await;
    let copied = tokio::process::Command::new("cp").arg("-a").arg(place.root.join("ours")).arg(&copy.root).status();
    assert!(copied.await.unwrap().success());
    let other = copy.target();
    assert_eq!(observe(&other, &stack).await.services["db"].health, Health::Stopped);
    assert_eq!(other.deploy(&cx("two"), stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    assert_ne!(pid_of(&other, &stack, "db").await, pid);
    other.destroy(&cx("three"), &stack.name).await.unwrap();
    let db = observe(&target, &stack).await.services["db"].clone();
    assert_eq!((db.health, db.instances[0].id.clone()), (Health::Healthy, pid.to_string()));
    // By another name it is the same.
    let link = copy.root.join("link");
    std::os::unix::fs::symlink(&place.root, &link).unwrap();
    let mut config = place.config("ours");
    config.root = link;
    let linked = windflow_targets::host::HostTarget::new(config);
    assert_eq!(pid_of(&linked, &stack, "db").await, pid);
    target.destroy(&cx("four"), &stack.name).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_a_folder_is_named() {
    for file in ["spec.json", "state.json", "current.json"] {
        let place = Place::new();
        let target = place.target();
        let stack = stack([("db", sh("exec sleep 1000"))]);
        let path = place.dir(&stack).join(file);
        fs::create_dir_all(&path).unwrap();
        let error = target.deploy(&cx("one"), stack.clone()).await.unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("move it away"), "{error}");
    }
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
