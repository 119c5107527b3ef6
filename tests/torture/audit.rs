//! Looks at the rows when all is quiet: nothing acknowledged is missing, nothing is half there,
//! nothing is there twice, and the feed tells what the rows hold.

use std::collections::{HashMap, HashSet};

use bancheck::domain::{
    clock::Timestamp,
    ids::BanId,
    record::{BanRecord, Change},
    revision::Position,
};
use sqlx::{PgPool, Row as _};

use crate::{
    judge::{TOLERANCE, Violation},
    model::end_of,
    record::{Deed, End, Record, Write},
    witness::{History, ban_id},
};

/// Refusals that a caller of this run may meet.
const USUAL: [&str; 5] = [
    "DUPLICATE_ACTIVE_BAN",
    "BAN_ENDED",
    "BAN_NOT_FOUND",
    "EXPIRE_TIME_IN_PAST",
    "EXPIRE_BEFORE_START",
];

/// What an audit found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<Violation>,
    /// Acknowledged writes that a restore threw away.
    pub(crate) lost_by_restore: usize,
}

impl Findings {
    fn add(&mut self, clause: &'static str, told: String) {
        self.violations.push(Violation {
            clause,
            whose: "the rows".to_owned(),
            told,
        });
    }
}

/// Every state that a ban had in a history.
type States<'a> = HashMap<BanId, Vec<(u64, &'a BanRecord)>>;

fn states(history: &History) -> States<'_> {
    let mut states = States::new();
    for row in &history.rows {
        if let Change::Bans(bans) = &row.change {
            for ban in bans {
                let its = states.entry(ban.ban).or_default();
                its.push((row.anchor.revision.0, ban));
            }
        }
    }
    states
}

/// Judges what was acknowledged by what the feed told.
pub(crate) fn acknowledged(record: &Record, histories: &[History], to_wall: i64) -> Findings {
    let mut found = Findings::default();
    let all: Vec<_> = histories.iter().map(|one| (one, states(one))).collect();
    for write in &record.writes {
        let End::Acknowledged { ban, token } = &write.end else {
            continue;
        };
        let (last, _) = all.last().expect("there is always one");
        if !last.holds(token.anchor) {
            found.lost_by_restore += 1;
        }
        let homes: Vec<_> = all
            .iter()
            .filter(|(history, _)| history.holds(token.anchor))
            .collect();
        if homes.is_empty() {
            found.add("C-3", format!("a token of no history: {write:?}"));
        }
        let Some(ban) = ban else { continue };
        let kept = |(_, states): &&(&History, States<'_>)| {
            let its = states.get(ban).map_or(&[][..], Vec::as_slice);
            let so_far = its.partition_point(|(at, _)| *at <= token.anchor.revision.0);
            let over = |ban: &BanRecord| end_of(ban) <= write.received + to_wall + TOLERANCE;
            let holds = |(_, ban): &(u64, &BanRecord)| !ban.ended && !over(ban);
            match write.deed {
                Deed::Ban => so_far > 0,
                Deed::Lift(_) => so_far > 0 && !its[so_far - 1..].iter().any(holds),
                Deed::Change(_) | Deed::Queues(_) => true,
            }
        };
        // A token may be of what two histories have in common.
        if !homes.is_empty() && !homes.iter().any(kept) {
            let told: Vec<_> = all.iter().map(|(_, states)| states.get(ban)).collect();
            let told = format!("{write:?}\n    the feed, history by history: {told:?}");
            found.add(
                "C-6",
                format!("acknowledged, and not in what its token names: {told}"),
            );
        }
    }
    for write in &record.writes {
        if let End::Refused(reason) = &write.end
            && !USUAL.contains(&reason.as_str())
        {
            found.add(
                "answers",
                format!("a refusal that makes no sense: {write:?}"),
            );
        }
    }
    found
}

/// A look at one statement's rows, each of which is a violation.
async fn none(
    pool: &PgPool,
    found: &mut Findings,
    clause: &'static str,
    what: &str,
    text: &'static str,
) {
    let rows = sqlx::query(text).fetch_all(pool).await;
    for row in rows.unwrap_or_else(|error| panic!("{what}: {error}")) {
        found.add(clause, format!("{what}: {}", row.get::<String, _>(0)));
    }
}

/// Judges the rows by themselves and by the feed.
pub(crate) async fn rows(pool: &PgPool, record: &Record, history: &History) -> Findings {
    let mut found = Findings::default();
    let half = [
        (
            "a ban without a target, a key or, unless it was imported, the event of its making",
            "SELECT encode(ban_id, 'hex') FROM bans b WHERE NOT EXISTS
                 (SELECT 1 FROM ban_targets t WHERE (t.tenant, t.ban_id) = (b.tenant, b.ban_id))
             OR NOT EXISTS
                 (SELECT 1 FROM ban_keys k WHERE (k.tenant, k.ban_id) = (b.tenant, b.ban_id))
             OR (b.import_id = '')::int <> (SELECT count(*) FROM ban_events e
                 WHERE (e.tenant, e.ban_id) = (b.tenant, b.ban_id) AND e.action = 'CREATED')",
        ),
        (
            "an event of a ban that is not there",
            "SELECT encode(ban_id, 'hex') FROM ban_events e WHERE ban_id IS NOT NULL AND NOT EXISTS
                 (SELECT 1 FROM bans b WHERE (e.tenant, e.ban_id) = (b.tenant, b.ban_id))",
        ),
        (
            "an intent that never got its place in the feed",
            "SELECT nonce::text FROM feed_intents",
        ),
    ];
    for (what, text) in half {
        none(pool, &mut found, "S-3", what, text).await;
    }
    let twice = "SELECT reason_code FROM bans GROUP BY reason_code HAVING count(*) > 1";
    none(
        pool,
        &mut found,
        "S-9",
        "one request made several bans",
        twice,
    )
    .await;
    let lifted = "SELECT encode(ban_id, 'hex') FROM ban_events WHERE action = 'DEACTIVATED'
                  GROUP BY ban_id HAVING count(*) > 1";
    none(pool, &mut found, "S-9", "lifted more than once", lifted).await;
    let ended = "SELECT encode(ban_id, 'hex') FROM ban_events
                 WHERE action IN ('DEACTIVATED', 'EXPIRED')
                 GROUP BY ban_id HAVING count(*) > 1";
    none(pool, &mut found, "S-3", "ended more than once", ended).await;
    let unnoted = "SELECT encode(ban_id, 'hex') FROM bans b WHERE ended = 1 AND NOT EXISTS
                 (SELECT 1 FROM ban_events e WHERE (e.tenant, e.ban_id) = (b.tenant, b.ban_id)
                      AND e.action IN ('DEACTIVATED', 'EXPIRED'))";
    none(pool, &mut found, "S-3", "ended without a word", unnoted).await;

    remembered(pool, record, history, &mut found).await;
    told_once(pool, history, &mut found).await;
    same_as_the_feed(pool, history, &mut found).await;
    found
}

/// S-9: what was acknowledged is remembered; what was refused at once made nothing.
async fn remembered(pool: &PgPool, record: &Record, history: &History, found: &mut Findings) {
    let requests = sqlx::query("SELECT request_id FROM requests").fetch_all(pool);
    let requests: HashSet<String> = requests
        .await
        .expect("the requests")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let made = sqlx::query("SELECT reason_code FROM bans").fetch_all(pool);
    let made: HashSet<String> = made
        .await
        .expect("the bans")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let states = states(history);
    for write in &record.writes {
        let id = format!("w{}", write.number);
        // What changed nothing left no row in the feed, so a restore may have thrown it away though
        // its token is of what all histories have in common.
        let kept = |token: &Position, ban: &Option<BanId>| {
            let own = token.anchor.revision.0 > history.forked_at;
            let told = write.deed == Deed::Ban && ban.is_some_and(|ban| states.contains_key(&ban));
            history.holds(token.anchor) && (own || told)
        };
        match &write.end {
            End::Acknowledged { ban, token } if kept(token, ban) && !requests.contains(&id) => {
                found.add(
                    "S-9",
                    format!("acknowledged, but not remembered: {write:?}"),
                );
            }
            End::Refused(_) if refused_at_once(write) && made.contains(&id) => {
                found.add("S-9", format!("refused, and made all the same: {write:?}"));
            }
            End::Acknowledged { .. } | End::Refused(_) | End::Unknown => {}
        }
    }
}

fn refused_at_once(write: &Write) -> bool {
    write.deed == Deed::Ban && write.tries == 1
}

/// S-5: every event is told by exactly one row of the feed.
async fn told_once(pool: &PgPool, history: &History, found: &mut Findings) {
    let mut tellers: HashMap<(u32, BanId), u32> = HashMap::new();
    for row in &history.rows {
        if let Change::Bans(bans) = &row.change {
            for ban in bans {
                *tellers.entry((row.anchor.nonce.0, ban.ban)).or_default() += 1;
            }
        }
    }
    let text = "SELECT ban_id, action, nonce FROM ban_events WHERE ban_id IS NOT NULL";
    let events = sqlx::query(text).fetch_all(pool).await.expect("the events");
    for event in events {
        let nonce = u32::try_from(event.get::<i64, _>("nonce")).expect("a nonce");
        let ban = ban_id(&event, "ban_id");
        let times = tellers.get(&(nonce, ban)).copied().unwrap_or_default();
        if times != 1 {
            let action: String = event.get("action");
            found.add("S-5", format!("{action} of {ban} was told {times} times"));
        }
    }
}

/// S-11: the last that the feed told of each ban is what its row holds.
async fn same_as_the_feed(pool: &PgPool, history: &History, found: &mut Findings) {
    let states = states(history);
    let text =
        "SELECT ban_id, start_at, expire_at, ended, channels, enforcement, generation FROM bans";
    let bans = sqlx::query(text).fetch_all(pool).await.expect("the bans");
    if bans.len() != states.len() {
        let (rows, told) = (bans.len(), states.len());
        found.add(
            "S-3",
            format!("{rows} bans in the rows, {told} in the feed"),
        );
    }
    for row in bans {
        let ban = ban_id(&row, "ban_id");
        let Some((revision, told)) = states.get(&ban).and_then(|its| its.last()) else {
            found.add("S-3", format!("{ban} is in the rows and not in the feed"));
            continue;
        };
        let same = told.start.map(Timestamp::micros) == row.get("start_at")
            && told.expire.map(Timestamp::micros) == row.get("expire_at")
            && told.ended == (row.get::<i16, _>("ended") != 0)
            && i32::from(told.channels.bits()) == row.get::<i32, _>("channels")
            && told.enforcement as i16 == row.get::<i16, _>("enforcement")
            && i64::from(told.generation) == i64::from(row.get::<i32, _>("generation"));
        if !same {
            found.add(
                "S-11",
                format!("{ban}: revision {revision} tells {told:?}, its row is not so"),
            );
        }
    }
}
