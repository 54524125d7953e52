//! What the main thread does while the workers serve: listeners for new network namespaces, the self-test, answers to
//! the control socket, a line in the log for what the kernel programs refused.

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::canary::canaries;
use super::control::{Answer, Asked, Request, Server};
use super::health::Health;
use super::namespaces::{Foreign, Limits};
use super::notices::{Key, Notices, in_words};
use super::occupied::occupied;
use super::status::{Canary, Endpoints, Status};
use super::{Error, Workers};
use crate::capture::{Capture, Event, Events, Listening, Namespaces, What};
use crate::sinks::{SinkStatus, WitnessStatus};
use crate::sys::Chosen;

/// How often namespaces are looked at, and notices of the kernel programs are logged.
const SECOND: Duration = Duration::from_secs(1);

/// How often the daemon tests itself.
const TEST_EVERY: Duration = Duration::from_secs(10);

/// Events taken in one turn, so that a flood of them cannot keep the thread from anything else.
const EVENTS_A_TURN: usize = 4096;

/// What the supervisor needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The enrolled cgroup2 directory.
    pub cgroup: PathBuf,
    /// Where links and maps are pinned.
    pub pins: PathBuf,
    /// The loopback port of every listener.
    pub port: u16,
    /// The control socket.
    pub control: PathBuf,
    /// How the workers wait for their sockets, and why so.
    pub transport: Chosen,
    /// Cgroups with a mode of their own: path and mode.
    pub modes: Vec<(String, String)>,
    /// What the kernel can do, by name.
    pub features: serde_json::Value,
    /// Network namespaces that may have a listener.
    pub namespaces: usize,
    /// Of those, namespaces of one user's processes.
    pub namespaces_per_user: usize,
}

/// What the rest of the daemon knows about itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What is enrolled.
    pub endpoints: Endpoints,
    /// Why the log takes no records now, if it does not.
    pub audit: Option<String>,
    /// Why the last run of retention removed nothing, or not everything.
    pub retention: Option<String>,
    /// Packets that the backstop refused, or why they cannot be counted; none without a backstop.
    pub backstop: Option<Result<u64, String>>,
    /// Days until the internal CA's certificate expires.
    pub ca_days: Option<i64>,
    /// How the naming of callers goes.
    pub callers: CallerFacts,
    /// How the sinks are doing.
    pub sinks: Vec<SinkStatus>,
    /// How the witnesses are doing.
    pub witnesses: Vec<WitnessStatus>,
}

/// Callers that could not be looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallerFacts {
    /// Named by the kernel's snapshot alone, as the rest took too long.
    pub unnamed: u64,
    /// Named by it alone, as `/proc` did not show them.
    pub unreadable: u64,
    /// Threads that are kept waiting now.
    pub stuck: usize,
}

/// One thing to do; see [`Supervisor::next`].
#[derive(Debug)]
pub enum Task {
    /// The kernel programs said something.
    Events,
    /// Another second has passed.
    Second,
    /// These network namespaces have processes in them.
    Occupied(HashSet<u64>),
    /// It is time for a self-test.
    Test,
    /// The canaries of one, IPv4 and IPv6, are back.
    Tested(Canary, Canary),
    /// Someone asks.
    Asked(Asked),
}

/// A way for other threads to ask what the control socket answers.
#[derive(Clone, Debug)]
pub struct Asks(mpsc::Sender<Asked>);

impl Asks {
    /// How the daemon is, as of its last self-test; none when it ends.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { request: Request::Status { check: false }, answer }).await.ok()?;
        match answered.await {
            Ok(Answer::Status(status)) => Some(*status),
            Ok(Answer::Refused { .. }) | Err(_) => None,
        }
    }
}

/// The main thread's part of the daemon.
pub struct Supervisor {
    events: AsyncFd<Events>,
    /// Whether the last turn left events behind.
    more_events: bool,
    second: Interval,
    test: Interval,
    scanning: JoinSet<HashSet<u64>>,
    testing: JoinSet<(Canary, Canary)>,
    /// Who waits for the self-test that is under way.
    waiting: Vec<oneshot::Sender<Answer>>,
    requests: mpsc::Receiver<Asked>,
    asks: Asks,
    _server: Server,
    foreign: Foreign,
    notices: Notices,
    health: Health,
    cgroup: PathBuf,
}

impl Supervisor {
    /// Opens the control socket. To be called inside the runtime that [`next`](Self::next) will run in.
    ///
    /// # Errors
    /// When the socket or the events cannot be had.
    pub fn start(settings: Settings, events: Events, registry: Namespaces) -> Result<Self, Error> {
        let limits = Limits { total: settings.namespaces, per_user: settings.namespaces_per_user };
        let (server, asks, requests) = Server::start(&settings.control)?;
        Ok(Self {
            events: events.watch().map_err(Error::Events)?,
            more_events: true,
            second: every(SECOND),
            test: every(TEST_EVERY),
            scanning: JoinSet::new(),
            testing: JoinSet::new(),
            waiting: Vec::new(),
            requests,
            asks: Asks(asks),
            _server: server,
            foreign: Foreign::new(settings.port, limits, registry),
            notices: Notices::default(),
            cgroup: settings.cgroup.clone(),
            health: Health::new(settings),
        })
    }

    /// Listens in the network namespaces of processes that are enrolled already: on `inherited` sockets where an earlier
    /// daemon did.
    pub fn adopt(
        &mut self,
        capture: &mut Capture,
        workers: &mut Workers,
        inherited: Vec<(Listening, Vec<TcpListener>)>,
    ) {
        self.foreign.inherit(inherited);
        self.foreign.adopt(capture, workers, &self.cgroup, Instant::now());
        self.foreign.disown(capture);
    }

    /// The next thing to [do](Self::act). May be given up on at any time.
    pub async fn next(&mut self) -> Task {
        loop {
            // In no order: a flood of events must not keep anyone from the others.
            tokio::select! {
                () = readable(&self.events, self.more_events) => return Task::Events,
                Some(Ok(occupied)) = self.scanning.join_next() => return Task::Occupied(occupied),
                Some(asked) = self.requests.recv() => return Task::Asked(asked),
                Some(tested) = self.testing.join_next() => match tested {
                    Ok((ipv4, ipv6)) => return Task::Tested(ipv4, ipv6),
                    Err(e) => log::error!("the self-test failed itself: {e}"),
                },
                _ = self.second.tick() => return Task::Second,
                _ = self.test.tick() => return Task::Test,
            }
        }
    }

    /// Does it.
    pub fn act(&mut self, task: Task, capture: &mut Capture, workers: &mut Workers, facts: impl FnOnce() -> Facts) {
        match task {
            Task::Events => self.take_events(capture, workers),
            Task::Second => {
                self.each_second();
                self.foreign.look_for_missed(capture, workers, &self.cgroup, Instant::now());
            }
            Task::Occupied(occupied) => self.foreign.sweep(capture, workers, &occupied),
            Task::Test => self.start_test(),
            Task::Tested(ipv4, ipv6) => {
                self.health.judge((ipv4, ipv6), capture, &workers.pulses(), self.foreign.count(), facts());
                for waiting in std::mem::take(&mut self.waiting) {
                    self.answer(waiting);
                }
            }
            Task::Asked(Asked { request, answer }) => match request {
                Request::Status { check: false } if self.health.tested() => {
                    self.health.count(capture.stats(), &facts());
                    self.answer(answer);
                }
                Request::Status { .. } => {
                    self.waiting.push(answer);
                    self.start_test();
                }
            },
        }
    }

    /// For asking from another thread.
    #[must_use]
    pub fn asks(&self) -> Asks {
        self.asks.clone()
    }

    /// To be told in the status from now on: this daemon goes on, though it was to be replaced.
    pub fn upgrade_failed(&mut self, why: String) {
        self.health.upgrade_failed(why);
    }

    fn take_events(&mut self, capture: &mut Capture, workers: &mut Workers) {
        let now = Instant::now();
        for _ in 0..EVENTS_A_TURN {
            let event = self.events.get_mut().take();
            self.more_events = event.is_some();
            let Some(event) = event else { break };
            match event.what {
                What::NetnsWanted => self.foreign.wanted(capture, workers, event.netns, event.tgid, now),
                _ => self.note(&event),
            }
        }
        self.foreign.look_for_missed(capture, workers, &self.cgroup, now);
    }

    fn note(&mut self, event: &Event) {
        let (what, reason, to) = match event.what {
            What::NetnsWanted => return,
            // The system's resolver library asks so which source address it would get; no packet is ever sent.
            What::Refused { to, .. } if event.tgid == std::process::id() && to.port() == 0 => return,
            What::Refused { to, why } => ("refused", in_words(why), to),
            What::PassedOpen { to } => ("went direct", "the daemon was not there, when_down = open".to_owned(), to),
            What::Exempt { to } => ("went direct", "its cgroup is exempt".to_owned(), to),
        };
        let key = Key { what, reason, uid: event.uid };
        self.notices.add(key, format_args!("process {} to {to}", event.tgid));
    }

    fn each_second(&mut self) {
        for line in self.notices.lines() {
            log::info!("{line}");
        }
        let open: HashSet<u64> = self.foreign.inodes().collect();
        if !open.is_empty() && self.scanning.is_empty() {
            self.scanning.spawn_blocking(move || occupied(&open));
        }
    }

    fn start_test(&mut self) {
        if self.testing.is_empty() {
            self.testing.spawn(canaries());
        }
    }

    fn answer(&self, to: oneshot::Sender<Answer>) {
        // Whoever asked may have gone.
        let _ = to.send(Answer::Status(Box::new(self.health.status(self.foreign.count()))));
    }
}

/// Cancelled, it has taken nothing.
async fn readable(events: &AsyncFd<Events>, at_once: bool) {
    if at_once {
        return;
    }
    match events.readable().await {
        Ok(mut guard) => guard.clear_ready(),
        Err(e) => {
            log::error!("the kernel programs' events are lost: {e}");
            std::future::pending::<()>().await;
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The control socket below a state's `run` directory.
#[must_use]
pub fn control_socket(run: &Path) -> PathBuf {
    run.join(super::control::SOCKET)
}
