//! What a dry run would have made: nothing of it is in the store, and a later row may repeat it.

/// Eight bytes of each likeness, in sorted runs of which each is much longer than the next, so
/// that ten million rows take 80 MB and not the several times more of a hash set that grows.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<Vec<u64>>);

impl Seen {
    /// Whether a ban of this likeness would have been made.
    pub(super) fn holds(&self, likeness: &[u8; 16]) -> bool {
        let short = short(likeness);
        self.0.iter().any(|run| run.binary_search(&short).is_ok())
    }

    /// Notes that bans of these likenesses would have been made.
    pub(super) fn note(&mut self, likenesses: impl Iterator<Item = [u8; 16]>) {
        let mut run: Vec<u64> = likenesses.map(|likeness| short(&likeness)).collect();
        run.sort_unstable();
        while let Some(mut last) = self.0.pop_if(|last| last.len() / 2 <= run.len()) {
            last.append(&mut run);
            last.sort_unstable();
            run = last;
        }
        self.0.push(run);
    }
}

/// The likeness is a keyed digest: its first half is as good as random.
fn short(likeness: &[u8; 16]) -> u64 {
    let half = likeness.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_held_however_many_came_after() {
        let likeness = |at: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            bytes
        };
        let mut seen = Seen::default();
        for chunk in 0..200 {
            seen.note((0..10).map(|at| likeness(chunk * 10 + at)));
        }
        assert!((0..2_000).all(|at| seen.holds(&likeness(at))));
        assert!(!(2_000..4_000).any(|at| seen.holds(&likeness(at))));
        assert!(seen.0.len() < 12, "{} runs", seen.0.len());
    }
}
