//! Keys made on the spot.

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Subcommand;
use serde_json::json;

use super::{
    Outcome, Session,
    output::{self, Format},
};

/// What to do about keys.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Print 32 random bytes in base64: a master key for the server's `BANCHECK_MASTER_KEY`
    ///
    /// Every pod needs the same one, and it is kept in no database: losing it loses the means to
    /// match what was banned under it.
    Generate,
}

impl KeyCommand {
    pub(crate) fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let Self::Generate = self;
        let key = generate()?;
        match session.display.format() {
            Format::Table => output::print(&format!("{key}\n"))?,
            Format::Csv => output::print(&format!("key\n{key}\n"))?,
            Format::Json => output::json(&json!({ "key": key }))?,
        }
        Ok(Outcome::Done)
    }
}

/// A new master key.
fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_and_never_the_same() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(BASE64_STANDARD.decode(&one).unwrap().len(), 32);
        assert_ne!(one, other);
    }
}
