//! The master key as text.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};

/// A master key from its text.
pub fn read_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = STANDARD.decode(text.trim()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .context("a master key is 32 bytes in base64, as `bancheck key generate` makes them")
}

/// A new master key, as text.
pub fn new_key() -> anyhow::Result<String> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(STANDARD.encode(key))
}
