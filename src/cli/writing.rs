//! What every write may be told beside what to write.

use clap::Args;

use super::output;

const HEADING: &str = "Writing";

/// The flags of every command that changes something.
#[derive(Args)]
pub(crate) struct WriteFlags {
    /// On whose behalf; another name than the credential's needs the right to act for others
    /// [default: the credential's]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, help_heading = HEADING)]
    pub(crate) actor: String,
    /// Your own id of this write, at most 64 bytes: repeated within a day, it is done once
    /// [default: none]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, help_heading = HEADING)]
    pub(crate) request_id: String,
    /// Check everything and answer as if it were done, but change nothing
    #[arg(long, help_heading = HEADING)]
    pub(crate) dry_run: bool,
}

impl WriteFlags {
    /// Says, beside the answer, that nothing was changed.
    pub(crate) fn remind(&self) {
        if self.dry_run {
            output::note("dry run: nothing was changed");
        }
    }
}
