//! One execution of a workflow as a value: pure, without clock, randomness, I/O or async.
//!
//! ```text
//!             ┌─────────────── Paused ◄──┐
//!             ▼                          │
//! Created ► Running ◄──► Waiting ────────┴──► Succeeded
//!             │  │
//!             │  └─ on_failure: stop ───────► Failed ──(retry)──► Running
//!             │                                 └─(compensate)─┐
//!             ├─ final failure · cancel ──► Compensating ◄─────┴──► Compensated · Cancelled
//!             │                                  │
//!             ├─ terminate ──► Terminated        └──► Stuck ──(retry · resolve · give up)──► …
//!             └─ nobody can tell ──► Stuck
//! ```

mod advance;
mod apply;
mod bound;
mod children;
mod command;
mod event;
mod grammar;
mod input;
mod moves;
mod request;
mod settle;
mod state;
mod step;
mod summary;
#[cfg(test)]
mod tests;
mod undo;
mod value;

pub use advance::Start;
pub use children::ChildView;
pub use command::{Command, Subject};
pub use event::{After, Around, Ask, Cause, Created, Event, Leftover, Parent, Recorded, Resolution, Told};
pub use input::{Input, Refused, Request};
pub use state::{CorruptJournal, RunState};
pub use step::{StepState, StepView};
pub use summary::Summary;
pub(crate) use value::Footing;
pub use value::Run;
