//! What services wrote, of all instances asked for, in the order of time.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use tokio::time::sleep;
use windflow_core::target::{Context, LogLine, LogOptions, ServiceRef, TargetError, TargetErrorKind};
use windflow_core::{ServiceName, Timestamp};

use super::HostTarget;
use super::layout::InstanceDir;
use super::supervisor::LogEntry;

/// How often one looks for new lines.
const PAUSE: Duration = Duration::from_millis(200);

/// How far an instance's log has been read.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    file: u64,
    offset: u64,
}

struct Reader {
    target: HostTarget,
    cx: Context,
    of: ServiceRef,
    options: LogOptions,
    positions: BTreeMap<(ServiceName, u32), Position>,
    first: bool,
}

pub(super) fn logs(
    target: HostTarget,
    cx: Context,
    of: ServiceRef,
    options: LogOptions,
) -> impl Stream<Item = Result<LogLine, TargetError>> + Send + 'static {
    let reader = Reader { target, cx, of, options, positions: BTreeMap::new(), first: true };
    let batches = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(lines)) => Some((lines.into_iter().map(Ok).collect::<Vec<_>>(), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((vec![Err(error)], None)),
        }
    });
    batches.flat_map(stream::iter)
}

impl Reader {
    /// The next lines; `None` when there will be no more.
    async fn next(&mut self) -> Result<Option<Vec<LogLine>>, TargetError> {
        let stack = self.of.stack.clone();
        if !self.first {
            if !self.options.follow {
                return Ok(None);
            }
            sleep(PAUSE).await;
        }
        let found = self.read().await.map_err(|error| self.target.failed(&stack)(error))?;
        if found.is_none() && self.first {
            let what = match &self.of.service {
                Some(service) => format!("there is no service '{service}' here, or it was never started"),
                None => "the stack is not deployed here".to_owned(),
            };
            return Err(self.target.error(&stack, TargetErrorKind::NotFound, what));
        }
        self.first = false;
        Ok(found)
    }

    /// What is new, in the order of time; `None` when the stack is gone.
    async fn read(&mut self) -> io::Result<Option<Vec<LogLine>>> {
        let dir = self.target.dir(&self.of.stack);
        let machine = &self.target.machine;
        let since = self.options.since.map(|within| {
            let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            Timestamp(self.cx.clock().now().0.saturating_sub(within))
        });
        let mut lines: Vec<LogLine> = Vec::new();
        let mut known = false;
        for service in machine.list(&dir.services()).await? {
            let Ok(service) = ServiceName::new(&service) else { continue };
            if self.of.service.as_ref().is_some_and(|wanted| *wanted != service) {
                continue;
            }
            known = true;
            let mut of_service = Vec::new();
            for instance in machine.list(&dir.services().join(service.as_str())).await? {
                let Ok(instance) = instance.parse::<u32>() else { continue };
                if self.of.instance.is_some_and(|wanted| wanted != instance) {
                    continue;
                }
                let position = self.positions.entry((service.clone(), instance)).or_default();
                let entries = entries(&self.target, &dir.instance(&service, instance), position).await?;
                let wanted = entries.into_iter().filter(|entry| since.is_none_or(|since| entry.at >= since));
                of_service.extend(wanted.map(|entry| LogLine {
                    at: Some(entry.at),
                    service: service.clone(),
                    instance,
                    stream: entry.stream,
                    text: self.cx.masker().mask(&entry.text),
                }));
            }
            of_service.sort_by_key(|line: &LogLine| line.at);
            if let (true, Some(tail)) = (self.first, self.options.tail) {
                of_service.drain(..of_service.len().saturating_sub(tail));
            }
            lines.append(&mut of_service);
        }
        lines.sort_by_key(|line| line.at);
        Ok(known.then_some(lines))
    }
}

/// The new entries of one instance, through a rotation if there was one.
async fn entries(target: &HostTarget, dir: &InstanceDir, position: &mut Position) -> io::Result<Vec<LogEntry>> {
    let mut entries = Vec::new();
    let older = match position.file {
        0 => Some(0),
        file => match target.machine.read_from(&dir.older_log(), 0).await? {
            Some(older) if older.file == file => Some(position.offset),
            _ => None,
        },
    };
    if let Some(mut offset) = older {
        while let Some(piece) = target.machine.read_from(&dir.older_log(), offset).await? {
            let used = parse(&piece.bytes, &mut entries);
            if used == 0 {
                break;
            }
            offset += used;
        }
        *position = Position::default();
    }
    while let Some(piece) = target.machine.read_from(&dir.log(), position.offset).await? {
        if position.file != piece.file {
            let fresh = position.file == 0 && position.offset == 0;
            *position = Position { file: piece.file, offset: 0 };
            if !fresh {
                continue;
            }
        }
        let used = parse(&piece.bytes, &mut entries);
        if used == 0 {
            break;
        }
        position.offset += used;
    }
    Ok(entries)
}

/// Reads whole lines; returns how many bytes they were.
fn parse(bytes: &[u8], entries: &mut Vec<LogEntry>) -> u64 {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // A line that was cut by a full disk is passed over.
    entries.extend(bytes[..whole].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
    whole as u64
}
