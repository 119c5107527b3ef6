//! What is left beside a file while its import is not done: the id by which it goes on.

use std::{fs, path::PathBuf};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest, Sha256};

use super::row::Content;
use crate::api::v1::import_bans_request::Header;

/// The note of an import that is under way or was broken off.
pub(super) struct Unfinished {
    /// The import's request id.
    pub(super) request_id: String,
    /// Whether the very same import was begun before.
    pub(super) goes_on: bool,
    note: PathBuf,
}

impl Unfinished {
    /// Finds the note of an import from this file, or leaves one.
    ///
    /// The id is new for each run that was not broken off: under one that stayed the same, the
    /// server would answer from memory although its bans may have been lifted since.
    pub(super) fn of(file: &str, header: &Header, rows: &Content) -> anyhow::Result<Self> {
        let note = PathBuf::from(format!("{file}.unfinished"));
        let digest = Sha256::new()
            .chain_update(header.encode_length_delimited_to_vec())
            .chain_update(rows.digest());
        let digest = BASE64_URL_SAFE_NO_PAD.encode(digest.finalize());
        let left = fs::read_to_string(&note).unwrap_or_default();
        if let Some((id, _)) = left
            .trim_end()
            .split_once(' ')
            .filter(|(_, known)| *known == digest)
        {
            return Ok(Self {
                request_id: id.to_owned(),
                goes_on: true,
                note,
            });
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).context("the system gives no random bytes")?;
        let request_id = BASE64_URL_SAFE_NO_PAD.encode(id);
        fs::write(&note, format!("{request_id} {digest}\n"))
            .with_context(|| format!("cannot write {}", note.display()))?;
        Ok(Self {
            request_id,
            goes_on: false,
            note,
        })
    }

    /// The import is done; a note that stays would only have the server answer from memory.
    pub(super) fn done(self) {
        let _ = fs::remove_file(self.note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::import_bans_request::Row;

    #[test]
    fn the_same_import_goes_on_under_its_id_and_any_other_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bans.csv").display().to_string();
        let rows = vec![Row::default(); 3];
        let begin = |rows: &[Row]| {
            let mut content = Content::default();
            for row in rows {
                content.add(row);
            }
            Unfinished::of(&file, &Header::default(), &content).unwrap()
        };
        let first = begin(&rows);
        assert!(!first.goes_on && first.request_id.len() <= 64);
        let again = begin(&rows);
        assert!(again.goes_on && again.request_id == first.request_id);
        let other = begin(&rows[1..]);
        assert!(!other.goes_on && other.request_id != first.request_id);
        other.done();
        assert!(!begin(&rows[1..]).goes_on);
    }
}
