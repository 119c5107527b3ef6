//! How far the server's clock can be from ours, by what it said between two looks at ours.

use chrono::{DateTime, TimeDelta, Utc};

/// Farther apart than this, clocks are wrong.
const TOLERATED: TimeDelta = TimeDelta::seconds(1);

/// All that is known so far.
#[derive(Default)]
pub(super) struct Clocks(Option<Apart>);

/// How much later the server's clock is than ours: at least and at most.
#[derive(Clone, Copy)]
pub(super) struct Apart {
    least: TimeDelta,
    most: TimeDelta,
}

impl Clocks {
    /// Notes that at some instant between two of ours the server's clock stood between two of its.
    pub(super) fn note(&mut self, ours: [DateTime<Utc>; 2], its: [DateTime<Utc>; 2]) {
        let new = Apart {
            least: its[0] - ours[1],
            most: its[1] - ours[0],
        };
        let known = self.0.get_or_insert(new);
        known.least = known.least.max(new.least);
        known.most = known.most.min(new.most);
    }

    /// What has come of it.
    pub(super) fn apart(&self) -> Option<Apart> {
        self.0
    }
}

impl Apart {
    /// Whether they may well be right.
    pub(super) fn is_fine(self) -> bool {
        self.least <= TOLERATED && self.most >= -TOLERATED
    }

    /// In words.
    pub(super) fn told(self) -> String {
        let seconds = |apart: TimeDelta| {
            let milliseconds = apart.num_milliseconds().saturating_add(1);
            if milliseconds < 1_000 {
                format!("{milliseconds} ms")
            } else {
                format!("{} s", (milliseconds + 999) / 1_000)
            }
        };
        if self.least > TOLERATED {
            format!("the server's is at least {} ahead", seconds(self.least))
        } else if self.most < -TOLERATED {
            format!("the server's is at least {} behind", seconds(-self.most))
        } else {
            let most = self.least.abs().max(self.most.abs());
            format!("within {} of the server's", seconds(most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(milliseconds).unwrap()
    }

    fn apart(looks: &[([i64; 2], [i64; 2])]) -> Apart {
        let mut clocks = Clocks::default();
        for (ours, its) in looks {
            clocks.note(ours.map(at), its.map(at));
        }
        clocks.apart().unwrap()
    }

    #[test]
    fn clocks_are_wrong_only_when_they_must_be() {
        assert!(apart(&[([5_000, 5_010], [5_000, 6_000])]).is_fine());
        let ahead = apart(&[([5_000, 5_010], [65_000, 66_000])]);
        assert!(!ahead.is_fine());
        assert!(ahead.told().ends_with("60 s ahead"), "{}", ahead.told());
        let behind = apart(&[([65_000, 65_010], [5_000, 6_000])]);
        assert!(!behind.is_fine());
        assert!(behind.told().ends_with("60 s behind"), "{}", behind.told());
    }

    #[test]
    fn the_sharpest_look_counts() {
        let looks = [
            ([5_000, 5_010], [5_000, 6_000]),
            ([5_020, 5_030], [5_024, 5_024]),
        ];
        assert_eq!(apart(&looks).told(), "within 7 ms of the server's");
    }
}
