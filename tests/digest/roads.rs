//! Whichever road led to a state, its digest is that of a fresh load of it.

use std::collections::{BTreeMap, BTreeSet};

use bancheck::domain::{
    ban::{BanId, Enforcement},
    channel::{Channel, Channels},
    clock::Timestamp,
    digest::Digest,
    identity::{IdentityKind, MatchKind},
    ids::{ExceptionId, ListId, TenantId},
    keys::{MasterKey, MatchKey, Space},
    list::Treatment,
    policy::FailureMode,
    queue::WithheldPolicy,
    record::{
        BanRecord, Change, ExceptionNews, ExceptionRecord, ListRecord, News, ProtectionRecord,
        QueueRecord, TenantRecord,
    },
    revision::{Anchor, Nonce, Revision},
    view::{Loading, TenantView, index::Key},
};
use proptest::prelude::*;

/// What a store would hold.
#[derive(Clone, Debug)]
struct State {
    tenant: TenantRecord,
    lists: BTreeMap<u8, ListRecord>,
    queues: BTreeMap<String, QueueRecord>,
    bans: BTreeMap<u8, BanRecord>,
    exceptions: BTreeMap<u8, ExceptionRecord>,
    lifted: BTreeSet<String>,
}

impl Default for State {
    fn default() -> Self {
        let tenant = TenantRecord {
            failure_mode: FailureMode::Open,
            default_region: String::new(),
            email_fold: true,
            deleted: false,
        };
        Self {
            tenant,
            lists: BTreeMap::new(),
            queues: BTreeMap::new(),
            bans: BTreeMap::new(),
            exceptions: BTreeMap::new(),
            lifted: BTreeSet::new(),
        }
    }
}

impl State {
    fn write(&mut self, change: &Change) {
        match change {
            Change::Bans(bans) => {
                for ban in bans {
                    let id = ban.ban.bytes()[0];
                    if ban.ended {
                        self.bans.remove(&id);
                    } else {
                        self.bans.insert(id, ban.clone());
                    }
                }
            }
            Change::List(list) => {
                let id = list.list_id.as_str().as_bytes()[0];
                if list.deleted {
                    self.lists.remove(&id);
                } else {
                    self.lists.insert(id, list.clone());
                }
            }
            Change::Tenant(tenant) => self.tenant = tenant.clone(),
            Change::Queue(queue) => {
                self.queues.insert(queue.queue.clone(), queue.clone());
            }
            Change::Exceptions(news) => {
                for exception in &news.exceptions {
                    let id = exception.exception.bytes()[0];
                    if exception.ended {
                        self.exceptions.remove(&id);
                    } else {
                        self.exceptions.insert(id, exception.clone());
                    }
                }
                for protection in &news.protections {
                    if protection.lifted {
                        self.lifted.insert(protection.name.clone());
                    } else {
                        self.lifted.remove(&protection.name);
                    }
                }
            }
            Change::Access(_) | Change::Reload => {}
        }
    }

    /// The view that a load makes, its rows one a key, in pages, in an order of the store's own.
    fn load(&self, page: usize, order: u64) -> TenantView {
        let key = MasterKey::new(&[3; 32]).tenant(&TenantId::parse("t").expect("an id"));
        let mut lists: Vec<_> = self.lists.values().cloned().collect();
        let mut rows: Vec<BanRecord> = self.bans.values().flat_map(row_a_key).collect();
        lists.sort_by_key(|list| u64::from(list.generation).wrapping_mul(order | 1) >> 7);
        rows.sort_by_key(|row| row.keys[0].key.bits().wrapping_mul(u128::from(order | 1)) >> 70);
        let queues = self.queues.values().cloned().collect();
        let exceptions = ExceptionNews {
            exceptions: self.exceptions.values().cloned().collect(),
            protections: self
                .lifted
                .iter()
                .map(|name| protection(name, true))
                .collect(),
        };
        let view = TenantView::empty(Revision(1), self.tenant.clone(), key)
            .with_lists(lists)
            .with_queues(queues)
            .with_exceptions(&exceptions);
        let mut loading = Loading::of(view);
        for page in rows.chunks(page) {
            loading.add(page);
        }
        loading.view()
    }

    fn digest(&self) -> Digest {
        self.load(4_096, 1).digest()
    }
}

fn protection(name: &str, lifted: bool) -> ProtectionRecord {
    ProtectionRecord {
        name: name.to_owned(),
        lifted,
    }
}

fn row_a_key(ban: &BanRecord) -> impl Iterator<Item = BanRecord> + '_ {
    ban.keys.iter().map(|key| BanRecord {
        keys: vec![key.clone()],
        ..ban.clone()
    })
}

fn heard(view: &TenantView, change: Change) -> TenantView {
    let anchor = Anchor {
        revision: Revision(2),
        nonce: Nonce(0),
    };
    let news = News {
        anchor,
        tenant: None,
        change,
    };
    view.after(&news).expect("news that a view can take in")
}

/// The keys of a ban, which stay what they are for as long as it is known.
fn keys(id: u8) -> Vec<MatchKey> {
    let count = u128::from(id % 4) + 1;
    let one = |at: u128| {
        let range = (u128::from(id) + at).is_multiple_of(3);
        // Half of the numbers are alike, so that bans meet at one key and in both spaces.
        let number = u128::from(id / 2) + at;
        MatchKey {
            space: if range { Space::Range } else { Space::Digest },
            width: if range { 120 } else { 0 },
            key: Key::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            kind: IdentityKind::IpAddress,
            matches: if range {
                MatchKind::Cidr
            } else {
                MatchKind::Exact
            },
        }
    };
    (0..count).map(one).collect()
}

fn enforcement(shadow: bool) -> Enforcement {
    if shadow {
        Enforcement::Shadow
    } else {
        Enforcement::Enforced
    }
}

fn bans() -> impl Strategy<Value = BanRecord> {
    let instant = || proptest::option::of(any::<i64>().prop_map(Timestamp::from_micros));
    let parts = (
        0u8..40,
        instant(),
        instant(),
        0u32..5,
        0u16..512,
        any::<bool>(),
        0u8..3,
    );
    parts.prop_map(
        |(id, start, expire, generation, channels, shadow, odd)| BanRecord {
            ban: BanId::from_bytes([id; 16]),
            keys: keys(id),
            start,
            expire,
            generation,
            channels: Channels::from_bits(channels),
            enforcement: enforcement(shadow),
            ended: odd == 0,
        },
    )
}

fn exceptions() -> impl Strategy<Value = ExceptionRecord> {
    let instant = proptest::option::of(any::<i64>().prop_map(Timestamp::from_micros));
    let parts = (0u8..20, instant, 0u16..512, any::<bool>(), 0u8..3);
    parts.prop_map(|(id, expire, channels, protected, odd)| ExceptionRecord {
        exception: ExceptionId::from_bytes([id; 16]),
        keys: keys(id),
        expire,
        channels: Channels::from_bits(channels),
        protected,
        ended: odd == 0,
    })
}

fn protections() -> impl Strategy<Value = ProtectionRecord> {
    let names = ["private-10", "loopback-v4", "emergency-CZ-112"];
    (0..names.len(), any::<bool>()).prop_map(move |(at, lifted)| protection(names[at], lifted))
}

fn exception_news() -> impl Strategy<Value = ExceptionNews> {
    let exceptions = proptest::collection::vec(exceptions(), 0..4);
    let protections = proptest::collection::vec(protections(), 0..3);
    (exceptions, protections).prop_map(|(exceptions, protections)| ExceptionNews {
        exceptions,
        protections,
    })
}

fn lists() -> impl Strategy<Value = ListRecord> {
    let queues = proptest::collection::btree_set("[a-c]{0,2}", 0..4);
    let parts = (0u8..5, any::<[bool; 2]>(), 0i32..5, queues, 0u8..3);
    parts.prop_map(
        |(id, [shadow, outbound], treatment, queues, odd)| ListRecord {
            list_id: ListId::parse(&format!("{id}")).expect("an id"),
            generation: u32::from(id) + 1,
            deleted: odd == 0,
            treatment: Treatment::from_number(treatment),
            enforcement: enforcement(shadow),
            enforce_outbound: outbound,
            queues: queues.into_iter().collect(),
        },
    )
}

fn tenants() -> impl Strategy<Value = TenantRecord> {
    let parts = (any::<[bool; 2]>(), "[A-Z]{0,2}");
    parts.prop_map(|([closed, email_fold], default_region)| TenantRecord {
        failure_mode: if closed {
            FailureMode::Closed
        } else {
            FailureMode::Open
        },
        default_region,
        email_fold,
        deleted: false,
    })
}

fn queues() -> impl Strategy<Value = QueueRecord> {
    let parts = ("[a-c]{1,2}", any::<bool>(), any::<bool>());
    parts.prop_map(|(queue, chats, denies)| QueueRecord {
        queue,
        channel: if chats {
            Channel::WebChat
        } else {
            Channel::Call
        },
        withheld: if denies {
            WithheldPolicy::Deny
        } else {
            WithheldPolicy::Allow
        },
    })
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => proptest::collection::vec(bans(), 1..6).prop_map(Change::Bans),
        2 => lists().prop_map(Change::List),
        1 => tenants().prop_map(Change::Tenant),
        2 => queues().prop_map(Change::Queue),
        3 => exception_news().prop_map(Change::Exceptions),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec(changes(), 0..40)
}

/// Every state that differs from this one in a single field of a single record.
fn neighbours(state: &State) -> Vec<(&'static str, State)> {
    let mut all: Vec<(&'static str, State)> = Vec::new();
    let mut tenant = |what, change: fn(&mut TenantRecord)| {
        let mut other = state.clone();
        change(&mut other.tenant);
        all.push((what, other));
    };
    tenant("failure mode", |t| {
        t.failure_mode = match t.failure_mode {
            FailureMode::Open => FailureMode::Closed,
            FailureMode::Closed => FailureMode::Open,
        };
    });
    tenant("region", |t| t.default_region.push('X'));
    tenant("e-mail folding", |t| t.email_fold = !t.email_fold);
    let flip = |e: Enforcement| enforcement(e == Enforcement::Enforced);
    for id in state.lists.keys() {
        let mut list = |what, change: &dyn Fn(&mut ListRecord)| {
            let mut other = state.clone();
            change(other.lists.get_mut(id).expect("a list"));
            all.push((what, other));
        };
        list("generation", &|l| l.generation += 100);
        list("list id", &|l| {
            l.list_id = ListId::parse("other").expect("an id");
        });
        list("treatment", &|l| {
            l.treatment = match l.treatment {
                None => Some(Treatment::DropSilently),
                Some(_) => None,
            };
        });
        list("list's enforcement", &|l| {
            l.enforcement = flip(l.enforcement);
        });
        list("outbound", &|l| l.enforce_outbound = !l.enforce_outbound);
        list("queues", &|l| l.queues.push("another".into()));
        let mut other = state.clone();
        other.lists.remove(id);
        all.push(("a list less", other));
    }
    for queue in state.queues.keys() {
        let mut policy = |what, change: &dyn Fn(&mut QueueRecord)| {
            let mut other = state.clone();
            change(other.queues.get_mut(queue).expect("a policy"));
            all.push((what, other));
        };
        policy("queue", &|q| q.queue.push('x'));
        policy("queue's channel", &|q| q.channel = Channel::Vk);
        policy("withheld", &|q| {
            q.withheld = match q.withheld {
                WithheldPolicy::Allow => WithheldPolicy::Deny,
                WithheldPolicy::Deny => WithheldPolicy::Allow,
            };
        });
        let mut other = state.clone();
        other.queues.remove(queue);
        all.push(("a policy less", other));
    }
    for id in state.bans.keys() {
        let mut ban = |what, change: &dyn Fn(&mut BanRecord)| {
            let mut other = state.clone();
            change(other.bans.get_mut(id).expect("a ban"));
            all.push((what, other));
        };
        let later = |at: Option<Timestamp>| match at {
            Some(at) => Some(Timestamp::from_micros(at.micros() ^ 1)),
            None => Some(Timestamp::from_micros(0)),
        };
        ban("ban id", &|b| b.ban = BanId::from_bytes([200; 16]));
        ban("start", &|b| b.start = later(b.start));
        ban("end", &|b| b.expire = later(b.expire));
        ban("ban's list", &|b| b.generation ^= 1 << 20);
        ban("channels", &|b| {
            b.channels = Channels::from_bits(b.channels.bits() ^ 2);
        });
        ban("enforcement", &|b| b.enforcement = flip(b.enforcement));
        ban("key", &|b| {
            b.keys[0].key = Key::from(b.keys[0].key.bits() ^ 1);
        });
        ban("kind", &|b| b.keys[0].kind = IdentityKind::VisitorToken);
        ban("match kind", &|b| b.keys[0].matches = MatchKind::Alias);
        ban("space", &|b| {
            b.keys[0].space = match b.keys[0].space {
                Space::Digest => Space::Range,
                Space::Range => Space::Digest,
            };
        });
        let mut other = state.clone();
        other.bans.remove(id);
        all.push(("a ban less", other));
    }
    all.extend(neighbours_by_exceptions(state));
    all
}

/// Those that differ in what is excepted.
fn neighbours_by_exceptions(state: &State) -> Vec<(&'static str, State)> {
    let mut all: Vec<(&'static str, State)> = Vec::new();
    for id in state.exceptions.keys() {
        let mut exception = |what, change: &dyn Fn(&mut ExceptionRecord)| {
            let mut other = state.clone();
            change(other.exceptions.get_mut(id).expect("an exception"));
            all.push((what, other));
        };
        exception("exception id", &|x| {
            x.exception = ExceptionId::from_bytes([200; 16]);
        });
        exception("exception's end", &|x| {
            x.expire = match x.expire {
                Some(at) => Some(Timestamp::from_micros(at.micros() ^ 1)),
                None => Some(Timestamp::from_micros(0)),
            };
        });
        exception("exception's channels", &|x| {
            x.channels = Channels::from_bits(x.channels.bits() ^ 2);
        });
        exception("protected", &|x| x.protected = !x.protected);
        exception("exception's key", &|x| {
            x.keys[0].key = Key::from(x.keys[0].key.bits() ^ 1);
        });
        let mut other = state.clone();
        other.exceptions.remove(id);
        all.push(("an exception less", other));
    }
    let mut other = state.clone();
    if !other.lifted.remove("private-10") {
        other.lifted.insert("private-10".to_owned());
    }
    all.push(("a lifted protection", other));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_view_that_followed_the_news_digests_as_a_fresh_load_does(
        history in histories(),
        joins in 0usize..40,
        page in 1usize..50,
        order: u64,
    ) {
        let mut state = State::default();
        let mut view = state.load(page, order);
        for (at, change) in history.iter().enumerate() {
            if at == joins {
                // Another pod: it loads here, and follows from here on.
                view = state.load(page, order);
            }
            state.write(change);
            view = heard(&view, change.clone());
            prop_assert_eq!(view.digest(), state.digest(), "after change {}", at);
        }
        prop_assert_eq!(state.load(page, order).digest(), state.digest());
        prop_assert_eq!(view.digest(), state.digest());
    }

    #[test]
    fn news_heard_again_in_one_piece_or_key_by_key_digests_the_same(
        history in histories(),
        seen in 0usize..40,
    ) {
        let mut state = State::default();
        let mut once = state.load(9, 1);
        let mut pieces = state.load(9, 1);
        let mut joined = state.load(9, 1);
        let mut bans = Vec::new();
        for change in &history {
            state.write(change);
            once = heard(&once, change.clone());
            if let Change::Bans(chunk) = change {
                bans.extend(chunk.iter().cloned());
                for row in chunk.iter().flat_map(row_a_key) {
                    pieces = heard(&pieces, Change::Bans(vec![row]));
                }
            } else {
                pieces = heard(&pieces, change.clone());
                joined = heard(&joined, change.clone());
            }
        }
        joined = heard(&joined, Change::Bans(bans));
        prop_assert_eq!(once.digest(), state.digest());
        prop_assert_eq!(pieces.digest(), state.digest());
        prop_assert_eq!(joined.digest(), state.digest());
        // What a load already held comes again with the rows kept aside while it ran.
        for change in history.iter().skip(seen) {
            once = heard(&once, change.clone());
        }
        prop_assert_eq!(once.digest(), state.digest());
    }

    #[test]
    fn two_states_that_differ_in_one_field_digest_differently(history in histories()) {
        let mut state = State::default();
        for change in &history {
            state.write(change);
        }
        let here = state.digest();
        for (what, other) in neighbours(&state) {
            prop_assert_ne!(other.digest(), here, "{}", what);
        }
    }
}

#[test]
fn a_ban_counts_until_the_feed_takes_it_out_whatever_the_clock_says() {
    let mut state = State::default();
    let empty = state.digest();
    let over = BanRecord {
        ban: BanId::from_bytes([1; 16]),
        keys: keys(1),
        start: None,
        expire: Some(Timestamp::from_micros(1)),
        generation: 0,
        channels: Channels::from_bits(2),
        enforcement: Enforcement::Enforced,
        ended: false,
    };
    state.write(&Change::Bans(vec![over.clone()]));
    let view = heard(
        &State::default().load(9, 1),
        Change::Bans(vec![over.clone()]),
    );
    assert_eq!(view.digest(), state.digest());
    assert_ne!(view.digest(), empty);
    let ended = BanRecord {
        ended: true,
        ..over
    };
    assert_eq!(heard(&view, Change::Bans(vec![ended])).digest(), empty);
}
