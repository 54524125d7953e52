//! The process that connects, in the cgroup of its setting. It is told `KIND ADDRESS NUMBER` and answers with the
//! nanoseconds of each call.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, SockAddr, Socket, Type};

/// Set for a worker: the directory of its cgroup.
pub(crate) const CGROUP: &str = "INTERCEPTOR_BENCH_CGROUP";

pub(crate) fn run(cgroup: &str) -> Result<()> {
    std::fs::write(format!("{cgroup}/cgroup.procs"), std::process::id().to_string())?;
    // All workers on one processor: none of them has a better one.
    let mut processors = CpuSet::new();
    processors.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &processors)?;
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let mut word = || words.next().context("KIND ADDRESS NUMBER");
        let (kind, to, number) = (word()?, word()?, word()?);
        let mut answer = String::new();
        for time in batch(kind, to.parse()?, number.parse()?)? {
            write!(answer, "{} ", time.as_nanos())?;
        }
        answer.push('\n');
        output.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn batch(kind: &str, to: SocketAddr, number: usize) -> Result<Vec<Duration>> {
    let of = if kind.starts_with("tcp") { Type::STREAM } else { Type::DGRAM };
    let address = SockAddr::from(to);
    let sockets = (0..number).map(|_| {
        let socket = Socket::new(Domain::for_address(to), of, None)?;
        // Closing leaves no TIME_WAIT behind, of which the next batch would meet more and more.
        if of == Type::STREAM {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        Ok(socket)
    });
    let sockets = sockets.collect::<Result<Vec<Socket>>>()?;
    let time = |socket: &Socket| {
        let start = Instant::now();
        socket.connect(&address).with_context(|| format!("{kind} {to}"))?;
        Ok(start.elapsed())
    };
    sockets.iter().map(time).collect()
}

/// The other end of it.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(cgroup: &std::path::Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(CGROUP, cgroup).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a worker")?;
        let input = child.stdin.take().context("piped")?;
        let output = BufReader::new(child.stdout.take().context("piped")?);
        Ok(Self { child, input, output })
    }

    pub(crate) fn batch(&mut self, kind: &str, to: SocketAddr, number: usize) -> Result<Vec<f64>> {
        writeln!(self.input, "{kind} {to} {number}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let times = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        ensure!(times.len() == number, "the worker ended: {:?}", self.child.try_wait());
        Ok(times)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
