//! A folder of its own for each test, whose processes end with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use windflow_core::target::{
    Context, EnvValue, HealthCheck, Observed, PortMapping, Probe, Process, Service, Stack, Target as _,
};
use windflow_core::{ServiceName, StackName};
use windflow_targets::host::{HostConfig, HostTarget, SupervisorCommand};

/// The program that is supervisor and service.
pub const PROOF: &str = env!("CARGO_BIN_EXE_windflow-host-proof");

/// A place to deploy to.
pub struct Place {
    pub root: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("windflow-host-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    pub fn config(&self, owner: &str) -> HostConfig {
        let search = vec!["/usr/bin".into(), "/bin".into()];
        let supervisor = SupervisorCommand::new(PROOF);
        HostConfig::new("local".parse().unwrap(), owner.parse().unwrap(), &self.root, supervisor, search)
    }

    pub fn target(&self) -> HostTarget {
        HostTarget::new(self.config("ours"))
    }

    pub fn dir(&self, stack: &Stack) -> PathBuf {
        self.root.join("ours").join(stack.name.as_str())
    }

    /// The supervisors of stacks here.
    pub fn supervisors(&self) -> Vec<i32> {
        let root = self.root.to_str().unwrap().as_bytes().to_vec();
        processes(
            |pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default(),
            move |line| contains(line, b"supervise") && contains(line, &root),
        )
    }

    /// Kills the supervisors, and waits until they are gone.
    pub async fn kill_supervisors(&self) {
        let killed = self.supervisors();
        killed.iter().copied().for_each(kill);
        eventually("the supervisors are gone", async || {
            let left: Vec<&i32> = killed.iter().filter(|pid| lives(**pid)).collect();
            let all = self.supervisors();
            (left.is_empty() && all.is_empty(), format!("{left:?}, {all:?}"))
        })
        .await;
    }

    /// Processes that carry the mark of an instance in this folder.
    pub fn marked(&self, under: &Path) -> Vec<i32> {
        let mark = format!("WINDFLOW_INSTANCE={}/", under.display()).into_bytes();
        processes(|pid| fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(), move |env| contains(env, &mark))
    }

    /// Whether a text is in any file here.
    pub fn holds(&self, text: &str) -> Vec<PathBuf> {
        fn look(dir: &Path, text: &[u8], found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    look(&entry.path(), text, found);
                } else if kind.is_file() && contains(&fs::read(entry.path()).unwrap_or_default(), text) {
                    found.push(entry.path());
                }
            }
        }
        let mut found = Vec::new();
        look(&self.root, text.as_bytes(), &mut found);
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Supervisors first, or they start again what is killed.
        for pid in self.supervisors().into_iter().chain(self.marked(&self.root)) {
            kill(pid);
        }
        for pid in self.supervisors().into_iter().chain(self.marked(&self.root)) {
            kill(pid);
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub fn kill(pid: i32) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// Whether any thread of a process still has what it has opened. Its command line is gone long before that, and its locks
/// are not.
fn lives(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ended = |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']));
    threads.flat_map(|thread| fs::read_to_string(thread.path().join("stat"))).any(|stat| !ended(&stat))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn processes(read: impl Fn(i32) -> Vec<u8>, wanted: impl Fn(&[u8]) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| wanted(&read(*pid))).collect()
}

/// Waits until this holds; fails with what it last saw when it takes too long.
pub async fn eventually<T: std::fmt::Debug>(what: &str, mut look: impl AsyncFnMut() -> (bool, T)) -> T {
    let started = Instant::now();
    loop {
        let (holds, seen) = look().await;
        if holds {
            return seen;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn observe(target: &HostTarget, stack: &Stack) -> Observed {
    target.observe(&Context::new("look"), &stack.name).await.unwrap()
}

/// The process number of the first instance of a service.
pub async fn pid_of(target: &HostTarget, stack: &Stack, service: &str) -> i32 {
    observe(target, stack).await.services[service].instances[0].id.parse().unwrap()
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A service that runs this shell text.
pub fn sh(text: &str) -> Service {
    program(&["sh", "-c", text])
}

pub fn program(command: &[&str]) -> Service {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    let process = Process { command, search: Vec::new(), working_dir: None };
    Service { process: Some(process), ..Service::default() }
}

pub fn check(probe: Probe) -> HealthCheck {
    let ms = Duration::from_millis;
    HealthCheck {
        probe,
        interval: Some(ms(100)),
        timeout: Some(ms(2000)),
        retries: Some(2),
        start_period: Some(ms(5000)),
        start_interval: Some(ms(50)),
    }
}

/// A server on this port, healthy when it answers.
pub fn web(port: u16, version: &str) -> Service {
    let mut web = program(&[PROOF, "http", &port.to_string()]);
    web.environment.insert("VERSION".to_owned(), EnvValue::Plain(version.to_owned()));
    web.ports = vec![PortMapping::tcp(port)];
    web.healthcheck = Some(check(Probe::Http { port, path: "/".to_owned() }));
    web
}

pub fn stack(services: impl IntoIterator<Item = (&'static str, Service)>) -> Stack {
    let services = services.into_iter().map(|(name, service)| (ServiceName::new(name).unwrap(), service)).collect();
    Stack::new(StackName::new("shop").unwrap(), services)
}

/// What a GET on this port answers.
pub async fn get(port: u16) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return String::new() };
    let mut text = String::new();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    let _ = stream.read_to_string(&mut text).await;
    text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}
