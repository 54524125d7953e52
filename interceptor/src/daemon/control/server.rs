//! The daemon's side: who asks, and may they?

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Group;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::{Answer, GROUP, MAX_REQUEST, Request, Role, short};
use crate::daemon::Error;
use crate::sys;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS: usize = 16;

/// How long a peer may take to ask, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What was asked, by someone who may.
    pub request: Request,
    /// Dropped, it says that there is no answer.
    pub answer: oneshot::Sender<Answer>,
}

/// The socket, open until this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    inode: u64,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens at `path`, in place of whatever socket lies there. Requests arrive at the receiver, as do those that the
    /// rest of the daemon puts into the sender. To be called inside a
    /// runtime.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(path: &Path) -> Result<(Self, mpsc::Sender<Asked>, mpsc::Receiver<Asked>), Error> {
        let failed = |source| Error::Socket { path: path.to_path_buf(), source };
        let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw());
        let (listener, inode) = bind(path, group).map_err(failed)?;
        let (sender, receiver) = mpsc::channel(CONNECTIONS);
        let task = tokio::spawn(accept(listener, group, sender.clone()));
        Ok((Self { path: path.to_path_buf(), inode, task }, sender, receiver))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // A successor may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Made aside and renamed: at no moment is there a socket with looser permissions, or none.
fn bind(path: &Path, group: Option<u32>) -> io::Result<(UnixListener, u64)> {
    let aside = path.with_extension(format!("{}", std::process::id()));
    match fs::remove_file(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let (_directory, way) = short(&aside)?;
    let listener = UnixListener::bind(way)?;
    chown(&aside, None, group)?;
    fs::set_permissions(&aside, fs::Permissions::from_mode(if group.is_some() { 0o660 } else { 0o600 }))?;
    let inode = fs::symlink_metadata(&aside)?.ino();
    fs::rename(&aside, path)?;
    Ok((listener, inode))
}

async fn accept(listener: UnixListener, group: Option<u32>, sender: mpsc::Sender<Asked>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sender = sender.clone();
                tokio::spawn(async move {
                    if let Err(e) = serve(stream, group, &sender).await {
                        log::debug!("control socket: {e}");
                    }
                    drop(permit);
                });
            }
            Err(e) => {
                log::warn!("control socket: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, group: Option<u32>, sender: &mpsc::Sender<Asked>) -> io::Result<()> {
    let peer = Peer::of(&stream)?;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    timeout(PATIENCE, BufReader::new(read.take(MAX_REQUEST)).read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) if peer.may(request.role(), group) => {
            let (answer, answered) = oneshot::channel();
            if sender.send(Asked { request, answer }).await.is_err() {
                return Ok(());
            }
            answered.await.unwrap_or_else(|_| refused("the daemon is stopping"))
        }
        Ok(_) => refused(&format!("uid {} may not ask this", peer.uid)),
        Err(e) => refused(&format!("not a request: {e}")),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await?
}

fn refused(why: &str) -> Answer {
    Answer::Refused { why: why.to_owned() }
}

/// The process at the other end, as the kernel knew it when it connected (SO_PEERCRED, SO_PEERGROUPS; unix(7)).
#[derive(Debug)]
struct Peer {
    uid: u32,
    groups: Vec<u32>,
}

impl Peer {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let mut groups = sys::peer_groups(stream)?;
        groups.push(credentials.gid());
        Ok(Self { uid: credentials.uid(), groups })
    }

    fn may(&self, role: Role, readers: Option<u32>) -> bool {
        match role {
            Role::Reader => self.uid == 0 || readers.is_some_and(|group| self.groups.contains(&group)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::{AskError, ask};

    /// Runs a server that answers every request with its own words while `client` runs on a thread.
    fn with_server<T: Send + 'static>(client: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
        let directory = tempfile::tempdir().unwrap();
        // Longer than a socket's address may be.
        let deep = directory.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let path = deep.join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, _, mut asked) = Server::start(&path).unwrap();
            let client = tokio::task::spawn_blocking({
                let path = path.clone();
                move || client(path)
            });
            let answering = tokio::spawn(async move {
                while let Some(Asked { request, answer }) = asked.recv().await {
                    let _ = answer.send(refused(&format!("{request:?}")));
                }
            });
            let result = client.await.unwrap();
            answering.abort();
            drop(server);
            assert!(!path.exists(), "the socket goes with the server");
            result
        })
    }

    #[test]
    fn root_is_answered_and_the_socket_is_closed_to_others() {
        if !nix::unistd::geteuid().is_root() {
            return with_server(|_| ());
        }
        let (answer, mode) = with_server(|path| {
            let mode = fs::metadata(&path).unwrap().mode() & 0o777;
            (ask(&path, &Request::Status { check: true }), mode)
        });
        assert_eq!(answer.unwrap(), refused("Status { check: true }"));
        assert!(mode == 0o600 || mode == 0o660, "{mode:o}");
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_reason() {
        let answers = with_server(|path| {
            let say = |text: &str| {
                use std::io::{Read as _, Write as _};
                let (_directory, way) = short(&path).unwrap();
                let mut stream = std::os::unix::net::UnixStream::connect(way).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            };
            [
                say("{\"verb\":\"destroy\"}\n"),
                say("{\"verb\":\"status\",\"more\":1}\n"),
                say(""),
                say(&"x".repeat(MAX_REQUEST as usize)),
            ]
        });
        for answer in answers {
            assert!(answer.contains("\"answer\":\"refused\"") && answer.contains("not a request"), "{answer}");
        }
    }

    #[test]
    fn nobody_behind_the_socket_means_not_running() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let status = Request::Status { check: false };
        assert!(matches!(ask(&path, &status), Err(AskError::NotRunning)));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(ask(&path, &status), Err(AskError::NotRunning)), "a socket that a killed daemon left");
    }

    #[test]
    fn readers_are_root_and_the_group() {
        let peer = |uid, groups: &[u32]| Peer { uid, groups: groups.to_vec() };
        assert!(peer(0, &[]).may(Role::Reader, None));
        assert!(peer(1000, &[5, 990]).may(Role::Reader, Some(990)));
        assert!(!peer(1000, &[5]).may(Role::Reader, Some(990)));
        assert!(!peer(1000, &[0]).may(Role::Reader, None), "without the group, root alone");
    }
}
