//! A pager between this program and a terminal, as git and journalctl have one.
//!
//! Standard output becomes the pager's input for a while, so whatever writes there need not know. Content was made
//! harmless before: of escape sequences only our own colours get to the pager, and through it.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stderr, dup2_stdout};

/// Where a pager is named, in words and not for a shell, the first that is set; `less` where none is. Empty, or `cat`: none
/// is wanted.
const VARIABLES: [&str; 2] = ["INTERCEPTOR_PAGER", "PAGER"];
/// What `less` is told unless the environment tells it: quit when all fits on a screen, pass colours, leave the text there
/// at the end; start no other programs, since it may run as root; the text is UTF-8.
const FOR_LESS: [(&str, &str); 3] = [("LESS", "FRX"), ("LESSSECURE", "1"), ("LESSCHARSET", "utf-8")];

/// The columns of the terminal that a pager shows standard output on, where one does.
static BEHIND: OnceLock<Option<usize>> = OnceLock::new();

/// Whether standard output is shown on a terminal.
pub(crate) fn is_terminal() -> bool {
    BEHIND.get().is_some() || io::stdout().is_terminal()
}

/// The columns of the terminal that standard output is shown on, if it is one and says.
pub(crate) fn columns() -> Option<usize> {
    let own = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    BEHIND.get().copied().unwrap_or_else(own)
}

/// Options of subcommands whose output may be long.
#[derive(Debug, clap::Args)]
pub(crate) struct Paging {
    /// Write to the terminal itself: no INTERCEPTOR_PAGER, PAGER or less
    #[arg(long)]
    no_pager: bool,
}

/// A pager that is shown standard output, and standard error where that went to the terminal.
pub(crate) struct Pager {
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    is_done: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

impl Pager {
    /// Starts the pager, if standard output is a terminal and one is wanted and there.
    pub(crate) fn start(paging: &Paging) -> Option<Self> {
        if paging.no_pager || !io::stdout().is_terminal() {
            return None;
        }
        let (name, words) = wanted()?;
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next()?);
        command.args(words).envs(FOR_LESS.into_iter().filter(|(variable, _)| env::var_os(variable).is_none()));
        let width = columns();
        match command.stdin(Stdio::piped()).spawn().and_then(Self::feed) {
            Ok(pager) => {
                BEHIND.get_or_init(|| width);
                Some(pager)
            }
            // Without a pager there is nothing to be missed, unless it was asked for.
            Err(error) => {
                if let Some(variable) = name {
                    eprintln!("interceptor: {variable}: {} cannot be run: {error}", command.get_program().display());
                }
                None
            }
        }
    }

    fn feed(mut child: Child) -> io::Result<Self> {
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stderr = io::stderr().is_terminal().then(|| io::stderr().as_fd().try_clone_to_owned()).transpose()?;
        // Ctrl-C is the pager's, as long as it runs: it stops waiting for text, and `q` leaves it.
        let mut interrupt = SigSet::empty();
        interrupt.add(Signal::SIGINT);
        interrupt.thread_block()?;
        let is_done = Arc::new(AtomicBool::new(false));
        let watcher = std::thread::Builder::new().name("pager".into()).spawn({
            let is_done = Arc::clone(&is_done);
            move || {
                let _ = child.wait();
                if !is_done.load(Ordering::Acquire) {
                    // Whoever read our output has seen enough.
                    exit(0);
                }
            }
        })?;
        dup2_stdout(&input)?;
        if stderr.is_some() {
            dup2_stderr(&input)?;
        }
        Ok(Self { stdout, stderr, is_done, watcher })
    }

    /// Waits until the pager is left.
    pub(crate) fn finish(self) {
        // Where it was left before the end, the watcher ends this program.
        if io::stdout().flush().is_ok() {
            self.is_done.store(true, Ordering::Release);
            let _ = dup2_stdout(&self.stdout);
            if let Some(stderr) = &self.stderr {
                let _ = dup2_stderr(stderr);
            }
        }
        let _ = self.watcher.join();
    }
}

/// The words that start the pager, and the variable that has them; none when none is wanted.
fn wanted() -> Option<(Option<&'static str>, String)> {
    let named = VARIABLES.into_iter().find_map(|name| Some((name, env::var(name).ok()?)));
    match named {
        Some((_, words)) if matches!(words.trim(), "" | "cat") => None,
        Some((name, words)) => Some((Some(name), words)),
        None => Some((None, "less".to_owned())),
    }
}
