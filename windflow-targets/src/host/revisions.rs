//! The revisions of a stack, on the machine itself.

use std::io;

use windflow_core::Timestamp;
use windflow_core::target::{Revision, Stack};

use super::layout::StackDir;
use super::state::decode;
use super::transport::Machine;

/// How many are kept.
const KEPT: usize = 10;

async fn numbers(machine: &dyn Machine, dir: &StackDir) -> io::Result<Vec<u64>> {
    let names = machine.list(&dir.revisions()).await?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

async fn load(machine: &dyn Machine, dir: &StackDir, number: u64) -> io::Result<Option<Revision>> {
    let path = dir.revision(number);
    machine.read(&path).await?.map(|bytes| decode(&path, &bytes)).transpose()
}

/// Those that are kept, oldest first.
pub(crate) async fn list(machine: &dyn Machine, dir: &StackDir) -> io::Result<Vec<Revision>> {
    let mut revisions = Vec::new();
    for number in numbers(machine, dir).await? {
        revisions.extend(load(machine, dir, number).await?);
    }
    Ok(revisions)
}

/// The current one.
pub(crate) async fn current(machine: &dyn Machine, dir: &StackDir) -> io::Result<Option<Revision>> {
    match machine.read(&dir.current()).await? {
        Some(bytes) => load(machine, dir, decode(&dir.current(), &bytes)?).await,
        None => Ok(None),
    }
}

/// Records a stack as a revision and makes it current. A record that was cut before it became current is taken up.
pub(crate) async fn record(
    machine: &dyn Machine,
    dir: &StackDir,
    stack: &Stack,
    key: &str,
    at: Timestamp,
) -> io::Result<u64> {
    machine.make_dirs(&dir.revisions()).await?;
    let current: u64 = match machine.read(&dir.current()).await? {
        Some(bytes) => decode(&dir.current(), &bytes)?,
        None => 0,
    };
    let last = numbers(machine, dir).await?.last().copied().unwrap_or(0);
    let cut = match last > current {
        true => load(machine, dir, last).await?.filter(|found| found.key == key && found.stack == *stack),
        false => None,
    };
    let number = match cut {
        Some(found) => found.number,
        // The current one may have been moved away: its number is not given again.
        None => create(machine, dir, last.max(current) + 1, stack, key, at).await?,
    };
    if let Err(error) = machine.write(&dir.current(), number.to_string().into_bytes()).await {
        // Nobody takes for a revision what was never current. It may be current all the same: only the disk has not
        // answered that it has it.
        if machine.read(&dir.current()).await.is_ok_and(|now| now != Some(number.to_string().into_bytes())) {
            let _ = machine.remove(&dir.revision(number)).await;
        }
        return Err(error);
    }
    let all = numbers(machine, dir).await?;
    for old in all.iter().take(all.len().saturating_sub(KEPT)).filter(|old| **old != number) {
        machine.remove(&dir.revision(*old)).await?;
    }
    Ok(number)
}

async fn create(
    machine: &dyn Machine,
    dir: &StackDir,
    mut number: u64,
    stack: &Stack,
    key: &str,
    at: Timestamp,
) -> io::Result<u64> {
    loop {
        let revision = Revision::new(number, stack.clone(), key, at);
        let bytes = serde_json::to_vec_pretty(&revision)?;
        if machine.create_new(&dir.revision(number), bytes).await? {
            return Ok(number);
        }
        // Another writer has that number.
        number += 1;
    }
}
