//! Answers that wait for a file. Thousands may wait for the same one, so a path is looked at by one task for all of
//! them, and only while somebody waits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

/// How often a path is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The paths that are waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Rc<RefCell<HashMap<PathBuf, watch::Receiver<bool>>>>);

impl Holds {
    /// Waits until there is a file at `path`.
    pub(super) async fn wait(&self, path: &Path) {
        let mut seen = self.watcher(path);
        // An error would mean a watcher that ended too early: then there is nothing to wait for either.
        let _ = seen.wait_for(|there| *there).await;
    }

    fn watcher(&self, path: &Path) -> watch::Receiver<bool> {
        if let Some(watched) = self.0.borrow().get(path) {
            return watched.clone();
        }
        let (sender, receiver) = watch::channel(false);
        self.0.borrow_mut().insert(path.to_owned(), receiver.clone());
        let (holds, path) = (self.clone(), path.to_owned());
        tokio::task::spawn_local(async move {
            // One receiver is the map's own.
            while sender.receiver_count() > 1 && !path.exists() {
                tokio::time::sleep(LOOK).await;
            }
            holds.0.borrow_mut().remove(&path);
            sender.send_replace(true);
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_lets_all_go_on_and_nobody_watches_any_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("go");
        runtime.block_on(tokio::task::LocalSet::new().run_until(async {
            let holds = Holds::default();
            let (one, other) = (holds.clone(), holds.clone());
            let waiting = [one, other].map(|holds| {
                let path = path.clone();
                tokio::task::spawn_local(async move { holds.wait(&path).await })
            });
            tokio::time::sleep(LOOK).await;
            assert_eq!(holds.0.borrow().len(), 1, "one watcher for both");
            assert!(waiting.iter().all(|task| !task.is_finished()));
            std::fs::write(&path, "").unwrap();
            for task in waiting {
                task.await.unwrap();
            }
            assert!(holds.0.borrow().is_empty());
        }));
    }

    #[test]
    fn a_path_that_nobody_waits_for_any_more_is_forgotten() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(async {
            let holds = Holds::default();
            let never = Path::new("/nonexistent/hold");
            let waited = tokio::time::timeout(2 * LOOK, holds.wait(never)).await;
            assert!(waited.is_err());
            while !holds.0.borrow().is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }));
    }
}
