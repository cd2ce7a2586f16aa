//! What a newer version of the program has written into the file.

use std::time::Duration;

use serde_json::{Value, json};
use windflow_core::store::Fault;
use windflow_core::{
    Drive, Engine, EngineBuilder, Node, RunId, RunState, Seq, StartOptions, StepContext, StepError, Store, Workflow,
    action_fn,
};
use windflow_workflow::{SqliteOptions, SqliteStore};

fn builder(store: &SqliteStore) -> EngineBuilder {
    let echo = action_fn(|_cx: StepContext, input: Value| async move { Ok::<_, StepError>(input) });
    Engine::builder(store.clone()).action("echo", echo.pure())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_not_known_here_leaves_its_run_alone_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windflow.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    let workflow = Workflow::builder("one").node(Node::new("a", "echo").input(json!(1))).build().unwrap();
    let run = RunId::new("newer").unwrap();
    let engine = builder(&store).build();
    let started = engine.start_with(workflow.clone(), Value::Null, StartOptions::default().run(run.clone())).await;
    started.unwrap().wait().await.unwrap();
    engine.shutdown().await;

    // As a newer version would leave it: with something to do, and with something in it that is news to us.
    let file = rusqlite::Connection::open(&path).unwrap();
    let appended = "INSERT INTO journal SELECT id, last + 1, 1, at, epoch, finished, CAST('[{\"type\":\"forked\",\"to\":\"x\"}]' AS BLOB) \
                    FROM journal ORDER BY last DESC LIMIT 1; \
                    UPDATE runs SET wake_at = 0, state = 'running', worker = NULL";
    file.execute_batch(appended).unwrap();
    let journal = || {
        let all = "SELECT group_concat(last || ':' || CAST(events AS TEXT)) FROM journal WHERE id = 1";
        file.query_row(all, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let before = journal();
    let error = store.journal(&run, Seq(0)).await.unwrap_err();
    assert_eq!(error.fault, Fault::Newer, "{error}");
    assert!(error.to_string().contains("forked") && error.hint.is_some(), "{error}");

    let engine = builder(&store).drive(Drive::All).build();
    let waits = async {
        while engine.left_alone().iter().all(|(left, _)| *left != run) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap();
    let other = engine.start(workflow, Value::Null).await.unwrap().wait().await.unwrap();
    assert_eq!(other.state, RunState::Succeeded);
    engine.shutdown().await;
    assert_eq!(journal(), before, "neither repaired nor written to");
    assert_eq!(store.holder(&run).await.unwrap(), None);
}
