//! What would come of it: the end of a length of time (D8), and a ban before it is made.
//!
//! Both are told by what makes the real one: a length is added by the function that gives a ban its
//! end, and a ban is made in full and undone.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use chrono_tz::Tz;

use super::{
    Circumstances, CreateBan, Desk, Failure, Job, Order, create::Made, internal, times, times::End,
    times::unreadable_period,
};
use crate::{
    checker::Checker,
    domain::{
        ban::{Ban, Target},
        channel::Channel,
        clock::Timestamp,
        identity::{IdentityKind, MatchKind},
        ids::{BanId, ListId, TenantId},
        list::BanList,
        period::CalendarPeriod,
        refusal::Refusal,
    },
    store::{Answer, Work},
};

/// The most exceptions that a preview tells of.
const MAX_EXCEPTIONS_TOLD: usize = 100;

/// A length of time whose end is wanted.
#[derive(Clone, Debug)]
pub enum Length {
    /// As typed.
    Text(String),
    /// In calendar parts.
    Period(CalendarPeriod),
    /// The default of this list.
    List(ListId),
}

/// What a length of time comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiration {
    /// The length; `None` = without end.
    pub period: Option<CalendarPeriod>,
    /// Its end.
    pub expire: Option<Timestamp>,
    /// The zone in which it was reckoned.
    pub time_zone: Tz,
}

/// What would come of a ban.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanPreview {
    /// The bans in force that it overlaps.
    pub overlaps: Vec<BanId>,
    /// The exceptions that it meets, by their ids, and the built-in protections, by their names.
    pub exceptions: Vec<String>,
    /// The queues that check its list.
    pub queues: Vec<String>,
    /// How many of the last hour's sampled checks of this pod it would have met.
    pub recent_checks: u32,
    /// Whom it is on, in words.
    pub breadth: String,
    /// What a write would warn of.
    pub warnings: Vec<(u32, String)>,
}

/// Makes a ban in a work that will be undone, and keeps what came of it.
struct TryBan {
    ban: CreateBan,
    made: Arc<OnceLock<Made>>,
}

#[async_trait]
impl Job for TryBan {
    const RPC: &'static str = "PreviewBan";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let made = self.ban.make(work, about).await?;
        // Nobody else has set it: a job runs once.
        let _ = self.made.set(made);
        Ok(Answer::default())
    }
}

impl Desk {
    /// When a ban would end that lasts so long, from now or from another instant.
    pub async fn preview_expiration(
        &self,
        tenant: &TenantId,
        length: Length,
        from: Option<Timestamp>,
        deadline: Duration,
    ) -> Result<Expiration, Refusal> {
        self.feed.known(tenant)?;
        let settings = self
            .within(deadline, self.store.settings(tenant))
            .await?
            .ok_or_else(Refusal::no_tenant)?;
        let (field, period, list) = match length {
            Length::Text(text) => {
                let period: CalendarPeriod = text
                    .parse()
                    .map_err(|error| unreadable_period("timeout_text", &error))?;
                ("timeout_text", Some(period), None)
            }
            Length::Period(period) => ("period", Some(period), None),
            Length::List(list_id) => {
                let list = self.list(tenant, &list_id, deadline).await?;
                let period = list.lasts(0).ok().flatten();
                ("list_id", period, Some(list))
            }
        };
        let end = match list {
            Some(_) => End::Default,
            None => period.map_or(End::Never, End::After),
        };
        let from = from.unwrap_or_else(|| self.now());
        let (_, expire) =
            times::of_new_ban(None, end, &settings, list.as_ref(), from).map_err(|refusal| {
                Refusal {
                    field: field.to_owned(),
                    ..refusal
                }
            })?;
        Ok(Expiration {
            period,
            expire,
            time_zone: settings.time_zone,
        })
    }

    /// What would come of a ban, which is refused as the real one would be.
    pub async fn preview_ban(
        &self,
        checker: &Checker,
        order: Order,
        ban: CreateBan,
    ) -> Result<BanPreview, Refusal> {
        let tenant = order.tenant.clone();
        let made = Arc::new(OnceLock::new());
        let tried = TryBan {
            ban,
            made: Arc::clone(&made),
        };
        let order = Order {
            // It is not remembered: the answer is another one with every check.
            request_id: String::new(),
            validate_only: true,
            ..order
        };
        self.write(order, tried).await?;
        let Made {
            new,
            list,
            warnings,
            overlaps,
            mut exceptions,
        } = made.get().cloned().ok_or_else(internal)?;
        exceptions.truncate(MAX_EXCEPTIONS_TOLD);
        let keys = new.keys.iter().map(|(_, key, _)| (key.space, key.key));
        Ok(BanPreview {
            recent_checks: checker.asked_lately(&tenant, new.ban.channels, keys),
            breadth: breadth(&new.ban, list.as_ref()),
            queues: list.map_or_else(Vec::new, |list| list.queues.into_iter().collect()),
            overlaps,
            exceptions,
            warnings,
        })
    }
}

/// Whom a ban is on and where it holds, in words that name nobody.
fn breadth(ban: &Ban, list: Option<&BanList>) -> String {
    let whom: Vec<String> = ban
        .targets
        .iter()
        .map(|target| whom(target, ban.match_kind))
        .collect();
    let channels: Vec<&str> = ban.channels.iter().map(Channel::name).collect();
    let on_token = |target: &Target| target.kind == IdentityKind::VisitorToken;
    let place = match list {
        None => "at every queue and at none".to_owned(),
        Some(_) if ban.targets.iter().all(on_token) => "at every queue and at none".to_owned(),
        Some(list) => at_its_queues(list, ban.targets.iter().any(on_token)),
    };
    format!(
        "{}; on {}; {place}",
        whom.join(", or "),
        channels.join(", ")
    )
}

fn at_its_queues(list: &BanList, on_token: bool) -> String {
    let queues = match list.queues.len() {
        0 => "at no queue",
        1 => "at the one queue that checks the list",
        _ => "at the queues that check the list",
    };
    let outbound = if list.enforce_outbound {
        ", and outwards"
    } else {
        ""
    };
    let token = if on_token {
        "; by the visitor token, everywhere"
    } else {
        ""
    };
    format!("{queues}{outbound}{token}")
}

/// Whom one target is on.
fn whom(target: &Target, match_kind: MatchKind) -> String {
    let bits = |text: &str| text.rsplit_once('/')?.1.parse::<u32>().ok();
    let is_v6 = target.canonical.contains(':');
    match (match_kind, target.kind) {
        (MatchKind::Cidr, _) => match bits(&target.canonical) {
            Some(prefix) if is_v6 && prefix <= 64 => {
                format!("{} networks of /64", 1_u128 << (64 - prefix))
            }
            Some(prefix) if is_v6 => {
                format!("{} addresses", 1_u128 << 128_u32.saturating_sub(prefix))
            }
            Some(prefix) => format!("{} addresses", 1_u64 << 32_u32.saturating_sub(prefix)),
            None => "a network".to_owned(),
        },
        (MatchKind::Prefix, _) => {
            let digits = target.canonical.bytes().filter(u8::is_ascii_digit).count();
            format!("every number that begins with these {digits} digits")
        }
        (MatchKind::Domain, _) => "every mailbox at the domain and below it".to_owned(),
        (_, IdentityKind::IpAddress) if is_v6 => {
            match target.match_keys.first().and_then(|key| bits(key)) {
                Some(prefix) => format!("one customer, by a network of /{prefix}"),
                None => "one customer".to_owned(),
            }
        }
        _ => "one customer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: IdentityKind, canonical: &str, key: &str) -> Target {
        Target {
            kind,
            input: String::new(),
            canonical: canonical.to_owned(),
            issuer: String::new(),
            canonicaliser_version: 1,
            match_keys: vec![key.to_owned()],
        }
    }

    #[test]
    fn whom_a_target_is_on_is_told_in_numbers_that_people_can_weigh() {
        use IdentityKind as Kind;
        for (kind, canonical, key, matched, told) in [
            (
                Kind::PhoneNumber,
                "+420601123456",
                "",
                MatchKind::Exact,
                "one customer",
            ),
            (
                Kind::IpAddress,
                "203.0.113.7",
                "",
                MatchKind::Exact,
                "one customer",
            ),
            (
                Kind::IpAddress,
                "2001:db8::1",
                "2001:db8::/64",
                MatchKind::Exact,
                "one customer, by a network of /64",
            ),
            (
                Kind::IpAddress,
                "203.0.113.0/24",
                "",
                MatchKind::Cidr,
                "256 addresses",
            ),
            (
                Kind::IpAddress,
                "203.0.113.7/32",
                "",
                MatchKind::Cidr,
                "1 addresses",
            ),
            (
                Kind::IpAddress,
                "2001:db8::/48",
                "",
                MatchKind::Cidr,
                "65536 networks of /64",
            ),
            (
                Kind::IpAddress,
                "2001:db8::/120",
                "",
                MatchKind::Cidr,
                "256 addresses",
            ),
            (
                Kind::PhoneNumber,
                "+420601",
                "",
                MatchKind::Prefix,
                "every number that begins with these 6 digits",
            ),
            (
                Kind::EmailAddress,
                "example.com",
                "",
                MatchKind::Domain,
                "every mailbox at the domain and below it",
            ),
        ] {
            assert_eq!(whom(&target(kind, canonical, key), matched), told);
        }
    }
}
