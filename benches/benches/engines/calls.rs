//! How often the engine is called by an apply that has nothing to do, counted by a proxy in front of it.

use windflow_bed::Proxy;

use crate::judge::{Judge, Point};
use crate::stack;
use crate::tools::{Bench, Tool, Verb};

/// The calls of a second apply of a stack of so many services.
pub fn of_nothing(bench: &Bench, judge: &Judge<'_>, endpoint: &str, tool: Tool, services: usize) -> usize {
    let file = stack::write(&bench.folder, services);
    let again = Verb::Apply { version: 1 };
    tool.run(bench, endpoint, &file, again);
    judge.wait(Point::Healthy { services, version: 1 });
    let proxy = Proxy::start(endpoint).unwrap();
    tool.run(bench, proxy.endpoint(), &file, again);
    let calls = proxy.calls().len();
    drop(proxy);
    tool.run(bench, endpoint, &file, Verb::Destroy);
    judge.wait(Point::Gone);
    calls
}
