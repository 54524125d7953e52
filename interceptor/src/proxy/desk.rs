//! Where large texts are inspected: on threads of their own, so that no hostile text holds up a worker's other connections.
//!
//! The worst text known takes less than half a microsecond a byte (see BENCHMARKS.md), so a head or body up to [`LARGE`]
//! takes a worker less than ten milliseconds; a body with very many values, each of which may be scanned with a name, is
//! [taken for a large one](is_small). Of those each worker has a few in hand, and the others wait their turn; the very
//! large ones have turns of their own, so that who sends those does not hold up everybody's ordinary requests.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::flow::Field;
use crate::mask::{self, Engine, Scanner};

/// Heads and bodies above this are not inspected on the worker's own thread.
pub(super) const LARGE: usize = 16 << 10;
/// Bytes that are scanned with a value: the longest name that is, and what is between them.
const PER_VALUE: usize = Field::LONGEST_NAME + 8;
/// Most bytes that are scanned on the worker's own thread for a body.
const SCANNED: usize = 2 * LARGE;
/// Bodies above this wait for each other alone.
const HUGE: usize = 512 << 10;
/// Large bodies, and huge ones, that are inspected at a time, for each worker.
const AT_ONCE: usize = 4;
const HUGE_AT_ONCE: usize = 2;

/// Whether a body is inspected on the worker's own thread. All the values that it may have are counted, each as if it had
/// the longest name: in JSON a comma is between two, which JSON within a string may write as `\u002c`.
pub(super) fn is_small(body: &[u8]) -> bool {
    let values = || memchr::memchr_iter(b',', body).count() + memchr::memmem::find_iter(body, b"\\u").count();
    body.len() <= LARGE && body.len() + values() * PER_VALUE <= SCANNED
}

/// The scanners of a worker.
#[derive(Debug)]
pub(super) struct Desk {
    engine: Arc<Engine>,
    own: RefCell<Scanner>,
    /// For large bodies, made when they are first needed.
    spare: RefCell<Vec<Scanner>>,
    turns: Arc<Semaphore>,
    turns_of_huge: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(engine: Arc<Engine>, own: Scanner) -> Self {
        let (own, spare) = (RefCell::new(own), RefCell::default());
        let [turns, turns_of_huge] = [AT_ONCE, HUGE_AT_ONCE].map(|turns| Arc::new(Semaphore::new(turns)));
        Self { engine, own, spare, turns, turns_of_huge }
    }

    /// The scanner for small texts.
    pub(super) fn own(&self) -> &RefCell<Scanner> {
        &self.own
    }

    /// Does `job`, for a body of so many bytes, on a thread of its own once it is its turn.
    ///
    /// # Errors
    /// When Hyperscan cannot allocate: then nothing was inspected.
    pub(super) async fn away<T: Send + 'static>(
        &self,
        bytes: usize,
        job: impl FnOnce(&mut Scanner) -> T + Send + 'static,
    ) -> Result<T, mask::Error> {
        // It is never closed. The turn comes back with the scanner, and ends with the job when nobody waits for that.
        let turns = if bytes > HUGE { &self.turns_of_huge } else { &self.turns };
        let turn = Arc::clone(turns).acquire_owned().await;
        let spare = self.spare.borrow_mut().pop();
        let mut scanner = spare.map_or_else(|| self.engine.scanner(), Ok)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = job(&mut scanner);
            scanner.shrink();
            (scanner, done, turn)
        });
        let (scanner, done, _turn) = done.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        self.spare.borrow_mut().push(scanner);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn desk() -> Rc<Desk> {
        let engine = Engine::builtin().unwrap();
        let scanner = engine.scanner().unwrap();
        Rc::new(Desk::new(engine, scanner))
    }

    /// On one thread, as a worker has it.
    fn block_on(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn a_small_text_does_not_wait_for_a_large_hostile_one() {
        block_on(async {
            let desk = desk();
            // Held until the small text was scanned: on the worker's thread this would never end.
            let (scanned, wait) = std::sync::mpsc::channel();
            let hostile = "4111 1111 1111 1112 ".repeat(LARGE / 10);
            let large = tokio::task::spawn_local({
                let desk = Rc::clone(&desk);
                async move {
                    let job = move |scanner: &mut Scanner| {
                        wait.recv().unwrap();
                        scanner.scan(&hostile, &mut Vec::new())
                    };
                    desk.away(LARGE, job).await
                }
            });
            tokio::task::yield_now().await;
            let mut found = Vec::new();
            desk.own().borrow_mut().scan("card 4111 1111 1111 1111", &mut found).unwrap();
            assert_eq!(found.len(), 1);
            scanned.send(()).unwrap();
            large.await.unwrap().unwrap().unwrap();
        });
    }

    #[test]
    fn a_body_of_very_many_values_is_no_small_one() {
        let of = |count: usize| format!(r#"{{"messages":[{}"a"]}}"#, r#""a","#.repeat(count));
        assert!(is_small(of(200).as_bytes()) && !is_small(of(2000).as_bytes()));
        assert!(!is_small(format!("[{}1]", "100000000,".repeat(500)).as_bytes()));
        assert!(is_small(&[b'a'; LARGE]) && !is_small(&[b'a'; LARGE + 1]));
    }

    #[test]
    fn more_large_texts_than_turns_are_all_scanned_by_few_scanners() {
        block_on(async {
            let desk = desk();
            let job = |scanner: &mut Scanner| {
                let mut found = Vec::new();
                scanner.scan("card 4111 1111 1111 1111", &mut found).map(|()| found.len())
            };
            let tasks: Vec<_> = (0..4 * AT_ONCE)
                .map(|n| (Rc::clone(&desk), n % 2 * 2 * HUGE))
                .map(|(desk, bytes)| tokio::task::spawn_local(async move { desk.away(bytes, job).await }))
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), Ok(Ok(1)));
            }
            assert!(desk.spare.borrow().len() <= AT_ONCE + HUGE_AT_ONCE);
        });
    }
}
