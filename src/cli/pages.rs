//! What a shell and `man` are told of the command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

use super::{Outcome, output};

/// Print what makes a shell complete this command line
///
/// For bash: `bancheck completions bash > ~/.local/share/bash-completion/completions/bancheck`; for
/// zsh: into `_bancheck` in a folder of $fpath; for fish: into
/// ~/.config/fish/completions/bancheck.fish.
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, mut command: clap::Command) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "bancheck", &mut script);
        output::print(&String::from_utf8(script)?)?;
        Ok(Outcome::Done)
    }
}

/// Write manual pages into a folder, one for each command
///
/// `man -l FOLDER/bancheck.1` shows the first; in a folder man1 of $MANPATH they are found by name.
#[derive(Args)]
pub(crate) struct Manual {
    /// The folder; made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Manual {
    pub(crate) fn run(&self, command: clap::Command) -> anyhow::Result<Outcome> {
        let folder = &self.folder;
        let place = || format!("cannot write to {}", folder.display());
        std::fs::create_dir_all(folder).with_context(place)?;
        clap_mangen::generate_to(command, folder).with_context(place)?;
        output::note(&format!(
            "bancheck.1 and the pages of its commands are in {}",
            folder.display()
        ));
        Ok(Outcome::Done)
    }
}
