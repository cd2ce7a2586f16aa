//! The proxy as a test sees it. It runs in a thread of its own, so that it goes on whatever the test's own runtime does:
//! blocks, has a virtual clock, or is none.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::{env, fs, io, process};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::calls::Call;
use super::relay::serve;
use super::stream::{Address, Halves, of_tcp, of_unix};

/// At which moment of a call everything is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The engine never hears of it.
    Before,
    /// The engine has done it and has answered, and the answer is lost.
    After,
}

/// How an engine cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refuse,
    /// Connections come about, and nothing is ever said on them.
    BlackHole,
    /// Each request is answered with this status and an error in the engine's form; the engine never hears of it.
    Answer(u16),
    /// Each request is answered with these very bytes, whatever they are, and the connection ends; the engine never hears of it.
    Nonsense(&'static [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Forward,
    Refuse,
    BlackHole,
    Answer(u16),
    Nonsense(&'static [u8]),
}

/// What becomes of a request that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Pass,
    CutBefore,
    CutAfter,
}

#[derive(Debug)]
struct State {
    calls: Vec<Call>,
    /// How many calls have been forgotten: the number of the first one that is kept.
    forgotten: u64,
    plan: Option<Planned>,
    is_cut: bool,
    /// Whose process ends with the connections when they are cut.
    client: Option<Pid>,
    mode: Mode,
    /// Ends every connection of the time up to now.
    broken: CancellationToken,
}

/// When everything is to be cut off.
#[derive(Clone, Copy, Debug)]
struct Planned {
    /// Which one of the requests that are meant it is; the first is 1.
    left: usize,
    cut: Cut,
    /// The method and the path of those that are meant, where not all are that may change something.
    of: Option<(&'static str, &'static str)>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstream: Address,
    state: Mutex<State>,
    orders: UnboundedSender<Order>,
}

#[derive(Debug)]
enum Order {
    /// Listen or do not, as the mode has it.
    Settle(Option<mpsc::Sender<io::Result<()>>>),
    End,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mode(&self) -> (Mode, CancellationToken) {
        let state = self.state();
        (state.mode, state.broken.clone())
    }

    /// Writes a request down. Says under which number, and what becomes of it.
    pub(super) fn arrived(&self, method: &str, target: &str) -> (u64, Step) {
        let mut state = self.state();
        let call = Call::new(method, target);
        let id = state.forgotten + state.calls.len() as u64;
        let mut step = Step::Pass;
        if call.mutates
            && let Some(plan) = state.plan
            && plan.of.is_none_or(|(method, path)| call.is(method, path))
        {
            state.plan = (plan.left > 1).then_some(Planned { left: plan.left - 1, ..plan });
            step = match plan.cut {
                _ if plan.left > 1 => Step::Pass,
                Cut::Before => Step::CutBefore,
                Cut::After => Step::CutAfter,
            };
        }
        state.calls.push(call);
        (id, step)
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Call)) {
        let mut state = self.state();
        let at = id.checked_sub(state.forgotten).and_then(|at| usize::try_from(at).ok());
        if let Some(call) = at.and_then(|at| state.calls.get_mut(at)) {
            change(call);
        }
    }

    pub(super) fn sent(&self, id: u64, size: u64) {
        self.change(id, |call| call.body_size += size);
    }

    pub(super) fn answered(&self, id: u64, status: u16) {
        self.change(id, |call| call.status = Some(status));
    }

    /// Breaks every connection off and lets nobody in.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        // First, so that it does not live to see what becomes of its call.
        if let Some(client) = state.client.take() {
            // It may have ended by itself.
            let _ = kill_process(client, Signal::KILL);
        }
        state.is_cut = true;
        drop(state);
        self.turn(Mode::Refuse, None);
    }

    fn turn(&self, mode: Mode, settled: Option<mpsc::Sender<io::Result<()>>>) {
        let mut state = self.state();
        state.mode = mode;
        std::mem::take(&mut state.broken).cancel();
        drop(state);
        // Nobody is there to hear it when the proxy has ended.
        let _ = self.orders.send(Order::Settle(settled));
    }

    /// Turns, and comes back when whoever connects from now on meets the new mode.
    fn turn_and_wait(&self, mode: Mode) -> io::Result<()> {
        let (settled, wait) = mpsc::channel();
        self.turn(mode, Some(settled));
        wait.recv().map_err(|_| io::Error::other("the proxy has ended"))?
    }
}

/// A proxy between a client and an engine, which records and cuts.
///
/// It carries HTTP/1.1 byte for byte, streams and upgraded connections included. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    endpoint: String,
    thread: Option<JoinHandle<()>>,
    /// Holds the socket.
    folder: Option<PathBuf>,
}

impl Proxy {
    /// A proxy on a unix socket in front of an engine (`unix:///…` or `tcp://host:port`).
    pub fn start(upstream: &str) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A socket's path may have 107 characters.
        let folder = env::temp_dir().join(format!("wf-proxy-{}-{number}", process::id()));
        fs::create_dir(&folder)?;
        match Self::begin(upstream, Door::Unix(folder.join("s"))) {
            Ok(mut proxy) => {
                proxy.folder = Some(folder);
                Ok(proxy)
            }
            Err(error) => {
                fs::remove_dir_all(folder)?;
                Err(error)
            }
        }
    }

    /// The same on a port of the loopback address.
    pub fn start_tcp(upstream: &str) -> io::Result<Self> {
        Self::begin(upstream, Door::Tcp("127.0.0.1:0".to_owned()))
    }

    fn begin(upstream: &str, door: Door) -> io::Result<Self> {
        let (orders, ordered) = unbounded_channel();
        let state = State {
            calls: Vec::new(),
            forgotten: 0,
            plan: None,
            is_cut: false,
            client: None,
            mode: Mode::Forward,
            broken: CancellationToken::new(),
        };
        let shared = Arc::new(Shared { upstream: Address::parse(upstream)?, state: Mutex::new(state), orders });
        let (open, wait) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("bed-proxy".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_io().build() {
                Ok(runtime) => runtime.block_on(listen(theirs, door, open, ordered)),
                Err(error) => drop(open.send(Err(error))),
            }
        })?;
        let endpoint = wait.recv().map_err(|_| io::Error::other("the proxy has ended"))??;
        Ok(Self { shared, endpoint, thread: Some(thread), folder: None })
    }

    /// Where a client finds it: what `DOCKER_HOST` takes.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Every request so far, in the order in which they came; those that were cut off or answered by the proxy too.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// How many of them may have changed something.
    #[must_use]
    pub fn mutations(&self) -> usize {
        self.shared.state().calls.iter().filter(|call| call.mutates).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.forgotten += state.calls.len() as u64;
        state.calls.clear();
    }

    /// At the `n`-th request from now on (the first is 1) that may change something, ends every connection and refuses new
    /// ones, as if the client's process had died there. Until [`heal`](Self::heal).
    pub fn cut_at(&self, n: usize, when: Cut) {
        self.shared.state().plan = Some(Planned { left: n, cut: when, of: None });
    }

    /// The same, where only requests of this method and path count, and may change something: `("DELETE", "/configs/*")`. `*`
    /// stands for one part of a path.
    pub fn cut_at_call(&self, n: usize, method: &'static str, path: &'static str, when: Cut) {
        self.shared.state().plan = Some(Planned { left: n, cut: when, of: Some((method, path)) });
    }

    /// Kills this process at the moment of the next cut, before its connections end. The caller holds it: a child that has
    /// not been waited for.
    pub fn kills(&self, client: Pid) {
        self.shared.state().client = Some(client);
    }

    /// Whether that has happened.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.shared.state().is_cut
    }

    /// Ends every connection, and fails in this way from now on. Until [`heal`](Self::heal).
    pub fn fail(&self, fault: Fault) -> io::Result<()> {
        self.shared.turn_and_wait(match fault {
            Fault::Refuse => Mode::Refuse,
            Fault::BlackHole => Mode::BlackHole,
            Fault::Answer(status) => Mode::Answer(status),
            Fault::Nonsense(bytes) => Mode::Nonsense(bytes),
        })
    }

    /// Lets everything through again. What was to be cut is not cut any more. When this returns, clients can connect.
    pub fn heal(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        state.plan = None;
        state.client = None;
        state.is_cut = false;
        drop(state);
        self.shared.turn_and_wait(Mode::Forward)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.shared.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[derive(Debug)]
enum Door {
    Unix(PathBuf),
    Tcp(String),
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Door {
    /// Opens it; a port, once chosen, stays.
    fn open(&mut self) -> io::Result<Listener> {
        match self {
            Self::Unix(path) => {
                if let Err(error) = fs::remove_file(&*path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(error);
                }
                Ok(Listener::Unix(UnixListener::bind(path)?))
            }
            Self::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address.as_str())?;
                listener.set_nonblocking(true)?;
                *address = listener.local_addr()?.to_string();
                Ok(Listener::Tcp(TcpListener::from_std(listener)?))
            }
        }
    }

    fn endpoint(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp(address) => format!("tcp://{address}"),
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Halves> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| of_unix(stream)),
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| of_tcp(stream)),
        }
    }
}

/// Tells `open` the endpoint, or why there is none.
async fn listen(
    shared: Arc<Shared>,
    mut door: Door,
    open: mpsc::Sender<io::Result<String>>,
    mut orders: UnboundedReceiver<Order>,
) {
    let first = door.open();
    let (listener, endpoint) = match first {
        Ok(listener) => (Some(listener), Ok(door.endpoint())),
        Err(error) => (None, Err(error)),
    };
    if open.send(endpoint).is_err() {
        return;
    }
    let mut listener = listener;
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let order = tokio::select! {
            biased;
            order = orders.recv() => order,
            accepted = accepted => {
                if let Ok(client) = accepted {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move { serve(&shared, client).await });
                }
                continue;
            }
        };
        let Some(Order::Settle(settled)) = order else { return };
        let done = match shared.mode().0 {
            Mode::Refuse => {
                listener = None;
                Ok(())
            }
            _ if listener.is_some() => Ok(()),
            _ => door.open().map(|open| listener = Some(open)),
        };
        if let Some(settled) = settled {
            // The test may not wait any more.
            let _ = settled.send(done);
        }
    }
}
