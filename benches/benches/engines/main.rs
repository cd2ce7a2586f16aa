//! WindFlow beside the real Compose tool and `docker stack`, on real engines and in one run:
//! `scripts/bed/run cargo bench -p windflow-benches --features engines --bench engines`. `-- --quick` takes one round, and is
//! good for no claim; `-- docker` or `-- swarm` measures one engine, `-- calls` only counts calls.
//!
//! One stack of ten services with health checks, deployed from nothing, again, with one service changed, and taken down:
//! each by the command that a user types, built as a user has it, as a whole process, and each to the same point, for which
//! the engine itself is asked when the process has ended (all healthy; no container and no network left). They take turns,
//! and who begins changes, so that a slow moment of the machine meets all of them. A row shows medians, with the best reading
//! in brackets; its ratio is the median of the ratios of the rounds.
//!
//! What the others do and do not: the Compose tool stops the old container before it starts the new one, keeps no record and
//! looks every 500 ms. `docker stack` without `--detach` watches each service for five more seconds once it runs; detached
//! it is waited for from outside, which is no command that anybody can type and therefore no goal, and the least that a Swarm
//! itself takes. WindFlow starts the new container first, and writes a revision down.

#![expect(clippy::unwrap_used, reason = "a bench stops where something is wrong")]

mod calls;
mod judge;
mod shortest;
mod stack;
mod tools;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use judge::{Judge, Point};
use tools::{Bench, Tool, Verb};
use windflow_benches::table::{Goal, Table, median};

const SERVICES: usize = 10;

const ROWS: [&str; 4] = ["apply from nothing", "apply again, nothing to do", "one service changed", "destroy"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo adds words of its own.
    let named = |part: &str| arguments.iter().any(|argument| argument == part);
    let all = !["docker", "swarm", "calls"].into_iter().any(named);
    // `docker stack` takes minutes for a round, and its rows are not close.
    let (rounds, of_swarm) = if named("--quick") { (1, 1) } else { (7, 3) };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench { windflow: windflow(), compose: compose(), folder: folder.path().to_owned() };
    std::fs::write(folder.path().join("windflow.yaml"), "owner: bench\n").unwrap();
    let (docker, swarm) = (windflow_bed::docker(), windflow_bed::swarm().endpoint);
    let mut table = Table::default();
    if all || named("docker") {
        Table::head("Docker, ten services, seconds: median (best)");
        let tools = [Tool::Windflow("docker"), Tool::Compose];
        measure(&runtime, &bench, &mut table, &docker, &tools, rounds);
    }
    if all || named("swarm") {
        Table::head("Swarm of one node, ten services, seconds: median (best)");
        let tools = [Tool::Windflow("swarm"), Tool::Stack, Tool::StackDetached];
        measure(&runtime, &bench, &mut table, &swarm, &tools, of_swarm);
    }
    if all || named("calls") {
        Table::head("Calls to the engine by an apply with nothing to do");
        count(&runtime, &bench, &mut table, &docker, [Tool::Windflow("docker"), Tool::Compose], 1.0);
        count(&runtime, &bench, &mut table, &swarm, [Tool::Windflow("swarm"), Tool::StackDetached], 0.0);
    }
    table.end()
}

/// The command as users have it. `WINDFLOW_COMMAND` names another build of it, which is good for no claim.
fn windflow() -> PathBuf {
    if let Some(other) = std::env::var_os("WINDFLOW_COMMAND") {
        return other.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "windflow-server", "--bin", "windflow"])
        .current_dir(&root)
        .status();
    assert!(built.unwrap().success(), "the windflow command cannot be built");
    // This program lies in the folder `deps` of its profile's.
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("release/windflow")
}

fn compose() -> PathBuf {
    if let Some(known) = std::env::var_os("WINDFLOW_COMPOSE") {
        return known.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bed/compose");
    let told = Command::new(script).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    PathBuf::from(String::from_utf8(told.stdout).unwrap().trim())
}

/// The rows of one engine: the first of the tools against each of the others.
fn measure(runtime: &Runtime, bench: &Bench, table: &mut Table, endpoint: &str, tools: &[Tool], rounds: usize) {
    let judge = Judge::of(runtime, endpoint);
    let file = stack::write(&bench.folder, SERVICES);
    let is_docker = tools.contains(&Tool::Compose);
    // By tool, then by row.
    let mut readings = vec![[const { Vec::new() }; 4]; tools.len()];
    let mut least = [const { Vec::new() }; 3];
    for round in 0..=rounds {
        for turn in 0..tools.len() {
            let which = (turn + round) % tools.len();
            let one = cycle(bench, &judge, endpoint, &file, tools[which]);
            for (readings, took) in readings[which].iter_mut().zip(one) {
                // The first round warms up whatever there is to be warmed.
                if round > 0 {
                    readings.push(took.as_secs_f64());
                }
            }
        }
        if is_docker && round > 0 {
            let one = shortest::measure(runtime, &judge, SERVICES);
            least.iter_mut().zip(one).for_each(|(least, took)| least.push(took.as_secs_f64()));
        }
    }
    for (row, what) in ROWS.iter().enumerate() {
        let ours = &readings[0][row];
        for (tool, theirs) in tools.iter().zip(&readings).skip(1) {
            let goal = if *tool == Tool::StackDetached { Goal::None } else { Goal::Most(1.0) };
            against(table, what, ours, (tool.name(), &theirs[row]), goal);
        }
        let shortest = [Some(0), None, Some(1), Some(2)][row].filter(|_| is_docker);
        if let Some(shortest) = shortest {
            against(table, what, ours, ("shortest calls", &least[shortest]), Goal::None);
        }
    }
}

/// All that is done to the stack once, and how long each part took to its point.
fn cycle(bench: &Bench, judge: &Judge<'_>, endpoint: &str, file: &Path, tool: Tool) -> [Duration; 4] {
    [
        (Verb::Apply { version: 1 }, Point::Healthy { services: SERVICES, version: 1 }),
        (Verb::Apply { version: 1 }, Point::Healthy { services: SERVICES, version: 1 }),
        (Verb::Apply { version: 2 }, Point::Healthy { services: SERVICES, version: 2 }),
        (Verb::Destroy, Point::Gone),
    ]
    .map(|(verb, point)| tool.run(bench, endpoint, file, verb) + judge.wait(point))
}

fn against(table: &mut Table, what: &str, ours: &[f64], (name, theirs): (&str, &[f64]), goal: Goal) {
    let ratio = median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
    table.row(what, &shown(ours), Some((name, shown(theirs))), ratio, goal);
}

fn shown(readings: &[f64]) -> String {
    let best = readings.iter().copied().fold(f64::INFINITY, f64::min);
    format!("{:.2} ({best:.2})", median(readings.to_vec()))
}

/// How the calls of a no-op apply grow: by `most` for each service, and never by a field or a moment of waiting. What the
/// other one needs stands beside it; how many there are at all is no goal.
fn count(runtime: &Runtime, bench: &Bench, table: &mut Table, endpoint: &str, [ours, theirs]: [Tool; 2], most: f64) {
    let judge = Judge::of(runtime, endpoint);
    let place = if ours == Tool::Windflow("docker") { "docker" } else { "swarm" };
    let counted = [1, SERVICES, 2 * SERVICES].map(|services| {
        let of = |tool| calls::of_nothing(bench, &judge, endpoint, tool, services) as f64;
        let (ours, of_theirs) = (of(ours), of(theirs));
        let what = format!("{place}, {services} services");
        table.row(&what, &ours.to_string(), Some((theirs.name(), of_theirs.to_string())), ours / of_theirs, Goal::None);
        ours
    });
    let growth = (counted[2] - counted[1]) / SERVICES as f64;
    table.row(&format!("{place}, more for each service"), &growth.to_string(), None, growth, Goal::Most(most));
}
