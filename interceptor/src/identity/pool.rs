//! Threads for work that others can make endless: what it reads may belong to a process that never answers.
//!
//! A thread that hangs cannot be freed. So nobody waits for one beyond a deadline, a user's work takes but a few of them,
//! and none is ever joined.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Threads at most; made as they are needed.
const THREADS: usize = 16;

/// Threads that work for one user at a time: others must find some.
const PER_USER: usize = 2;

/// Jobs of one user that wait. Far more than can be done before their deadline.
const QUEUE: usize = 1024;

/// Whoever is not free by then is stuck: what is left of his user's jobs is not waited for.
const STUCK: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end with this, or with the process.
#[derive(Debug, Default)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    users: HashMap<u32, User>,
    /// Users with jobs and threads left for them, each once, in turn.
    turn: VecDeque<u32>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
struct User {
    queue: VecDeque<Waiting>,
    /// Since when each of their threads works.
    running: Vec<Instant>,
}

struct Waiting {
    job: Job,
    /// Whether nobody waits for it any more.
    given_up: Box<dyn Fn() -> bool + Send>,
}

impl Pool {
    /// What `job` returns, if it does so within `patience`. Once begun, it is done to its end all the same.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        uid: u32,
        patience: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let asked = Arc::clone(&answer);
        let given_up = move || lock(&asked).as_ref().is_none_or(oneshot::Sender::is_closed);
        let job = move || {
            // Taken when it is begun: what ends without an answer must end the waiting, too.
            let answer = lock(&answer).take();
            let result = job();
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }
        };
        if !self.submit(uid, Waiting { job: Box::new(job), given_up: Box::new(given_up) }) {
            return None;
        }
        timeout(patience, answered).await.ok()?.ok()
    }

    /// Threads that have worked on one thing for longer than any should.
    pub(super) fn stuck(&self) -> usize {
        lock(&self.0.state).users.values().map(User::stuck).sum()
    }

    /// False when there is no use in waiting for it.
    fn submit(&self, uid: u32, waiting: Waiting) -> bool {
        let mut state = lock(&self.0.state);
        if state.users.values().map(User::stuck).sum::<usize>() >= THREADS {
            return false;
        }
        let user = state.users.entry(uid).or_default();
        if user.stuck() >= PER_USER {
            return false;
        }
        if user.queue.len() >= QUEUE {
            user.queue.retain(|waiting| !(waiting.given_up)());
        }
        if user.queue.len() >= QUEUE {
            return false;
        }
        user.queue.push_back(waiting);
        state.list(uid);
        if state.idle == 0 && state.threads < THREADS {
            let shared = Arc::clone(&self.0);
            match thread::Builder::new().name(format!("caller-{}", state.threads)).spawn(move || work(&shared)) {
                Ok(_) => state.threads += 1,
                Err(e) => log::warn!("no further thread to name callers: {e}"),
            }
        }
        self.0.work.notify_one();
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.work.notify_all();
    }
}

impl State {
    /// Gives a user a turn, when there is work and a thread may take it.
    fn list(&mut self, uid: u32) {
        let Some(user) = self.users.get(&uid) else { return };
        if user.queue.is_empty() && user.running.is_empty() {
            self.users.remove(&uid);
        } else if !user.queue.is_empty() && user.running.len() < PER_USER && !self.turn.contains(&uid) {
            self.turn.push_back(uid);
        }
    }

    fn begin(&mut self, now: Instant) -> Option<(u32, Job)> {
        while let Some(uid) = self.turn.pop_front() {
            let next = self.users.get_mut(&uid).and_then(|user| {
                let waiting = std::iter::from_fn(|| user.queue.pop_front()).find(|waiting| !(waiting.given_up)());
                waiting.inspect(|_| user.running.push(now))
            });
            self.list(uid);
            if let Some(Waiting { job, .. }) = next {
                return Some((uid, job));
            }
        }
        None
    }

    fn end(&mut self, uid: u32, begun: Instant) {
        if let Some(user) = self.users.get_mut(&uid)
            && let Some(at) = user.running.iter().position(|&then| then == begun)
        {
            user.running.swap_remove(at);
        }
        self.list(uid);
    }
}

impl User {
    fn stuck(&self) -> usize {
        self.running.iter().filter(|begun| begun.elapsed() > STUCK).count()
    }
}

fn work(shared: &Shared) {
    let mut state = lock(&shared.state);
    while !state.closed {
        let begun = Instant::now();
        let Some((uid, job)) = state.begin(begun) else {
            state.idle += 1;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        drop(state);
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            log::error!("naming a caller failed; it is known by the kernel's snapshot alone");
        }
        state = lock(&shared.state);
        state.end(uid, begun);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const GENEROUS: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(10);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    /// Jobs that hang until the sender is dropped, and are given up.
    async fn hang(pool: &Pool, uid: u32, jobs: usize) -> Vec<Sender<()>> {
        let mut held = Vec::new();
        for _ in 0..jobs {
            let (hold, held_up) = channel::<()>();
            let given_up = pool.run(uid, SHORT, move || held_up.recv().is_ok());
            assert_eq!(given_up.await, None);
            held.push(hold);
        }
        held
    }

    #[test]
    fn a_user_whose_jobs_hang_keeps_no_other_from_being_answered() {
        block_on(async {
            let pool = Pool::default();
            let held = hang(&pool, 1000, 1400).await;
            for uid in 1001..1101 {
                assert_eq!(pool.run(uid, GENEROUS, move || uid).await, Some(uid));
            }
            assert!(lock(&pool.0.state).users[&1000].running.len() <= PER_USER);
            assert!(lock(&pool.0.state).users[&1000].queue.len() <= QUEUE);
            drop(held);
            while pool.stuck() > 0 {
                tokio::time::sleep(SHORT).await;
            }
            assert_eq!(pool.run(1000, GENEROUS, || 7).await, Some(7), "and goes on when they end");
        });
    }

    #[test]
    fn nobody_waits_when_every_thread_is_stuck() {
        block_on(async {
            let pool = Pool::default();
            let mut held = Vec::new();
            // However slowly threads come to life: enough users take them all.
            for uid in 0.. {
                if pool.stuck() >= THREADS {
                    break;
                }
                held.extend(hang(&pool, uid, PER_USER).await);
            }
            assert_eq!(lock(&pool.0.state).threads, THREADS);
            assert_eq!(pool.run(5000, GENEROUS * 60, || 7).await, None);
            drop(held);
            while pool.stuck() > 0 {
                tokio::time::sleep(SHORT).await;
            }
            assert_eq!(pool.run(5000, GENEROUS, || 7).await, Some(7));
        });
    }

    #[test]
    fn a_job_that_panics_is_no_answer_and_costs_no_thread() {
        block_on(async {
            let pool = Pool::default();
            for _ in 0..2 * THREADS {
                assert_eq!(pool.run::<()>(1000, GENEROUS, || panic!("as it may")).await, None);
            }
            assert_eq!(pool.run(1000, GENEROUS, || 7).await, Some(7));
        });
    }

    #[test]
    fn users_are_forgotten_when_their_jobs_are_done() {
        block_on(async {
            let pool = Pool::default();
            for uid in 0..100 {
                assert!(pool.run(uid, GENEROUS, || ()).await.is_some());
            }
            while !lock(&pool.0.state).users.is_empty() {
                tokio::time::sleep(SHORT).await;
            }
        });
    }
}
