//! What hostile and large documents cost. Each hostile one must stay under 50 ms and 16 MiB, within the tight limits and
//! within the operator's. Run with `cargo bench -p windflow-workflow --bench documents`.

#[path = "../tests/it/hostile.rs"]
mod hostile;

use std::hint::black_box;
use std::time::{Duration, Instant};

use windflow_workflow::document::{Limits, WorkflowDocument, read};

#[expect(clippy::print_stdout, reason = "a bench prints its readings")]
fn main() {
    let mut over = 0;
    let mut tell = |name: &str, most: Duration, measured: &dyn Fn()| {
        let bytes = allocation_counter::measure(measured).bytes_max;
        let best = (0..20).map(|_| time(measured)).min().unwrap_or_default();
        let wrong = best > most || bytes > 16 * 1024 * 1024;
        over += u32::from(wrong);
        println!("{name:42} {best:>12.1?} {:>8} KiB{}", bytes >> 10, if wrong { "  OVER" } else { "" });
    };
    for (name, text) in hostile::files() {
        tell(name, Duration::from_millis(50), &|| drop(black_box(read("f.yaml", &text, &Limits::untrusted()))));
        let wide = format!("{name} (operator)");
        tell(&wide, Duration::from_millis(50), &|| drop(black_box(read("f.yaml", &text, &Limits::operator()))));
    }
    for count in [100, 1_000, 10_000] {
        let text = large(count);
        let name = format!("a workflow of {count} nodes");
        tell(&name, Duration::MAX, &|| drop(black_box(WorkflowDocument::parse("f.yaml", &text, &Limits::operator()))));
    }
    if over > 0 {
        println!("{over} over 50 ms or 16 MiB");
        std::process::exit(1);
    }
}

fn time(measured: &dyn Fn()) -> Duration {
    let start = Instant::now();
    measured();
    start.elapsed()
}

fn large(nodes: usize) -> String {
    let node = |i: usize| {
        let needs = if i == 0 { String::new() } else { format!(", needs: n{}", i / 2) };
        format!("  n{i}: {{ uses: shell, timeout: 30s{needs} }}\n")
    };
    format!("name: large\nnodes:\n{}", (0..nodes).map(node).collect::<String>())
}
