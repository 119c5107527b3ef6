//! Where a pod stands in the feed, and the token that tells it.

use super::{
    clock::Timestamp,
    hex::{hex, unhex},
    keys::Seal,
};

/// A place in the feed: dense, in commit order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A random mark of one feed row, by which two histories with the same revision are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nonce(pub u32);

/// One history of the feed; grows when a restore or a failover forked it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch of the history that begins where one of this epoch was found to be forked.
    ///
    /// A database that was put back may have forgotten how far epochs had come; the time has not.
    #[must_use]
    pub fn after_fork(self, now: Timestamp) -> Self {
        let seconds = u32::try_from(now.micros() / 1_000_000).unwrap_or_default();
        Self(self.0.saturating_add(1).max(seconds))
    }
}

/// A row of the feed: which, and its mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// Its place.
    pub revision: Revision,
    /// Its mark.
    pub nonce: Nonce,
}

/// What a token says: this row of this history has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub epoch: Epoch,
    /// The row.
    pub anchor: Anchor,
}

/// Why a token cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It is not a token at all.
    Malformed,
    /// It was not made by this deployment.
    Foreign,
}

const BYTES: usize = 16;
const SIGNED: usize = BYTES + 8;

impl Position {
    /// The token: 24 bytes in hexadecimal, so that the greater text is the newer position.
    pub fn token(&self, seal: &Seal) -> String {
        let mut bytes = self.bytes().to_vec();
        bytes.extend(seal.sign(&bytes));
        hex(&bytes)
    }

    /// Reads a token that [`Self::token`] made under the same key.
    pub fn read(token: &str, seal: &Seal) -> Result<Self, BadToken> {
        let bytes = unhex(token).filter(|bytes| bytes.len() == SIGNED);
        let bytes = bytes.ok_or(BadToken::Malformed)?;
        let (said, signature) = bytes.split_at(BYTES);
        if !seal.verify(said, signature) {
            return Err(BadToken::Foreign);
        }
        let number = |range: std::ops::Range<usize>| {
            said[range]
                .iter()
                .fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let short = |range| u32::try_from(number(range)).map_err(|_| BadToken::Malformed);
        Ok(Self {
            epoch: Epoch(short(0..4)?),
            anchor: Anchor {
                revision: Revision(number(4..12)),
                nonce: Nonce(short(12..16)?),
            },
        })
    }

    fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.anchor.revision.0.to_be_bytes());
        bytes[12..].copy_from_slice(&self.anchor.nonce.0.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::MasterKey;

    fn at(epoch: u32, revision: u64) -> Position {
        let anchor = Anchor {
            revision: Revision(revision),
            nonce: Nonce(0xfeed),
        };
        Position {
            epoch: Epoch(epoch),
            anchor,
        }
    }

    #[test]
    fn a_newer_token_is_the_greater_text() {
        let seal = MasterKey::new(&[1; 32]).seal("token");
        let tokens = [at(1, 9), at(1, 10), at(1, 4_000_000_000), at(2, 1)].map(|p| p.token(&seal));
        assert!(tokens.is_sorted());
        assert_eq!(tokens[0].len(), 48);
    }

    #[test]
    fn a_token_reads_back_and_another_deployments_is_foreign() {
        let seal = MasterKey::new(&[1; 32]).seal("token");
        let token = at(3, 77).token(&seal);
        assert_eq!(Position::read(&token, &seal), Ok(at(3, 77)));
        let other = MasterKey::new(&[2; 32]).seal("token");
        assert_eq!(Position::read(&token, &other), Err(BadToken::Foreign));
        for bad in [
            "",
            "zz",
            &token[1..],
            &token.to_uppercase(),
            &"é".repeat(24),
        ] {
            assert_eq!(
                Position::read(bad, &seal),
                Err(BadToken::Malformed),
                "{bad}"
            );
        }
    }
}
