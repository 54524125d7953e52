//! Crashes of a process that writes the audit log: killed, out of disk space, on a disk that turns read-only, without a
//! page to write to, without power. Everything that it was told is recorded must be there as it was and verify, everything
//! else absent or whole.
//!
//! Run without a harness: this program starts itself as the writer. Arguments are parts of names of what is to be run;
//! `INTERCEPTOR_TEST_AUDIT=crash` runs it at full size.

mod kill;
mod volume;
mod volumes;
mod writer;

use std::io::Write as _;
use std::process::ExitCode;

use writer::Writer;

/// Leaves out what needs root: mounts.
const UNPRIVILEGED: &str = "INTERCEPTOR_TEST_UNPRIVILEGED";

type Suite = fn(bool) -> String;

/// What there is, and whether it needs root.
const SUITES: [(&str, Suite, bool); 6] = [
    ("crash::kill", kill::run, false),
    ("crash::full_disk", volumes::full_disk, true),
    ("crash::read_only", volumes::read_only, true),
    ("crash::sigbus_hole", volumes::hole, true),
    ("crash::sigbus_truncated", volumes::truncated, true),
    ("crash::power", volumes::power, true),
];

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(writer::WRITER) {
        writer::write_until_killed(dir.as_ref());
    }
    let full = std::env::var("INTERCEPTOR_TEST_AUDIT").is_ok_and(|asked| asked.split(' ').any(|word| word == "crash"));
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, suite, needs_root) in SUITES {
        if !asked.is_empty() && !asked.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        if needs_root && std::env::var_os(UNPRIVILEGED).is_some() {
            say(&format!("{name}: left out, because {UNPRIVILEGED} is set"));
            continue;
        }
        say(&format!("{name}: {}", suite(full)));
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("stdout");
}
