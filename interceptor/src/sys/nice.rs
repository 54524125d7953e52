//! Threads that step back for others.

use nix::errno::Errno;
use nix::libc;
use nix::unistd::gettid;

/// What is added to nothing: a thread so nice gets about a tenth of a processor that others want whole.
const NICE: i32 = 10;

/// Lowers the priority of the calling thread, and of no other: traffic goes first. Where that is refused, the thread runs
/// as the others do.
pub fn yield_to_others() {
    if let Err(error) = lower() {
        let thread = std::thread::current();
        log::debug!("{}: runs at the priority of the others: {error}", thread.name().unwrap_or("a thread"));
    }
}

fn lower() -> Result<(), Errno> {
    let thread = gettid().as_raw().cast_unsigned();
    // SAFETY: the call takes numbers and touches no memory of ours. Linux has a nice value for each thread, and takes
    // the id of a thread for that of a process.
    #[expect(unsafe_code, reason = "no safe wrapper exists for setpriority")]
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, NICE) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_alone_steps_back() {
        fn nice() -> i64 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(16).unwrap().parse().unwrap()
        }
        let before = nice();
        let there = std::thread::spawn(|| {
            yield_to_others();
            nice()
        });
        assert_eq!(there.join().unwrap(), i64::from(NICE));
        assert_eq!(nice(), before);
    }
}
