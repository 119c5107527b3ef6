//! The master key as text.

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The most keys that are recognised beside the current one.
const MOST_OTHERS: usize = 3;

/// A master key from its text.
pub fn read_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = STANDARD.decode(text.trim()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .context("a master key is 32 bytes in base64, as `bancheck key generate` makes them")
}

/// Reads some master keys, with commas between them.
pub(super) fn read_keys(text: &str) -> anyhow::Result<Vec<[u8; 32]>> {
    let texts = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let keys: Vec<_> = texts.map(read_key).collect::<anyhow::Result<_>>()?;
    ensure!(
        keys.len() <= MOST_OTHERS,
        "{MOST_OTHERS} other master keys are recognised at the most: each costs every check a look"
    );
    Ok(keys)
}

/// A master key as text.
pub fn key_text(key: &[u8; 32]) -> String {
    STANDARD.encode(key)
}

/// A new master key, as text.
pub fn new_key() -> anyhow::Result<String> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(key_text(&key))
}
