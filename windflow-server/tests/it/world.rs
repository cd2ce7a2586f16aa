//! A folder of its own to run the command in, and everything that was started in it ended afterwards.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder, and the processes in it.
pub struct World {
    pub dir: PathBuf,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Short, because sockets live below it.
        let name = format!("wf-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    pub fn with(file: &str, text: &str) -> Self {
        let world = Self::new();
        world.write(file, text);
        world
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text).unwrap();
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windflow"));
        command.args(args.split_whitespace()).current_dir(&self.dir);
        command.env_remove("WINDFLOW_STATE").env("USER", "ada").env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, args: &str) -> Done {
        self.start(args).done()
    }

    /// Runs it and expects a code.
    #[track_caller]
    pub fn expect(&self, code: i32, args: &str) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, code, "windflow {args}\n{}\n{}", done.out, done.err);
        done
    }

    pub fn start(&self, args: &str) -> Started {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Started(Some(child))
    }

    /// Starts it with all it says in a file, to be read while it goes on.
    pub fn start_into(&self, file: &str, args: &str) -> Started {
        let out = fs::File::create(self.dir.join(file)).unwrap();
        let err = out.try_clone().unwrap();
        Started(Some(self.command(args).stdout(out).stderr(err).spawn().unwrap()))
    }

    /// Waits until a file holds a text.
    #[track_caller]
    pub fn until_said(&self, file: &str, text: &str) {
        let said = || fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        until(&format!("'{text}' in {file}"), || said().contains(text));
    }

    pub fn run_with_input(&self, args: &str, input: &str) -> Done {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Started(Some(child)).done()
    }

    /// Waits until a file is there.
    #[track_caller]
    pub fn until_file(&self, file: &str) {
        until(&format!("the file {file}"), || self.dir.join(file).exists());
    }

    /// Waits until a run is in a state.
    #[track_caller]
    pub fn until_state(&self, run: &str, state: &str) {
        until(&format!("run {run} {state}"), || self.state(run).as_deref() == Some(state));
    }

    pub fn state(&self, run: &str) -> Option<String> {
        let done = self.run(&format!("runs show {run} --json"));
        let value: serde_json::Value = serde_json::from_str(&done.out).ok()?;
        Some(value["state"].as_str()?.to_owned())
    }

    /// Kills everything that runs here.
    pub fn kill_services(&self) {
        until("no process is left", || {
            let left = self.processes();
            for pid in &left {
                let _ = kill_process(*pid, Signal::KILL);
            }
            left.is_empty()
        });
    }

    /// Everything of ours that still runs: it works in this folder, or was told of it.
    pub fn processes(&self) -> Vec<Pid> {
        let ours = |proc: &Path| {
            let cwd = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir));
            let told = fs::read(proc.join("cmdline")).unwrap_or_default();
            cwd || String::from_utf8_lossy(&told).contains(&*self.dir.to_string_lossy())
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        all.filter(|entry| ours(&entry.path()))
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.processes();
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::yield_now();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A command that goes on; killed when it is dropped.
pub struct Started(Option<Child>);

impl Started {
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.0.as_ref().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    pub fn done(mut self) -> Done {
        let mut child = self.0.take().unwrap();
        // Read while it goes on, or a full pipe stops it.
        let out = std::thread::spawn({
            let pipe = child.stdout.take();
            move || pipe.map_or_else(String::new, |mut pipe| read(&mut pipe))
        });
        let pipe = child.stderr.take();
        let err = std::thread::spawn(move || pipe.map_or_else(String::new, |mut pipe| read(&mut pipe)));
        let began = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => {
                    let _ = child.kill();
                    panic!("it does not end: {}", err.join().unwrap());
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let code = status.code().unwrap_or(-1);
        Done { code, out: out.join().unwrap(), err: err.join().unwrap() }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read(pipe: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for something to become true.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
