//! The payload of a feed row: decision records, small and versioned.
//!
//! What this version cannot read becomes [`Change::Reload`]: the store itself is asked.

use serde::{Deserialize, Serialize};

use super::{
    Result, StoreError,
    rows::{self, GrantRow},
};
use crate::domain::{
    access::{AccessRecord, KeyId, KeyRecord},
    ban::Enforcement,
    channel::{Channel, Channels},
    clock::Timestamp,
    identity::{IdentityKind, MatchKind},
    ids::{BanId, ExceptionId, ListId},
    keys::{MatchKey, Space},
    list::Treatment,
    policy::FailureMode,
    queue::WithheldPolicy,
    record::{
        BanRecord, Change, ExceptionNews, ExceptionRecord, ListRecord, ProtectionRecord,
        QueueRecord, TenantRecord,
    },
};

const VERSION: u8 = 1;

/// What kind of news a row brings; the number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// No payload: only the rows themselves can tell.
    Everything = 0,
    Bans = 1,
    List = 2,
    Tenant = 3,
    Exceptions = 4,
    Queue = 5,
    Access = 6,
}

#[derive(Serialize, Deserialize)]
struct KeyWire {
    space: u8,
    width: u8,
    key: [u8; 16],
    kind: u8,
    matches: u8,
}

#[derive(Serialize, Deserialize)]
struct BanWire {
    ban: [u8; 16],
    keys: Vec<KeyWire>,
    start: Option<i64>,
    expire: Option<i64>,
    generation: u32,
    channels: u16,
    enforcement: u8,
    ended: bool,
}

#[derive(Serialize, Deserialize)]
struct ListWire {
    list_id: String,
    generation: u32,
    deleted: bool,
    treatment: u8,
    enforcement: u8,
    enforce_outbound: bool,
    queues: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct TenantWire {
    failure_mode: u8,
    default_region: String,
    email_fold: bool,
    deleted: bool,
}

#[derive(Serialize, Deserialize)]
struct QueueWire {
    queue: String,
    channel: u8,
    withheld: u8,
}

#[derive(Serialize, Deserialize)]
struct ExceptionWire {
    exception: [u8; 16],
    keys: Vec<KeyWire>,
    expire: Option<i64>,
    channels: u16,
    protected: bool,
    ended: bool,
}

#[derive(Serialize, Deserialize)]
struct ExceptionNewsWire {
    exceptions: Vec<ExceptionWire>,
    /// Names of built-in protections, and whether each is lifted.
    protections: Vec<(String, bool)>,
}

#[derive(Serialize, Deserialize)]
struct ApiKeyWire {
    id: [u8; 8],
    lock: [u8; 32],
    expire: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct AccessWire {
    principal: String,
    grants: Vec<GrantRow>,
    keys: Vec<ApiKeyWire>,
}

fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![VERSION])
        .map_err(|_| StoreError::Corrupt("records that cannot be packed"))
}

pub(super) fn bans(records: &[BanRecord]) -> Result<Vec<u8>> {
    let wire: Vec<BanWire> = records
        .iter()
        .map(|record| BanWire {
            ban: *record.ban.bytes(),
            keys: record.keys.iter().map(KeyWire::of).collect(),
            start: record.start.map(Timestamp::micros),
            expire: record.expire.map(Timestamp::micros),
            generation: record.generation,
            channels: record.channels.bits(),
            enforcement: record.enforcement as u8,
            ended: record.ended,
        })
        .collect();
    pack(&wire)
}

pub(super) fn list(record: &ListRecord) -> Result<Vec<u8>> {
    pack(&ListWire {
        list_id: record.list_id.as_str().to_owned(),
        generation: record.generation,
        deleted: record.deleted,
        treatment: record.treatment.map_or(0, |treatment| treatment as u8),
        enforcement: record.enforcement as u8,
        enforce_outbound: record.enforce_outbound,
        queues: record.queues.clone(),
    })
}

pub(super) fn tenant(record: &TenantRecord) -> Result<Vec<u8>> {
    pack(&TenantWire {
        failure_mode: record.failure_mode as u8,
        default_region: record.default_region.clone(),
        email_fold: record.email_fold,
        deleted: record.deleted,
    })
}

pub(super) fn queue(record: &QueueRecord) -> Result<Vec<u8>> {
    pack(&QueueWire {
        queue: record.queue.clone(),
        channel: record.channel as u8,
        withheld: record.withheld as u8,
    })
}

pub(super) fn exceptions(news: &ExceptionNews) -> Result<Vec<u8>> {
    let exception = |record: &ExceptionRecord| ExceptionWire {
        exception: *record.exception.bytes(),
        keys: record.keys.iter().map(KeyWire::of).collect(),
        expire: record.expire.map(Timestamp::micros),
        channels: record.channels.bits(),
        protected: record.protected,
        ended: record.ended,
    };
    let protection = |record: &ProtectionRecord| (record.name.clone(), record.lifted);
    pack(&ExceptionNewsWire {
        exceptions: news.exceptions.iter().map(exception).collect(),
        protections: news.protections.iter().map(protection).collect(),
    })
}

pub(super) fn access(record: &AccessRecord) -> Result<Vec<u8>> {
    let AccessRecord {
        principal,
        grants,
        keys,
    } = record;
    pack(&AccessWire {
        principal: principal.clone(),
        grants: grants.iter().map(GrantRow::of).collect(),
        keys: keys
            .iter()
            .map(|KeyRecord { id, lock, expire }| ApiKeyWire {
                id: *id.bytes(),
                lock: *lock,
                expire: expire.map(Timestamp::micros),
            })
            .collect(),
    })
}

/// Reads a payload; anything unknown asks for a reload.
pub(super) fn read(kind: i64, payload: &[u8]) -> Change {
    let Some((&VERSION, body)) = payload.split_first() else {
        return Change::Reload;
    };
    let change = match kind {
        1 => unpack::<Vec<BanWire>>(body)
            .and_then(|bans| bans.iter().map(BanWire::record).collect::<Option<_>>())
            .map(Change::Bans),
        2 => unpack::<ListWire>(body)
            .and_then(ListWire::record)
            .map(Change::List),
        3 => unpack::<TenantWire>(body)
            .and_then(TenantWire::record)
            .map(Change::Tenant),
        4 => unpack::<ExceptionNewsWire>(body)
            .and_then(ExceptionNewsWire::news)
            .map(Change::Exceptions),
        5 => unpack::<QueueWire>(body)
            .and_then(QueueWire::record)
            .map(Change::Queue),
        6 => unpack::<AccessWire>(body)
            .and_then(AccessWire::record)
            .map(Change::Access),
        _ => None,
    };
    change.unwrap_or(Change::Reload)
}

fn unpack<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    postcard::from_bytes(body).ok()
}

impl BanWire {
    fn record(&self) -> Option<BanRecord> {
        let keys = self.keys.iter().map(KeyWire::key).collect::<Option<_>>()?;
        Some(BanRecord {
            ban: BanId::from_bytes(self.ban),
            keys,
            start: self.start.map(Timestamp::from_micros),
            expire: self.expire.map(Timestamp::from_micros),
            generation: self.generation,
            channels: Channels::from_bits(self.channels),
            enforcement: Enforcement::from_number(self.enforcement.into())?,
            ended: self.ended,
        })
    }
}

impl ExceptionNewsWire {
    fn news(self) -> Option<ExceptionNews> {
        let exception = |wire: ExceptionWire| {
            Some(ExceptionRecord {
                exception: ExceptionId::from_bytes(wire.exception),
                keys: wire.keys.iter().map(KeyWire::key).collect::<Option<_>>()?,
                expire: wire.expire.map(Timestamp::from_micros),
                channels: Channels::from_bits(wire.channels),
                protected: wire.protected,
                ended: wire.ended,
            })
        };
        let protections = self.protections.into_iter();
        Some(ExceptionNews {
            exceptions: self
                .exceptions
                .into_iter()
                .map(exception)
                .collect::<Option<_>>()?,
            protections: protections
                .map(|(name, lifted)| ProtectionRecord { name, lifted })
                .collect(),
        })
    }
}

impl KeyWire {
    fn of(key: &MatchKey) -> Self {
        Self {
            space: key.space as u8,
            width: key.width,
            key: key.key.bits().to_be_bytes(),
            kind: key.kind as u8,
            matches: key.matches as u8,
        }
    }

    fn key(&self) -> Option<MatchKey> {
        Some(MatchKey {
            space: match self.space {
                1 => Space::Digest,
                2 => Space::Range,
                _ => return None,
            },
            width: self.width,
            key: rows::key(&self.key).ok()?,
            kind: IdentityKind::from_number(self.kind.into())?,
            matches: MatchKind::from_number(self.matches.into())?,
        })
    }
}

impl ListWire {
    fn record(self) -> Option<ListRecord> {
        Some(ListRecord {
            list_id: ListId::parse(&self.list_id)?,
            generation: self.generation,
            deleted: self.deleted,
            treatment: match self.treatment {
                0 => None,
                number => Some(Treatment::from_number(number.into())?),
            },
            enforcement: Enforcement::from_number(self.enforcement.into())?,
            enforce_outbound: self.enforce_outbound,
            queues: self.queues,
        })
    }
}

impl AccessWire {
    fn record(self) -> Option<AccessRecord> {
        let Self {
            principal,
            grants,
            keys,
        } = self;
        let key = |ApiKeyWire { id, lock, expire }| KeyRecord {
            id: KeyId::from_bytes(id),
            lock,
            expire: expire.map(Timestamp::from_micros),
        };
        Some(AccessRecord {
            principal,
            grants: grants
                .into_iter()
                .map(GrantRow::into_grant)
                .collect::<Option<_>>()?,
            keys: keys.into_iter().map(key).collect(),
        })
    }
}

impl TenantWire {
    fn record(self) -> Option<TenantRecord> {
        Some(TenantRecord {
            failure_mode: FailureMode::from_number(self.failure_mode.into())?,
            default_region: self.default_region,
            email_fold: self.email_fold,
            deleted: self.deleted,
        })
    }
}

impl QueueWire {
    fn record(self) -> Option<QueueRecord> {
        Some(QueueRecord {
            queue: self.queue,
            channel: Channel::from_number(self.channel.into())?,
            withheld: WithheldPolicy::from_number(self.withheld.into())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        caller::{Grant, Scope},
        ids::TenantId,
        view::index::Key,
    };

    fn record() -> BanRecord {
        BanRecord {
            ban: BanId::from_bytes([3; 16]),
            keys: vec![MatchKey {
                space: Space::Range,
                width: 120,
                key: Key::from(42),
                kind: IdentityKind::IpAddress,
                matches: MatchKind::Cidr,
            }],
            start: Some(Timestamp::from_micros(1)),
            expire: None,
            generation: 7,
            channels: Channels::of(&[Channel::WebChat]),
            enforcement: Enforcement::Shadow,
            ended: false,
        }
    }

    #[test]
    fn records_come_out_of_the_feed_as_they_went_in() {
        let payload = bans(&[record()]).unwrap();
        assert_eq!(
            read(Kind::Bans as i64, &payload),
            Change::Bans(vec![record()])
        );
        let gone = ListRecord {
            list_id: ListId::parse("l").unwrap(),
            generation: 2,
            deleted: true,
            treatment: Some(Treatment::DropSilently),
            enforcement: Enforcement::Enforced,
            enforce_outbound: true,
            queues: vec!["q".into()],
        };
        assert_eq!(
            read(Kind::List as i64, &list(&gone).unwrap()),
            Change::List(gone)
        );
        let policy = QueueRecord {
            queue: "q".into(),
            channel: Channel::Sms,
            withheld: WithheldPolicy::Deny,
        };
        assert_eq!(
            read(Kind::Queue as i64, &queue(&policy).unwrap()),
            Change::Queue(policy)
        );
        let news = ExceptionNews {
            exceptions: vec![ExceptionRecord {
                exception: ExceptionId::from_bytes([5; 16]),
                keys: record().keys,
                expire: Some(Timestamp::from_micros(2)),
                channels: record().channels,
                protected: true,
                ended: false,
            }],
            protections: vec![ProtectionRecord {
                name: "private-10".to_owned(),
                lifted: true,
            }],
        };
        assert_eq!(
            read(Kind::Exceptions as i64, &exceptions(&news).unwrap()),
            Change::Exceptions(news)
        );
        let narrow = Grant {
            tenant: TenantId::parse("acme"),
            scopes: [Scope::Check, Scope::Link].into_iter().collect(),
            queues: vec!["q".into()],
            may_act_for: true,
            rights_profile: "agents".into(),
        };
        let known = AccessRecord {
            principal: "backend".into(),
            grants: vec![narrow],
            keys: vec![KeyRecord {
                id: KeyId::from_bytes([1; 8]),
                lock: [2; 32],
                expire: Some(Timestamp::from_micros(3)),
            }],
        };
        assert_eq!(
            read(Kind::Access as i64, &access(&known).unwrap()),
            Change::Access(known)
        );
    }

    #[test]
    fn what_this_version_cannot_read_asks_for_a_reload() {
        let mut newer = bans(&[record()]).unwrap();
        newer[0] = VERSION + 1;
        assert_eq!(read(Kind::Bans as i64, &newer), Change::Reload);
        assert_eq!(read(99, &bans(&[]).unwrap()), Change::Reload);
        assert_eq!(read(Kind::Bans as i64, b""), Change::Reload);
        assert_eq!(read(Kind::Bans as i64, &[VERSION, 5, 1]), Change::Reload);
    }
}
