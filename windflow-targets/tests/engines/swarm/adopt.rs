//! A stack that `docker stack deploy` has started becomes ours, and none of its tasks notices.

use windflow_core::target::{
    Applied, Consents, Context, Desired, EnvValue, FileMount, FileObject, FileSource, Mount, MountKind, Service, Stack,
    Target as _, TargetExt as _, Volume,
};

use super::place::{IMAGE, Place, docker_says, port, sh, web};

struct Deployed {
    name: String,
}

impl Drop for Deployed {
    fn drop(&mut self) {
        docker_says(&["stack", "rm", &self.name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_docker_stack_deploy_becomes_ours_without_a_task_being_touched() {
    let place = Place::new();
    let number = port();
    let page = std::env::temp_dir().join(format!("{}.page", place.stack));
    std::fs::write(&page, "a page\n").unwrap();
    let file = format!(
        r#"
version: "3.8"
services:
  web:
    image: {IMAGE}
    command: ["sh", "-c", "mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www"]
    environment: {{ VERSION: "1" }}
    ports: [{{ target: 80, published: {number}, mode: host }}]
    stop_grace_period: 100ms
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"]
      interval: 200ms
      timeout: 2s
      retries: 5
    deploy: {{ endpoint_mode: dnsrr, labels: {{ team: shop }} }}
    configs: [{{ source: motd, target: /etc/motd }}, {{ source: page, target: /etc/page }}]
    secrets: [{{ source: word, target: /run/word }}]
  db:
    image: {IMAGE}
    command: ["sh", "-c", "exec sleep 1000"]
    stop_grace_period: 100ms
    volumes: ["data:/data"]
    deploy: {{ endpoint_mode: dnsrr }}
volumes:
  data: {{}}
configs:
  motd: {{ external: true, name: "{0}_motd" }}
  page: {{ file: "{1}" }}
secrets:
  word: {{ file: "{1}" }}
"#,
        place.stack,
        page.to_string_lossy()
    );
    let path = std::env::temp_dir().join(format!("{}.yaml", place.stack));
    std::fs::write(&path, file).unwrap();
    let theirs = Deployed { name: place.stack.clone() };
    let (at, motd) = (path.to_string_lossy(), format!("{}_motd", place.stack));
    docker_says(&["config", "create", &motd, &at]);
    docker_says(&["stack", "deploy", "--resolve-image", "never", "-c", &at, &place.stack]);
    std::fs::remove_file(&path).unwrap();
    let mut front: Service = web(number, "1");
    front.deploy_labels.insert("team".to_owned(), "shop".to_owned());
    let mounted = |source: &str, target: &str| FileMount {
        source: source.into(),
        target: Some(target.into()),
        ..FileMount::default()
    };
    front.configs = vec![mounted("motd", "/etc/motd"), mounted("page", "/etc/page")];
    front.secrets = vec![mounted("word", "/run/word")];
    let mut db = sh("exec sleep 1000");
    db.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut stack: Stack = place.stack([("web", front), ("db", db)]);
    stack.volumes.insert("data".to_owned(), Volume::default());
    let external = FileObject { name: Some(motd.clone()), ..FileObject::default() };
    stack.configs.insert("motd".to_owned(), external);
    let text = FileSource::Content("a page\n".to_owned());
    stack.configs.insert("page".to_owned(), FileObject { source: Some(text.clone()), ..FileObject::default() });
    stack.secrets.insert("word".to_owned(), FileObject { source: Some(text), ..FileObject::default() });
    let target = place.target();
    let cx = Context::new("adopt");
    let containers = || {
        let label = format!("label=com.docker.stack.namespace={}", place.stack);
        let found = docker_says(&["ps", "-q", "--no-trunc", "--filter", &label]);
        let since = |id: &str| docker_says(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", id]);
        let mut ids: Vec<String> = found.lines().map(since).collect();
        ids.sort();
        ids
    };
    // The Swarm learns a little later than the engine that a task is well.
    let of_stack = format!("label=com.docker.stack.namespace={}", place.stack);
    let replicas = || docker_says(&["service", "ls", "--format", "{{.Replicas}}", "--filter", &of_stack]);
    while replicas() != "1/1\n1/1" {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let before = containers();
    // An adoption of a stack of that name was cut long ago, and its record knows nothing of these.
    let stale = std::env::temp_dir().join(format!("{}.json", place.stack));
    std::fs::write(&stale, r#"{"networks":{"default":"gone"},"volumes":{}}"#).unwrap();
    docker_says(&[
        "config",
        "create",
        "--label",
        &format!("windflow.owner={}", place.owner),
        "--label",
        &format!("windflow.stack={}", place.stack),
        "--label",
        "windflow.record=adopted",
        &format!("windflow-{}_{}-adopted", place.owner, place.stack),
        &stale.to_string_lossy(),
    ]);
    std::fs::remove_file(&stale).unwrap();
    let all = target.discover(&cx).await.unwrap();
    let found = all.iter().find(|found| found.name.as_str() == place.stack).unwrap();
    assert_eq!(
        (found.owner.as_deref(), found.services.as_slice()),
        (None, ["db".to_owned(), "web".to_owned()].as_slice())
    );
    let revision = target.adopt(&cx, found, &Desired::Present(stack.clone())).await.unwrap();
    assert!(revision.adopted && revision.number == 1);
    let plan = target.plan_for(&cx, &Desired::Present(stack.clone())).await.unwrap();
    assert!(plan.is_empty(), "{:#?}", plan.changes);
    assert_eq!(containers(), before, "no task was replaced");
    // From now on it is changed as any other: only what changes is touched.
    stack.services.get_mut("web").unwrap().environment.insert("VERSION".into(), EnvValue::Plain("2".into()));
    assert_eq!(target.deploy(&Context::new("two"), stack.clone()).await.unwrap(), Applied::Revision(Some(2)));
    let observed = target.observe(&cx, &stack.name).await.unwrap();
    let db = &observed.services["db"].instances[0].id;
    assert!(before.iter().any(|line| line.starts_with(db)), "{before:?}");
    // What was there, and what the change has made: no other was ever asked for.
    let tasks = |service: &str| {
        let tasks = docker_says(&["service", "ps", "-q", &format!("{}_{service}", place.stack)]);
        tasks.lines().count()
    };
    assert_eq!((tasks("db"), tasks("web")), (1, 2), "no task was replaced by being taken over");
    // Its volume outlives it, and is known for the stack's own ever after.
    target.destroy(&cx, &stack.name).await.unwrap();
    let kept = target.observe(&cx, &stack.name).await.unwrap();
    assert!(kept.is_absent() && kept.retained["volumes.data"] == format!("{}_data", place.stack), "{kept:?}");
    assert!(!target.stacks(&cx).await.unwrap().contains(&stack.name), "what is kept is no stack");
    let nothing = target.plan_for(&cx, &Desired::Absent(stack.name.clone())).await.unwrap();
    assert!(nothing.is_empty() && nothing.degradations[0].contains("is kept"), "{nothing:?}");
    assert_eq!(target.deploy(&Context::new("anew"), stack.clone()).await.unwrap(), Applied::Revision(Some(1)));
    target.destroy(&Context::new("once more"), &stack.name).await.unwrap();
    let agreed = Context::new("gone").with_consents(Consents::none().allow_destroy("volume"));
    let plan = target.plan_for(&agreed, &Desired::Absent(stack.name.clone())).await.unwrap();
    let volume = plan.changes.iter().find(|change| change.path == "volumes.data").unwrap();
    assert!(volume.note.as_ref().unwrap().contains(&format!("{}_data", place.stack)), "{volume:?}");
    target.apply(&agreed, &plan).await.unwrap();
    let volumes = docker_says(&["volume", "ls", "-q", "--filter", &format!("name={}_data", place.stack)]);
    assert!(volumes.is_empty(), "what was taken over with it went with it: {volumes}");
    assert!(target.observe(&cx, &stack.name).await.unwrap().is_absent());
    let networks = docker_says(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!networks.contains(&place.stack), "its network went with it: {networks}");
    for kind in ["config", "secret"] {
        let left = docker_says(&[kind, "ls", "--format", "{{.Name}}", "--filter", &format!("name={}", place.stack)]);
        assert_eq!(left, if kind == "config" { motd.as_str() } else { "" }, "its {kind}s went with it");
    }
    drop(theirs);
    std::fs::remove_file(&page).unwrap();
    docker_says(&["config", "rm", &motd]);
}
