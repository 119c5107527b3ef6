//! A tenant's state in 128 bits: two views that digest alike hold the same.
//!
//! Every entry, every list, every queue's policy, every lifted protection and the tenant itself are
//! hashed one by one, and the hashes are summed. A sum knows no order and can be taken back, so a
//! change costs two hashes however many bans there are, and it does not matter by which road a state
//! was reached. It finds what went wrong by itself; it is no seal against somebody who builds two
//! states that sum alike.
//!
//! **Invariant:** the same state digests alike on every pod, machine and store. Each part is laid
//! out here byte by byte, numbers with the highest byte first; whoever changes a layout, or what a
//! view keeps, counts [`VERSION`] up, and digests of two versions never compare as equal.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

use super::{
    keys::Space,
    record::{ListRecord, QueueRecord, TenantRecord},
    view::index::Entry,
};

/// The layout of what is hashed; part of a digest's text.
pub const VERSION: u8 = 3;

/// What each part begins with, so that no part can pass for one of another kind.
const ENTRY: u8 = b'e';
const LIST: u8 = b'l';
const TENANT: u8 = b't';
const QUEUE: u8 = b'q';
const EXCEPTION: u8 = b'x';
const LIFTED: u8 = b'p';

/// Two bytes more than the entry itself: what it is, and its space.
const ENTRY_BYTES: usize = 2 + 56;

/// The digest of a state, or of a part of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// The digest of one entry of a ban in its space.
    pub fn of_entry(space: Space, entry: &Entry) -> Self {
        Self::of_filed(ENTRY, space, entry)
    }

    /// The digest of one entry of an exception in its space.
    pub fn of_exception(space: Space, entry: &Entry) -> Self {
        Self::of_filed(EXCEPTION, space, entry)
    }

    fn of_filed(what: u8, space: Space, entry: &Entry) -> Self {
        let Entry {
            key,
            ban,
            starts,
            ends,
            list,
            channels,
            kind,
            flags,
        } = entry;
        let mut bytes = [0; ENTRY_BYTES];
        let mut at = 0;
        for part in [
            &[what, space as u8][..],
            &key.bits().to_be_bytes(),
            ban.bytes(),
            &starts.to_be_bytes(),
            &ends.to_be_bytes(),
            &list.to_be_bytes(),
            &channels.to_be_bytes(),
            &[*kind, *flags],
        ] {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        debug_assert_eq!(at, ENTRY_BYTES, "every byte of the layout is written");
        Self(xxh3_128(&bytes))
    }

    /// The digest of one list. Its queues are a set: in which order they come does not matter.
    pub fn of_list(list: &ListRecord) -> Self {
        let ListRecord {
            list_id,
            generation,
            deleted,
            treatment,
            enforcement,
            enforce_outbound,
            queues,
        } = list;
        let mut bytes = vec![LIST];
        text(&mut bytes, list_id.as_str());
        bytes.extend(generation.to_be_bytes());
        bytes.extend([
            u8::from(*deleted),
            treatment.map_or(0, |treatment| treatment as u8),
            *enforcement as u8,
            u8::from(*enforce_outbound),
        ]);
        let mut sorted: Vec<&str> = queues.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        for queue in sorted {
            text(&mut bytes, queue);
        }
        Self(xxh3_128(&bytes))
    }

    /// The digest of the tenant's own record.
    pub fn of_tenant(tenant: &TenantRecord) -> Self {
        let TenantRecord {
            failure_mode,
            default_region,
            email_fold,
            deleted,
        } = tenant;
        let mut bytes = vec![
            TENANT,
            *failure_mode as u8,
            u8::from(*email_fold),
            u8::from(*deleted),
        ];
        text(&mut bytes, default_region);
        Self(xxh3_128(&bytes))
    }

    /// The digest of one queue's policy.
    pub fn of_queue(policy: &QueueRecord) -> Self {
        let QueueRecord {
            queue,
            channel,
            withheld,
        } = policy;
        let mut bytes = vec![QUEUE, *channel as u8, *withheld as u8];
        text(&mut bytes, queue);
        Self(xxh3_128(&bytes))
    }

    /// The digest of a built-in protection that is lifted.
    pub fn of_lifted(name: &str) -> Self {
        let mut bytes = vec![LIFTED];
        text(&mut bytes, name);
        Self(xxh3_128(&bytes))
    }

    /// The digest of what both are of.
    #[must_use]
    pub const fn with(self, part: Self) -> Self {
        Self(self.0.wrapping_add(part.0))
    }

    /// The digest of what is left when a part is taken away.
    #[must_use]
    pub const fn without(self, part: Self) -> Self {
        Self(self.0.wrapping_sub(part.0))
    }

    /// The digest as a number.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

/// Words with their length, so that two of them cannot be cut at another place.
fn text(bytes: &mut Vec<u8>, words: &str) {
    bytes.extend((words.len() as u64).to_be_bytes());
    bytes.extend(words.as_bytes());
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{VERSION}:{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ban::Enforcement,
        channel::Channel,
        ids::{BanId, ListId},
        list::Treatment,
        policy::FailureMode,
        queue::WithheldPolicy,
        view::index::Key,
    };

    const ONE: Entry = Entry {
        key: Key::from_bits(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f),
        ban: BanId::from_bytes([7; 16]),
        starts: i64::MIN,
        ends: 1_800_000_000_000_000,
        list: 3,
        channels: 0b1000,
        kind: 2,
        flags: 3,
    };

    fn list() -> ListRecord {
        ListRecord {
            list_id: ListId::parse("rude").unwrap(),
            generation: 3,
            deleted: false,
            treatment: Some(Treatment::DropSilently),
            enforcement: Enforcement::Shadow,
            enforce_outbound: true,
            queues: vec!["support".into(), "sales".into()],
        }
    }

    fn tenant() -> TenantRecord {
        TenantRecord {
            failure_mode: FailureMode::Closed,
            default_region: "CZ".into(),
            email_fold: true,
            deleted: false,
        }
    }

    fn queue() -> QueueRecord {
        QueueRecord {
            queue: "support".into(),
            channel: Channel::Call,
            withheld: WithheldPolicy::Deny,
        }
    }

    /// Pods of two builds compare their digests. Where this fails, count [`VERSION`] up and write
    /// the new digests here.
    #[test]
    fn the_layout_is_the_same_in_every_build() {
        let parts = [
            Digest::of_entry(Space::Digest, &ONE),
            Digest::of_entry(Space::Range, &ONE),
            Digest::of_list(&list()),
            Digest::of_tenant(&tenant()),
            Digest::of_queue(&queue()),
            Digest::of_exception(Space::Digest, &ONE),
            Digest::of_lifted("private-10"),
        ];
        let known = [
            "v3:2c3ed1ab9837827c3704cc1e9f23d115",
            "v3:5744c12213bd6249eeaf110095ed91e0",
            "v3:ee88759e923c006b3491082f401accc2",
            "v3:f3afd03f515cddc1dd2291cecdc68317",
            "v3:1b478959f98ddc9599fe318bf99d7dbb",
            "v3:8cba8a69a5d0ba1a681e667fa8f73f99",
            "v3:0a5ed68d3af3816e770f3f71efebeb16",
        ];
        assert_eq!(parts.map(|part| part.to_string()), known);
    }

    #[test]
    fn a_part_taken_away_leaves_no_trace() {
        let rest = Digest::of_list(&list());
        let part = Digest::of_entry(Space::Digest, &ONE);
        assert_eq!(rest.with(part).without(part), rest);
        assert_eq!(rest.with(part), part.with(rest));
        assert_ne!(rest.with(part), rest);
    }

    #[test]
    fn queues_are_a_set_and_are_told_apart_by_their_lengths() {
        let with = |queues: &[&str]| {
            let queues = queues.iter().map(ToString::to_string).collect();
            Digest::of_list(&ListRecord { queues, ..list() })
        };
        assert_eq!(with(&["a", "b"]), with(&["b", "a"]));
        assert_eq!(with(&["a", "b", "a"]), with(&["b", "a"]));
        assert_ne!(with(&["ab"]), with(&["a", "b"]));
        assert_ne!(with(&["a"]), with(&["a", ""]));
    }
}
