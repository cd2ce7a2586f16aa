//! A gate in a state file: the journal of one run goes up to a place and no further, so that its process can be killed
//! exactly there.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use rustix::process::Signal;

use crate::world::{Done, Started, World};

/// Where a process is killed.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// What it did is done, and this record of it is not: the append that holds it never ends.
    Before(u64),
    /// This record is durable, and what follows from it has just begun.
    After(u64),
}

/// Runs the command until its run is at the place, and kills it there. Answers how it ended, when it ended before.
pub fn killed_at(world: &World, run: &str, at: Kill, args: &str) -> Option<Done> {
    let state = Connection::open(world.dir.join(".windflow/state.db")).unwrap();
    state.busy_timeout(Duration::from_secs(10)).unwrap();
    if let Kill::Before(seq) = at {
        // The append that comes there counts to infinity, in the middle of its transaction.
        state
            .execute_batch(&format!(
                "CREATE TRIGGER gate BEFORE INSERT ON journal WHEN NEW.last >= {seq}
                 AND NEW.id = (SELECT id FROM runs WHERE run = '{run}')
                 BEGIN SELECT count(*) FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n);
                 END"
            ))
            .unwrap();
    }
    let mut command = world.start(args);
    while !command.has_ended() && !arrived(&state, run, at) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let ended = finish(command);
    if let Kill::Before(_) = at {
        state.execute_batch("DROP TRIGGER gate").unwrap();
    }
    ended
}

fn finish(mut command: Started) -> Option<Done> {
    if command.has_ended() {
        return Some(command.done());
    }
    command.signal(Signal::KILL);
    command.done();
    None
}

fn arrived(state: &Connection, run: &str, at: Kill) -> bool {
    match at {
        Kill::After(seq) => last(state, run) >= seq,
        // Whoever is in the gate holds the lock of whoever writes. That a short append is taken for it on a slow disk does
        // no harm: then the kill is earlier.
        Kill::Before(_) => {
            let began = Instant::now();
            state.busy_timeout(Duration::ZERO).unwrap();
            loop {
                match state.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
                    Ok(()) => return false,
                    Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => panic!("{error}"),
                    Err(_) if began.elapsed() > Duration::from_millis(300) => return true,
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        }
    }
}

/// Up to where the journal of a run is durable; 0 when there is no such run.
pub fn last(state: &Connection, run: &str) -> u64 {
    let wanted = "SELECT coalesce(max(last), 0) FROM journal WHERE id = (SELECT id FROM runs WHERE run = ?1)";
    let last: i64 = state.query_row(wanted, [run], |row| row.get(0)).unwrap();
    u64::try_from(last).unwrap()
}

/// After which records a run that is over was made durable: where a process can be found by a kill.
pub fn appends(world: &World, run: &str) -> Vec<u64> {
    let state = Connection::open(world.dir.join(".windflow/state.db")).unwrap();
    let wanted = "SELECT last FROM journal WHERE id = (SELECT id FROM runs WHERE run = ?1) ORDER BY last";
    let mut statement = state.prepare(wanted).unwrap();
    let found = statement.query_map([run], |row| row.get::<_, i64>(0)).unwrap();
    found.map(|last| u64::try_from(last.unwrap()).unwrap()).collect()
}
