//! A stack that `docker stack deploy` has started becomes ours, and none of its tasks notices.

use windflow_core::target::{
    Applied, Consents, Context, Desired, EnvValue, FileMount, FileObject, Mount, MountKind, Service, Stack,
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
    configs: [{{ source: motd, target: /etc/motd }}]
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
"#,
        place.stack
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
    front.configs = vec![FileMount { source: "motd".into(), target: Some("/etc/motd".into()), ..FileMount::default() }];
    let mut db = sh("exec sleep 1000");
    db.volumes = vec![Mount::new(MountKind::Volume, Some("data".to_owned()), "/data")];
    let mut stack: Stack = place.stack([("web", front), ("db", db)]);
    stack.volumes.insert("data".to_owned(), Volume::default());
    let external = FileObject { name: Some(motd.clone()), ..FileObject::default() };
    stack.configs.insert("motd".to_owned(), external);
    let target = place.target();
    let cx = Context::new("adopt");
    let containers = || {
        let label = format!("label=com.docker.stack.namespace={}", place.stack);
        let found = docker_says(&["ps", "-q", "--no-trunc", "--filter", &label]);
        let mut ids: Vec<String> = found.lines().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    while containers().len() < 2 || docker_says(&["ps", "--format", "{{.Status}}"]).contains("health: starting") {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let before = containers();
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
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(containers(), before, "no task was replaced");
    // From now on it is changed as any other: only what changes is touched.
    stack.services.get_mut("web").unwrap().environment.insert("VERSION".into(), EnvValue::Plain("2".into()));
    assert_eq!(target.deploy(&Context::new("two"), stack.clone()).await.unwrap(), Applied::Revision(Some(2)));
    let observed = target.observe(&cx, &stack.name).await.unwrap();
    assert!(before.contains(&observed.services["db"].instances[0].id));
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
    drop(theirs);
    docker_says(&["config", "rm", &motd]);
}
