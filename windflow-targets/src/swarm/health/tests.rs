//! How services are judged by their tasks, in tables.

use bollard::models::{
    ContainerStatus, EndpointSpec, Node, NodeDescription, ServiceSpec, ServiceSpecMode, ServiceSpecModeReplicated,
    ServiceUpdateStatus, TaskSpecRestartPolicy, TaskStatus,
};

use super::super::look::Manager;
use super::*;

fn service(on: On, replicas: i64) -> Service {
    let policy = TaskSpecRestartPolicy { condition: Some(on), ..TaskSpecRestartPolicy::default() };
    let mode = ServiceSpecModeReplicated { replicas: Some(replicas) };
    Service {
        id: Some("svc".to_owned()),
        spec: Some(ServiceSpec {
            mode: Some(ServiceSpecMode { replicated: Some(mode), ..ServiceSpecMode::default() }),
            task_template: Some(TaskSpec { restart_policy: Some(policy), ..TaskSpec::default() }),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A task of the service, the later the higher its number.
fn task(service: &Service, n: i64, slot: i64, state: TaskState, error: &str) -> Task {
    let code = if state == TaskState::FAILED { 3 } else { 0 };
    Task {
        id: Some(format!("task{n}")),
        service_id: service.id.clone(),
        slot: Some(slot),
        node_id: Some("n1".to_owned()),
        created_at: Some(format!("2026-11-25T10:00:{n:02}Z")),
        spec: service.spec.as_ref().and_then(|spec| spec.task_template.clone()),
        status: Some(TaskStatus {
            state: Some(state),
            err: Some(error.to_owned()),
            container_status: Some(ContainerStatus {
                container_id: Some(format!("container{n}")),
                pid: None,
                exit_code: Some(code),
            }),
            ..TaskStatus::default()
        }),
        ..Task::default()
    }
}

fn judged(service: &Service, tasks: Vec<Task>) -> Judged {
    let host = NodeDescription { hostname: Some("left".to_owned()), ..NodeDescription::default() };
    let node = Node { id: Some("n1".to_owned()), description: Some(host), ..Node::default() };
    judge(service, &Look { services: vec![service.clone()], tasks, nodes: vec![node], ..Look::default() })
}

#[test]
fn a_service_is_as_its_worst_instance_is() {
    let two = service(On::ANY, 2);
    let running = |n| task(&two, n, n, TaskState::RUNNING, "");
    assert_eq!(judged(&two, vec![running(1), running(2)]).health, Health::Healthy);
    assert_eq!(judged(&two, vec![running(1)]).health, Health::Starting, "the other is not made yet");
    assert_eq!(judged(&service(On::ANY, 0), vec![]).health, Health::Healthy, "none is wanted");
    let one = service(On::NONE, 1);
    assert_eq!(judged(&one, vec![task(&one, 1, 1, TaskState::COMPLETE, "")]).health, Health::Completed);
}

#[test]
fn one_end_may_come_right_and_a_second_will_not() {
    let any = service(On::ANY, 1);
    let failed = |n| task(&any, n, 1, TaskState::FAILED, "task: non-zero exit (3)");
    let why = "on node left: non-zero exit (3)".to_owned();
    assert_eq!(judged(&any, vec![failed(1)]).trouble, Some(Trouble::Soon(why.clone())));
    let starting = task(&any, 3, 1, TaskState::READY, "");
    let looping = judged(&any, vec![failed(1), failed(2), starting]);
    assert_eq!(looping.trouble, Some(Trouble::Now(why.clone())));
    assert_eq!(looping.task.as_deref(), Some("task2"), "its last words are quoted");
    let recovered = judged(&any, vec![failed(1), failed(2), task(&any, 3, 1, TaskState::RUNNING, "")]);
    assert_eq!((recovered.health, recovered.instances[0].restarts), (Health::Healthy, 2));
    let once = service(On::NONE, 1);
    let failed = task(&once, 1, 1, TaskState::FAILED, "task: non-zero exit (3)");
    assert_eq!(judged(&once, vec![failed]).health, Health::Failed { why });
    let missing = task(&any, 1, 1, TaskState::REJECTED, "No such image: web:9");
    // That does not come right by itself.
    let Some(Trouble::Now(told)) = judged(&any, vec![missing]).trouble else { unreachable!() };
    assert!(told.starts_with("on node left: No such image: web:9") && told.contains("`registries`"), "{told}");
}

#[test]
fn tasks_of_an_earlier_version_tell_nothing() {
    let now = service(On::ANY, 1);
    let mut before = now.clone();
    before.spec.as_mut().unwrap().task_template.as_mut().unwrap().force_update = Some(7);
    let old = task(&before, 1, 1, TaskState::FAILED, "non-zero exit (3)");
    assert_eq!(judged(&now, vec![old]).health, Health::Starting);
}

#[test]
fn ends_before_tell_nothing_of_what_has_begun_since() {
    let mut any = service(On::ANY, 1);
    let failed = |service: &Service, n| task(service, n, 1, TaskState::FAILED, "task: non-zero exit (3)");
    let starting = |service: &Service, n| task(service, n, 1, TaskState::PREPARING, "");
    let tasks = vec![failed(&any, 1), failed(&any, 2), starting(&any, 4)];
    let look = Look { services: vec![any.clone()], tasks, ..Look::default() };
    assert!(matches!(judge(&any, &look).trouble, Some(Trouble::Now(_))));
    let before = ["task1".to_owned(), "task2".to_owned()].into();
    let excused = Excused { before, ..Excused::default() };
    assert_eq!(judge_since(&any, &look, &excused).health, Health::Starting);
    // The Swarm says when it began to change the service.
    let started_at = Some("2026-11-25T10:00:03Z".to_owned());
    any.update_status = Some(ServiceUpdateStatus { started_at, ..ServiceUpdateStatus::default() });
    assert_eq!(judged(&any, vec![failed(&any, 1), failed(&any, 2), starting(&any, 4)]).health, Health::Starting);
    let again = vec![failed(&any, 1), failed(&any, 4), failed(&any, 5), starting(&any, 6)];
    assert!(matches!(judged(&any, again).trouble, Some(Trouble::Now(_))));
}

#[test]
fn what_ends_while_another_still_makes_way_tells_nothing() {
    let mut any = service(On::ANY, 1);
    let failed = |n| task(&any, n, 2, TaskState::FAILED, "task: non-zero exit (3)");
    let leaves = |state| Task { desired_state: Some(TaskState::REMOVE), ..task(&any, 1, 1, state, "") };
    let beside = |service: &Service, tasks: &[Task], node: &str| {
        let node = Node { id: Some(node.to_owned()), status: Some(Default::default()), ..Node::default() };
        let look =
            Look { services: vec![service.clone()], tasks: tasks.to_vec(), nodes: vec![node], ..Look::default() };
        let excused = Excused { beside: ended_beside_leavers(&look, &[]).into_iter().collect(), ..Excused::default() };
        (excused.beside.len(), judge_since(service, &look, &excused).trouble)
    };
    let why = "on node n1: non-zero exit (3)".to_owned();
    let lets_go = [leaves(TaskState::RUNNING), failed(2), failed(3)];
    assert_eq!(beside(&any, &lets_go, "n1"), (2, Some(Trouble::Soon(why.clone()))));
    let has_let_go = [leaves(TaskState::SHUTDOWN), failed(2), failed(3)];
    assert_eq!(beside(&any, &has_let_go, "n1"), (0, Some(Trouble::Now(why))), "nothing is in their way");
    assert_eq!(beside(&any, &lets_go, "n2").0, 0, "one on a node that nobody hears of may leave never");
    // Both have come to their end since somebody looked.
    let since = |now: &[Task]| {
        let earlier = [task(&any, 1, 1, TaskState::RUNNING, ""), failed(2), task(&any, 3, 2, TaskState::RUNNING, "")];
        let look = Look { services: vec![any.clone()], tasks: now.to_vec(), ..Look::default() };
        ended_beside_leavers(&look, &earlier)
    };
    assert_eq!(since(&[failed(2), failed(3)]), ["task3"], "one is gone");
    assert_eq!(since(&has_let_go), ["task1", "task3"]);
    let failed_too = task(&any, 1, 1, TaskState::FAILED, "task: non-zero exit (3)");
    assert_eq!(since(&[failed_too, failed(2), failed(3)]), [""; 0], "none was told to go");
    for judges in [Update::UPDATING, Update::PAUSED, Update::ROLLBACK_STARTED, Update::ROLLBACK_COMPLETED] {
        any.update_status = Some(ServiceUpdateStatus { state: Some(judges), ..ServiceUpdateStatus::default() });
        assert_eq!(beside(&any, &lets_go, "n1").0, 0, "{judges:?}: the Swarm judges its update itself");
    }
}

#[test]
fn what_is_not_started_again_is_begun_anew_when_it_ended_beside_a_leaver() {
    let once = service(On::NONE, 1);
    let failed =
        Task { desired_state: Some(TaskState::SHUTDOWN), ..task(&once, 2, 2, TaskState::FAILED, "non-zero exit (3)") };
    let leaves = |state| Task { desired_state: Some(TaskState::REMOVE), ..task(&once, 1, 1, state, "") };
    let judge = |leaver, beside: &[&str]| {
        let node = Node { id: Some("n1".to_owned()), status: Some(Default::default()), ..Node::default() };
        let tasks = vec![leaves(leaver), failed.clone()];
        let look = Look { services: vec![once.clone()], tasks, nodes: vec![node], ..Look::default() };
        let beside = beside.iter().map(|id| (*id).to_owned()).collect();
        let found = judge_since(&once, &look, &Excused { beside, ..Excused::default() });
        (found.health.is_ready(), found.trouble.is_some(), found.ended_in_vain)
    };
    assert_eq!(judge(TaskState::RUNNING, &["task2"]), (false, false, false), "another is still in its way");
    assert_eq!(judge(TaskState::SHUTDOWN, &["task2"]), (false, false, true));
    assert_eq!(judge(TaskState::SHUTDOWN, &[]), (false, true, false), "nothing was in its way");
}

#[test]
fn what_is_wanted_no_more_tells_nothing() {
    let any = service(On::ANY, 1);
    let with = |desired, task| Task { desired_state: Some(desired), ..task };
    let running = |n| with(TaskState::RUNNING, task(&any, n, 1, TaskState::RUNNING, ""));
    let failed = |n| with(TaskState::SHUTDOWN, task(&any, n, 2, TaskState::FAILED, "task: non-zero exit (3)"));
    let fewer = judged(&any, vec![running(1), failed(2), failed(3)]);
    assert_eq!((fewer.health, fewer.instances.len()), (Health::Healthy, 1));
    // An update that the Swarm has taken back may leave a task that is older than the last one.
    let shut = with(TaskState::SHUTDOWN, task(&any, 2, 1, TaskState::SHUTDOWN, ""));
    assert_eq!(judged(&any, vec![running(1), shut]).health, Health::Healthy);
    let two = service(On::ANY, 2);
    assert!(judged(&two, vec![running(1)]).lacks_tasks);
    let goes = with(TaskState::REMOVE, task(&two, 2, 2, TaskState::RUNNING, ""));
    assert!(!judged(&two, vec![running(1), goes]).lacks_tasks, "what goes may be why");
    // It was taken away when there were to be fewer, and nothing has come in its place since.
    let shut = with(TaskState::SHUTDOWN, task(&two, 2, 2, TaskState::SHUTDOWN, ""));
    assert!(judged(&two, vec![running(1), shut.clone()]).lacks_tasks);
    let pending = with(TaskState::RUNNING, task(&two, 3, 2, TaskState::PENDING, ""));
    assert!(!judged(&two, vec![running(1), shut, pending]).lacks_tasks, "another is in its place");
    assert!(!judged(&two, vec![running(1), failed(3)]).lacks_tasks, "it has ended by itself, maybe for good");
}

#[test]
fn what_may_be_tried_so_often_is_over_when_the_swarm_says_so() {
    let mut few = service(On::ANY, 1);
    let template = few.spec.as_mut().unwrap().task_template.as_mut().unwrap();
    template.restart_policy.as_mut().unwrap().max_attempts = Some(5);
    let failed = |n| Task {
        desired_state: Some(TaskState::SHUTDOWN),
        ..task(&few, n, 1, TaskState::FAILED, "task: non-zero exit (3)")
    };
    let starting = task(&few, 4, 1, TaskState::READY, "");
    let tried = judged(&few, vec![failed(1), failed(2), failed(3), starting]);
    assert!(matches!(tried.trouble, Some(Trouble::Soon(_))), "{:?}", tried.trouble);
    let given_up = judged(&few, vec![failed(1), failed(2), failed(3)]);
    assert!(matches!(given_up.trouble, Some(Trouble::Now(_))), "{:?}", given_up.trouble);
}

#[test]
fn a_paused_update_and_a_missing_place_are_told() {
    let mut paused = service(On::ANY, 1);
    paused.update_status = Some(ServiceUpdateStatus {
        state: Some(Update::PAUSED),
        message: Some("update paused due to failure".to_owned()),
        ..ServiceUpdateStatus::default()
    });
    let running = task(&paused, 1, 1, TaskState::RUNNING, "");
    let told = judged(&paused, vec![running]).trouble;
    let why = "the Swarm has paused its update: update paused due to failure".to_owned();
    assert_eq!(told, Some(Trouble::Now(why)));
    let any = service(On::ANY, 1);
    let pending = || task(&any, 2, 1, TaskState::PENDING, "no suitable node");
    assert_eq!(judged(&any, vec![pending()]).trouble, Some(Trouble::Stuck("no suitable node".to_owned())));
    // The one whose place it takes has the port until it has ended.
    let going = |state| Task { desired_state: Some(TaskState::SHUTDOWN), ..task(&any, 1, 1, state, "") };
    let waiting = judged(&any, vec![pending(), going(TaskState::RUNNING)]);
    assert_eq!((waiting.health, waiting.trouble), (Health::Starting, None));
    let ended = judged(&any, vec![pending(), going(TaskState::SHUTDOWN)]);
    assert_eq!(ended.trouble, Some(Trouble::Stuck("no suitable node".to_owned())));
    let elsewhere = Task { node_id: Some("lost".to_owned()), ..going(TaskState::RUNNING) };
    let lost = judged(&any, vec![pending(), elsewhere]);
    assert_eq!(lost.trouble, Some(Trouble::Stuck("no suitable node".to_owned())), "nobody hears that it has ended");
}

#[test]
fn what_nobody_can_reach_is_not_healthy() {
    let mut vip = service(On::ANY, 1);
    let ports = vec![bollard::models::EndpointPortConfig { published_port: Some(80), ..Default::default() }];
    vip.spec.as_mut().unwrap().endpoint_spec = Some(EndpointSpec { mode: None, ports: Some(ports) });
    let look = |ipvs| Look {
        services: vec![vip.clone()],
        tasks: vec![task(&vip, 1, 1, TaskState::RUNNING, "")],
        manager: Manager { ipvs, ..Manager::default() },
        ..Look::default()
    };
    let without = judge(&vip, &look(Some(false))).health;
    assert!(matches!(&without, Health::Failed { why } if why.contains("port 80 answers nobody")), "{without:?}");
    assert_eq!(judge(&vip, &look(Some(true))).health, Health::Healthy);
    assert_eq!(judge(&vip, &look(None)).health, Health::Healthy, "what is not known is no reason");
}

#[test]
fn a_global_service_does_not_miss_the_node_that_was_drained() {
    let mut global = service(On::ANY, 0);
    let mode = ServiceSpecMode { global: Some(Default::default()), ..ServiceSpecMode::default() };
    global.spec.as_mut().unwrap().mode = Some(mode);
    let on = |node: &str, n, state, desired| {
        let mut task = task(&global, n, 0, state, "");
        (task.slot, task.node_id, task.desired_state) = (None, Some(node.to_owned()), Some(desired));
        task
    };
    let running = || on("n1", 1, TaskState::RUNNING, TaskState::RUNNING);
    let drained = judged(&global, vec![running(), on("n2", 2, TaskState::SHUTDOWN, TaskState::SHUTDOWN)]);
    assert_eq!((drained.health, drained.instances.len()), (Health::Healthy, 1));
    let starting = judged(&global, vec![running(), on("n2", 2, TaskState::PREPARING, TaskState::RUNNING)]);
    assert_eq!(starting.health, Health::Starting);
}
