//! Making, ending and listing exceptions, and lifting what is protected of old.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use super::{
    Circumstances, Desk, Failure, Job, Page, new_id, pages, spared,
    targets::{self, TargetGiven},
    times::within_range,
};
use crate::{
    domain::{
        ban::{State, Target},
        channel::Channels,
        clock::Timestamp,
        exception::{Exception, ExceptionId, Lifted, MAX_COMMENT, MAX_EXCEPTIONS, Protection},
        fields,
        identity::{CANONICALISER_VERSION, Identity, MatchKind, protected},
        ids::{MAX_CALLERS_ID, TenantId},
        policy::TenantSettings,
        refusal::{Reason, Refusal},
    },
    store::{Answer, ExceptionFilter, NewException, Work},
};

/// Makes an exception.
#[derive(Clone, Debug)]
pub struct CreateException {
    /// Who is spared.
    pub target: TargetGiven,
    /// How the target is matched; `None` = exactly.
    pub match_kind: Option<MatchKind>,
    /// The channels; none = all that carry the target's kind.
    pub channels: Channels,
    /// Why.
    pub comment: String,
    /// Until when; `None` = until somebody ends it.
    pub expire: Option<Timestamp>,
    /// Whether it wins over every ban, however closely that names its customer.
    pub protected: bool,
    /// Whether what is merely unwise is done all the same.
    pub override_warnings: bool,
}

/// Puts a built-in protection back that was lifted.
#[derive(Clone, Debug)]
pub struct RestoreProtection {
    /// Its name.
    pub name: String,
}

/// Ends an exception, or lifts a built-in protection.
#[derive(Clone, Debug)]
pub struct DeactivateException {
    /// Which.
    pub which: Named,
    /// Why.
    pub reason: String,
}

/// An exception by its id, or a built-in protection by its name.
#[derive(Clone, Debug)]
pub enum Named {
    /// One that somebody made.
    Made(ExceptionId),
    /// One that is built in.
    BuiltIn(String),
}

impl Named {
    /// Reads either.
    pub fn read(field: &str, text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::required(field));
        }
        fields::bytes(field, text, MAX_CALLERS_ID)?;
        Ok(match ExceptionId::parse(text) {
            Some(id) => Self::Made(id),
            None => Self::BuiltIn(text.to_owned()),
        })
    }
}

fn no_exception() -> Refusal {
    let message = "there is no exception of this id, and no built-in protection of this name, in \
                   this tenant";
    Refusal::of_field(Reason::ExceptionNotFound, "exception_id", message)
}

impl CreateException {
    /// Reads and judges the exception, without a store.
    fn prepare(
        &self,
        work: &dyn Work,
        about: &Circumstances,
    ) -> Result<(NewException, Identity), Refusal> {
        fields::text("exception.comment", &self.comment, MAX_COMMENT)?;
        let settings = work.settings();
        let match_kind = self.match_kind.unwrap_or(MatchKind::Exact);
        let identity = targets::read_one(
            "exception.target",
            &self.target,
            self.channels,
            match_kind,
            settings,
            self.override_warnings,
        )?;
        let carried = identity.kind.channels();
        if self.channels.and(carried) != self.channels {
            let message = "the target cannot be met on all of these channels";
            let field = "exception.channels";
            return Err(Refusal::of_field(
                Reason::KindChannelMismatch,
                field,
                message,
            ));
        }
        if let Some(expire) = self.expire {
            if expire <= about.now {
                let message = "an exception cannot end before it is made";
                let field = "exception.expire_time";
                return Err(Refusal::of_field(Reason::ExpireTimeInPast, field, message));
            }
            within_range("exception.expire_time", expire, about.now)?;
        }
        let key = about.keys.tenant(&about.tenant);
        let keys = key.keys(&identity, settings.ipv6_prefix);
        let exception = Exception {
            exception_id: ExceptionId::from_bytes(new_id(about.now)),
            target: Target {
                kind: identity.kind,
                input: self.target.value.clone(),
                canonical: identity.canonical.clone(),
                issuer: identity.issuer.clone(),
                canonicaliser_version: CANONICALISER_VERSION,
                match_keys: keys.iter().map(|(_, text)| text.clone()).collect(),
            },
            match_kind,
            channels: if self.channels.is_empty() {
                carried
            } else {
                self.channels
            },
            comment: self.comment.clone(),
            expire: self.expire,
            protected: self.protected,
            ended: false,
            created: about.now,
            created_by: about.actor.clone(),
            deactivated: None,
            deactivated_by: String::new(),
            deactivate_reason: String::new(),
        };
        let keys = keys.into_iter().map(|(key, text)| (0, key, text));
        let new = NewException {
            exception,
            keys: keys.collect(),
        };
        Ok((new, identity))
    }
}

/// Whether two exceptions spare the same customers in the same places for the same time.
fn alike(one: &Exception, other: &Exception) -> bool {
    let what = |exception: &Exception| {
        let Exception {
            target,
            match_kind,
            channels,
            expire,
            protected,
            ..
        } = exception.clone();
        (
            (target.kind, target.canonical, target.issuer),
            (match_kind, channels, expire, protected),
        )
    };
    what(one) == what(other)
}

#[async_trait]
impl Job for CreateException {
    const RPC: &'static str = "CreateException";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let (new, identity) = self.prepare(work, about)?;
        let mut warnings: Vec<_> = identity
            .cautions
            .iter()
            .map(|caution| (1, caution.code().to_owned()))
            .collect();
        let (channels, protected) = (new.exception.channels, new.exception.protected);
        let overridden = spared::overridden(work, about, &identity, channels, protected).await?;
        let key = about.keys.tenant(&about.tenant);
        let elsewhere = key.keys_elsewhere(&identity, work.settings().ipv6_prefix);
        let keys = new.keys.iter().map(|(_, key, _)| key.key);
        let keys: Vec<_> = keys.chain(elsewhere.iter().map(|key| key.key)).collect();
        let standing = work.standing_exceptions(Some(&keys)).await?;
        if let Some(same) = standing.into_iter().find(|one| alike(one, &new.exception)) {
            warnings.push((0, "ALREADY_EXCEPTED".to_owned()));
            return Ok(Answer {
                exception: Some(same),
                overridden,
                warnings,
                ..Answer::default()
            });
        }
        let most = i64::try_from(MAX_EXCEPTIONS).unwrap_or(i64::MAX);
        if work.exception_count().await? >= most {
            let message = format!(
                "this tenant has {MAX_EXCEPTIONS} exceptions, the most there may be; deactivate \
                 some, or make one on a range"
            );
            return Err(Refusal::new(Reason::Quota, message).into());
        }
        work.add_exception(&new).await?;
        let NewException { exception, .. } = new;
        let comment = format!("{}: {}", exception.exception_id, exception.comment);
        work.note(&about.event(None, "EXCEPTION_CREATED", &comment))
            .await?;
        Ok(Answer {
            exception: Some(exception),
            overridden,
            warnings,
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for RestoreProtection {
    // One operation of the wire: its requests are remembered together.
    const RPC: &'static str = CreateException::RPC;

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let Some(protection) = protection(work, &self.name).await? else {
            let message = "the server gives ids; only the name of a built-in protection of this \
                           tenant's region stands here, to put that back";
            let field = "exception.exception_id";
            return Err(Refusal::of_field(Reason::FieldInvalid, field, message).into());
        };
        let mut overridden = 0;
        for one in protected::named(&self.name) {
            let channels = one.identity.kind.channels();
            overridden += spared::overridden(work, about, &one.identity, channels, true).await?;
        }
        if protection.lifted.is_some() {
            work.put_back(&self.name).await?;
            work.note(&about.event(None, "PROTECTION_RESTORED", &self.name))
                .await?;
        }
        Ok(Answer {
            protection: Some(Protection {
                lifted: None,
                ..protection
            }),
            overridden,
            ..Answer::default()
        })
    }
}

/// A built-in protection of this tenant by its name: of its region, or one that it has lifted.
async fn protection(work: &mut dyn Work, name: &str) -> Result<Option<Protection>, Failure> {
    let lifted = work.lifted().await?.into_iter();
    let lifted = { lifted }.find(|one| one.name == name);
    let region = &work.settings().default_region;
    let known = lifted.is_some() || protected::of(region).iter().any(|one| one.name == name);
    Ok(known.then(|| Protection {
        name: name.to_owned(),
        lifted,
    }))
}

#[async_trait]
impl Job for DeactivateException {
    const RPC: &'static str = "DeactivateException";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        fields::text("reason", &self.reason, MAX_COMMENT)?;
        match self.which {
            Named::Made(id) => {
                let mut exception = work.exception(id).await?.ok_or_else(no_exception)?;
                if exception.state(about.now) == State::Active {
                    exception.ended = true;
                    exception.deactivated = Some(about.now);
                    exception.deactivated_by.clone_from(&about.actor);
                    exception.deactivate_reason.clone_from(&self.reason);
                    work.set_exception(&exception).await?;
                    let comment = format!("{id}: {}", self.reason);
                    work.note(&about.event(None, "EXCEPTION_DEACTIVATED", &comment))
                        .await?;
                }
                Ok(Answer {
                    exception: Some(exception),
                    ..Answer::default()
                })
            }
            Named::BuiltIn(name) => {
                let mut protection = protection(work, &name).await?.ok_or_else(no_exception)?;
                if protection.lifted.is_none() {
                    let lifted = Lifted {
                        name: name.clone(),
                        at: about.now,
                        by: about.actor.clone(),
                        reason: self.reason.clone(),
                    };
                    work.lift(&lifted).await?;
                    protection.lifted = Some(lifted);
                    let comment = format!("{name}: {}", self.reason);
                    work.note(&about.event(None, "PROTECTION_LIFTED", &comment))
                        .await?;
                }
                Ok(Answer {
                    protection: Some(protection),
                    ..Answer::default()
                })
            }
        }
    }
}

/// An exception as it is shown.
#[derive(Clone, Debug)]
pub enum ShownException {
    /// One that somebody made.
    Made(Exception),
    /// One that is built in.
    BuiltIn(Protection),
}

impl ShownException {
    /// What a write on one left.
    pub fn of(answer: Answer) -> Option<Self> {
        let Answer {
            exception,
            protection,
            ..
        } = answer;
        exception
            .map(Self::Made)
            .or_else(|| protection.map(Self::BuiltIn))
    }
}

/// Which exceptions are wanted, and which page of them.
#[derive(Clone, Debug, Default)]
pub struct ExceptionQuery {
    /// The states looked for; empty = active ones only.
    pub states: Vec<State>,
    /// How many a page.
    pub page_size: i32,
    /// Where to go on.
    pub page_token: String,
}

/// What a page ends at, ahead of the rest of its place.
const BUILT_IN: u8 = b'b';
const MADE: u8 = b'm';

impl Desk {
    /// A page of exceptions: first those that are built in, then the others.
    pub async fn exceptions(
        &self,
        tenant: &TenantId,
        query: ExceptionQuery,
        deadline: Duration,
    ) -> Result<Page<ShownException>, Refusal> {
        let ExceptionQuery {
            states,
            page_size,
            page_token,
        } = query;
        let settings = self.settings(tenant, deadline).await?;
        let size = pages::size(page_size)?;
        let pages = self.pages(format!("exceptions of {tenant}: {states:?}"), size);
        let place = pages.place(&page_token)?;
        let after = place.as_deref().and_then(<[u8]>::split_first);
        let mut items = Vec::new();
        let mut last = None;
        if !matches!(after, Some((&MADE, _))) {
            let names = self
                .protections(tenant, &settings, &states, deadline)
                .await?;
            let after = after.map_or(&[][..], |(_, name)| name);
            for one in names {
                if one.name.as_bytes() > after && count(&items) < size {
                    last = Some([&[BUILT_IN], one.name.as_bytes()].concat());
                    items.push(ShownException::BuiltIn(one));
                }
            }
        }
        if count(&items) < size {
            let after = match after {
                Some((&MADE, id)) => id.try_into().ok().map(ExceptionId::from_bytes),
                _ => None,
            };
            let filter = ExceptionFilter {
                states,
                now: Some(self.now()),
                after,
                limit: size - count(&items),
            };
            let found = self.within(deadline, self.store.exceptions(tenant, &filter));
            for one in found.await? {
                last = Some([&[MADE], &one.exception_id.bytes()[..]].concat());
                items.push(ShownException::Made(one));
            }
        }
        Ok(Page {
            next: pages.next(items.len(), last),
            items,
            total: 0,
        })
    }

    /// The built-in protections of a tenant in these states, by name.
    async fn protections(
        &self,
        tenant: &TenantId,
        settings: &TenantSettings,
        states: &[State],
        deadline: Duration,
    ) -> Result<Vec<Protection>, Refusal> {
        let lifted = self.within(deadline, self.store.lifted(tenant)).await?;
        let mut all: BTreeMap<String, Option<Lifted>> = protected::of(&settings.default_region)
            .into_iter()
            .map(|one| (one.name, None))
            .collect();
        // One of another region stays told, or nobody could put it back.
        all.extend(lifted.into_iter().map(|one| (one.name.clone(), Some(one))));
        let wanted = |lifted: &Option<Lifted>| match (states, lifted) {
            ([], lifted) => lifted.is_none(),
            (states, None) => states.contains(&State::Active),
            (states, Some(_)) => states.contains(&State::Deactivated),
        };
        Ok(all
            .into_iter()
            .filter(|(_, lifted)| wanted(lifted))
            .map(|(name, lifted)| Protection { name, lifted })
            .collect())
    }
}

fn count(items: &[ShownException]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
