//! How far long work is, for who looks on: on standard error, and gone when the work is done.

use std::fs::{File, Metadata};
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::AsFd;

use indicatif::{ProgressBar, ProgressStyle};

/// Of how many things, each `what`.
pub(super) fn of(count: usize, what: &str) -> ProgressBar {
    shown(ProgressBar::new(count as u64), &format!("{{bar:24}} {{pos}} of {{len}} {what}, {{eta}} left"))
}

/// Of standard input, in bytes. Where answers go to the terminal they say how far it is themselves.
pub(super) fn of_input() -> ProgressBar {
    if stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    match length() {
        Some(bytes) => shown(
            ProgressBar::new(bytes),
            "{bar:24} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
        ),
        None => shown(ProgressBar::no_length(), "{decimal_bytes}, {decimal_bytes_per_sec}"),
    }
}

/// Bytes of standard input, if it is a file.
fn length() -> Option<u64> {
    let file = File::from(stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len())
}

/// It is drawn only on a terminal.
fn shown(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
