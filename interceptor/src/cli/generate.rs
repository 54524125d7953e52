//! `interceptor completions` and `interceptor man`: what shells and `man` know of this program, from its own help.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Failure};

/// Arguments of `interceptor completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor completions bash > /usr/share/bash-completion/completions/interceptor
  interceptor completions zsh > /usr/share/zsh/vendor-completions/_interceptor
  interceptor completions fish > /usr/share/fish/vendor_completions.d/interceptor.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// Arguments of `interceptor man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor man /usr/share/man/man1
  interceptor man . && man ./interceptor-log-list.1

One page for each subcommand. The directory must exist; pages of the same name are replaced.")]
pub(super) struct Man {
    /// Where the pages are written
    dir: PathBuf,
}

pub(super) fn completions(args: &Completions) -> ExitCode {
    clap_complete::generate(args.shell, &mut Cli::command(), "interceptor", &mut io::stdout());
    ExitCode::SUCCESS
}

pub(super) fn man(args: &Man) -> Result<ExitCode, Failure> {
    if !args.dir.is_dir() {
        return Err(format!("{} is no directory: make it first", args.dir.display()).into());
    }
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(|e| format!("{}: {e}", args.dir.display()))?;
    let pages = fs::read_dir(&args.dir)?.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with("interceptor") && name.ends_with(".1"))
    });
    eprintln!("interceptor: {} pages in {}", pages.count(), args.dir.display());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_shell_gets_its_completions() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "interceptor", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("replay") && script.contains("max-pause"), "{shell}");
        }
    }

    #[test]
    fn there_is_a_page_for_each_subcommand() {
        let dir = tempfile::tempdir().unwrap();
        man(&Man { dir: dir.path().to_path_buf() }).unwrap();
        for page in ["interceptor.1", "interceptor-log.1", "interceptor-log-list.1", "interceptor-scan.1"] {
            assert!(fs::read_to_string(dir.path().join(page)).unwrap().contains("interceptor"), "{page}");
        }
        assert!(man(&Man { dir: dir.path().join("missing") }).is_err());
    }
}
