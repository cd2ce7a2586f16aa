//! Reads: short, on connections of their own, so that they wait for no writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windflow_core::run::Event;
use windflow_core::store::{Fault, Holder, InboxEntry, Kinship, RunQuery, Submission, WorkerId};
use windflow_core::{ContentHash, Epoch, Namespace, Recorded, RunId, Seq, StoreError, Summary, Timestamp};

use super::cache::{self, signed, unsigned};
use super::fault::{Moment, corrupt, decode, store_error};
use super::sql::{join_head, summary_json};
use super::store::SqliteStore;

fn failed(store: &SqliteStore) -> impl Fn(sqlx::Error) -> StoreError + '_ {
    |error| store_error(store.path(), &error, Moment::Before)
}

/// The number of a run in this file.
async fn number(store: &SqliteStore, run: &RunId) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT id FROM runs WHERE run = ?").bind(run.to_string());
    let row = row.fetch_optional(store.pool()).await.map_err(failed(store))?;
    row.map(|row| row.get(0)).ok_or_else(|| {
        StoreError::new(Fault::NotFound, format_args!("{}: there is no run '{run}'", store.path().display()))
    })
}

pub(super) async fn journal(store: &SqliteStore, run: &RunId, after: Seq) -> Result<Vec<Recorded>, StoreError> {
    let id = number(store, run).await?;
    let rows =
        sqlx::query("SELECT last, count, at, epoch, events FROM journal WHERE id = ? AND last > ? ORDER BY last")
            .bind(id)
            .bind(signed(after.0))
            .fetch_all(store.pool())
            .await
            .map_err(failed(store))?;
    let mut records = Vec::new();
    for row in rows {
        let (last, count): (i64, i64) = (row.get(0), row.get(1));
        let (at, epoch) = (Timestamp(unsigned(row.get(2))), Epoch(unsigned(row.get(3))));
        let what = || format!("record {last} of run '{run}'");
        let damaged = |why: String| corrupt(store.path(), format_args!("{}: {why}", what()));
        let events: Vec<Event> = decode(store.path(), row.get(4), what)?;
        if events.len() as i64 != count {
            return Err(damaged(format!("{} events where {count} were written", events.len())));
        }
        let numbered = (unsigned(last + 1 - count)..).zip(events).filter(|(seq, _)| *seq > after.0);
        records.extend(numbered.map(|(seq, event)| Recorded { seq: Seq(seq), at, epoch, event }));
    }
    Ok(records)
}

fn row_summary(store: &SqliteStore, row: &SqliteRow) -> Result<Summary, StoreError> {
    cache::summary(store.path(), row.get(0))
}

pub(super) async fn summary(store: &SqliteStore, run: &RunId) -> Result<Option<Summary>, StoreError> {
    let row = sqlx::query(concat!("SELECT ", summary_json!(), " FROM runs AS r ", join_head!(), " WHERE r.run = ?"))
        .bind(run.to_string())
        .fetch_optional(store.pool())
        .await
        .map_err(failed(store))?;
    row.map(|row| row_summary(store, &row)).transpose()
}

pub(super) async fn list(store: &SqliteStore, query: &RunQuery) -> Result<Vec<Summary>, StoreError> {
    let states: Vec<&str> = query.states.iter().map(|state| state.as_str()).collect();
    let (kind, parent) = match &query.kinship {
        Kinship::Any => ("any", None),
        Kinship::Roots => ("roots", None),
        Kinship::ChildrenOf(run) => ("of", Some(run.to_string())),
    };
    let rows = sqlx::query(concat!(
        "SELECT ",
        summary_json!(),
        " FROM runs AS r ",
        join_head!(),
        " WHERE r.namespace = ?1 AND (?2 IS NULL OR r.workflow = ?2) \
         AND (?3 = '[]' OR r.state IN (SELECT value FROM json_each(?3))) \
         AND CASE ?6 WHEN 'any' THEN true WHEN 'roots' THEN r.parent IS NULL ELSE r.parent = ?7 END \
         AND (?4 IS NULL OR r.id < (SELECT id FROM runs WHERE run = ?4 AND namespace = ?1)) \
         ORDER BY r.id DESC LIMIT ?5",
    ))
    .bind(query.namespace.to_string())
    .bind(query.workflow.clone())
    .bind(serde_json::to_string(&states).unwrap_or_default())
    .bind(query.before.as_ref().map(ToString::to_string))
    .bind(i64::from(if query.limit == 0 { 100 } else { query.limit }))
    .bind(kind)
    .bind(parent)
    .fetch_all(store.pool())
    .await
    .map_err(failed(store))?;
    rows.iter().map(|row| row_summary(store, row)).collect()
}

pub(super) async fn holder(store: &SqliteStore, run: &RunId) -> Result<Option<Holder>, StoreError> {
    let id = number(store, run).await?;
    let row = sqlx::query(
        "SELECT r.worker, max(r.until, ifnull(w.until, 0)) FROM runs AS r LEFT JOIN workers AS w \
         ON w.worker = r.worker WHERE r.id = ? AND r.worker IS NOT NULL",
    )
    .bind(id)
    .fetch_optional(store.pool())
    .await
    .map_err(failed(store))?;
    let held = row
        .map(|row| Holder { worker: WorkerId(row.get::<&str, _>(0).into()), until: Timestamp(unsigned(row.get(1))) });
    Ok(held.filter(|holder| store.liveness().lives(&holder.worker)))
}

/// Until when each worker that lives has renewed its leases, as a JSON object.
async fn workers(store: &SqliteStore) -> Result<String, StoreError> {
    let rows = sqlx::query("SELECT worker, until FROM workers").fetch_all(store.pool()).await.map_err(failed(store))?;
    let living: BTreeMap<String, i64> = rows
        .iter()
        .map(|row| (row.get::<String, _>(0), row.get::<i64, _>(1)))
        .filter(|(worker, _)| store.liveness().lives(&WorkerId(worker.as_str().into())))
        .collect();
    serde_json::to_string(&living).map_err(|error| corrupt(store.path(), error))
}

pub(super) async fn due(
    store: &SqliteStore,
    namespace: &Namespace,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<RunId>, StoreError> {
    let rows = sqlx::query(
        "WITH living AS MATERIALIZED (SELECT key AS worker, value AS renewed FROM json_each(?1)), \
         asked AS MATERIALIZED (SELECT id, min(at) AS at FROM inbox WHERE request IS NOT NULL GROUP BY id), \
         wanted AS (SELECT id, wake_at AS since FROM runs WHERE namespace = ?2 AND wake_at <= ?3 \
                    UNION ALL SELECT id, at FROM asked) \
         SELECT r.run, min(w.since) AS since FROM wanted AS w JOIN runs AS r ON r.id = w.id \
         LEFT JOIN living AS l ON l.worker = r.worker \
         WHERE r.namespace = ?2 AND (l.worker IS NULL OR max(r.until, l.renewed) <= ?3) \
         GROUP BY r.id ORDER BY since, r.run LIMIT ?4",
    )
    .bind(workers(store).await?)
    .bind(namespace.to_string())
    .bind(signed(now.0))
    .bind(i64::from(limit))
    .fetch_all(store.pool())
    .await
    .map_err(failed(store))?;
    let run = |row: &SqliteRow| RunId::new(row.get::<String, _>(0)).map_err(|error| corrupt(store.path(), error));
    rows.iter().map(run).collect()
}

pub(super) async fn next_wake(
    store: &SqliteStore,
    namespace: &Namespace,
    after: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    // A run that somebody holds is nobody's when the lease ends.
    let row = sqlx::query(
        "WITH living AS MATERIALIZED (SELECT key AS worker, value AS renewed FROM json_each(?1)), \
         wanted AS (SELECT wake_at AS at, worker, until FROM runs WHERE namespace = ?2 AND wake_at IS NOT NULL \
                    UNION ALL SELECT min(i.at), r.worker, r.until FROM inbox AS i JOIN runs AS r ON r.id = i.id \
                    WHERE i.request IS NOT NULL AND r.namespace = ?2 GROUP BY r.id), \
         free AS (SELECT CASE WHEN l.worker IS NULL THEN w.at ELSE max(w.at, w.until, l.renewed) END AS at \
                  FROM wanted AS w LEFT JOIN living AS l ON l.worker = w.worker) \
         SELECT min(at) FROM free WHERE at > ?3",
    )
    .bind(workers(store).await?)
    .bind(namespace.to_string())
    .bind(signed(after.0))
    .fetch_one(store.pool())
    .await
    .map_err(failed(store))?;
    Ok(row.get::<Option<i64>, _>(0).map(|at| Timestamp(unsigned(at))))
}

pub(super) async fn asked(store: &SqliteStore, namespace: &Namespace, limit: u32) -> Result<Vec<RunId>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT r.run FROM inbox AS i JOIN runs AS r ON r.id = i.id \
         WHERE i.request IS NOT NULL AND r.namespace = ? LIMIT ?",
    )
    .bind(namespace.to_string())
    .bind(i64::from(limit))
    .fetch_all(store.pool())
    .await
    .map_err(failed(store))?;
    let run = |row: &SqliteRow| RunId::new(row.get::<String, _>(0)).map_err(|error| corrupt(store.path(), error));
    rows.iter().map(run).collect()
}

pub(super) async fn inbox(store: &SqliteStore, run: &RunId) -> Result<Vec<InboxEntry>, StoreError> {
    let id = number(store, run).await?;
    let rows = sqlx::query(
        "SELECT entry, dedup, at, principal, request FROM inbox WHERE id = ? AND request IS NOT NULL ORDER BY entry",
    )
    .bind(id)
    .fetch_all(store.pool())
    .await
    .map_err(failed(store))?;
    let entry = |row: &SqliteRow| {
        let damaged =
            |error: serde_json::Error| corrupt(store.path(), format_args!("the inbox of run '{run}': {error}"));
        let request: &str = row.get(4);
        Ok(InboxEntry {
            id: unsigned(row.get(0)),
            submission: Submission {
                run: run.clone(),
                request: decode(store.path(), request.as_bytes(), || format!("the inbox of run '{run}'"))?,
                principal: serde_json::from_str(row.get(3)).map_err(damaged)?,
                dedup: row.get(1),
                at: Timestamp(unsigned(row.get(2))),
            },
        })
    };
    rows.iter().map(entry).collect()
}

pub(super) async fn blob(store: &SqliteStore, hash: ContentHash) -> Result<Option<Arc<[u8]>>, StoreError> {
    let row = sqlx::query("SELECT bytes FROM blobs WHERE hash = ?").bind(hash.to_string());
    let row = row.fetch_optional(store.pool()).await.map_err(failed(store))?;
    let Some(row) = row else { return Ok(None) };
    let bytes: &[u8] = row.get(0);
    if ContentHash::of(bytes) != hash {
        return Err(corrupt(store.path(), format_args!("the pinned file {hash} has changed")));
    }
    Ok(Some(Arc::from(bytes)))
}
