//! Changing and lifting a ban (M3, D31).

use async_trait::async_trait;

use super::{
    Circumstances, Failure, Job, check_etag,
    create::{alike, duplicate},
    overlaps,
    times::{End, after, within_range},
};
use crate::{
    domain::{
        ban::{Ban, BanId, Enforcement, MAX_REASON, MAX_REASON_CODE, State},
        channel::Channels,
        clock::Timestamp,
        fields,
        refusal::{Reason, Refusal},
    },
    store::{Answer, Work},
};

/// What of a ban is to be changed; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct BanEdit {
    /// When it ends; now or earlier = at once (D31).
    pub end: Option<End>,
    /// When it begins; `Some(None)` = it has begun.
    pub start: Option<Option<Timestamp>>,
    /// Why.
    pub reason: Option<String>,
    /// Why, as a code.
    pub reason_code: Option<String>,
    /// Whether it holds or only watches.
    pub enforcement: Option<Enforcement>,
    /// Where it holds.
    pub channels: Option<Channels>,
}

/// Changes a ban.
#[derive(Clone, Debug)]
pub struct UpdateBan {
    /// Which.
    pub ban_id: BanId,
    /// What the caller believes to change; empty = whatever there is.
    pub etag: String,
    /// What is to be different.
    pub edit: BanEdit,
}

/// Lifts a ban.
#[derive(Clone, Debug)]
pub struct DeactivateBan {
    /// Which.
    pub ban_id: BanId,
    /// Why.
    pub reason: String,
    /// What the caller believes to lift; empty = whatever there is.
    pub etag: String,
    /// Whether the bans carried over from it are lifted too.
    pub include_cascade: bool,
}

/// The refusal of a ban that is not there.
pub(super) fn no_ban() -> Refusal {
    Refusal::of_field(
        Reason::BanNotFound,
        "ban_id",
        "there is no ban of this id in this tenant",
    )
}

fn has_ended(ban: &Ban, now: Timestamp) -> bool {
    matches!(ban.state(now), State::Expired | State::Deactivated)
}

/// Writes a changed ban, whose likeness may have changed with it.
async fn keep(work: &mut dyn Work, ban: &mut Ban, about: &Circumstances) -> Result<(), Failure> {
    ban.updated = about.now;
    ban.version += 1;
    let key = about.keys.tenant(&about.tenant);
    let alike = alike(ban, &key, work.settings());
    if !ban.ended {
        let standing = work.stands_alike(ban.ban_id, &alike).await?;
        if standing.is_some() {
            return Err(duplicate(standing).into());
        }
    }
    Ok(work.set_ban(ban, alike.current).await?)
}

impl BanEdit {
    /// Whether more than words would change.
    const fn moves(&self) -> bool {
        self.end.is_some()
            || self.start.is_some()
            || self.enforcement.is_some()
            || self.channels.is_some()
    }

    /// Changes the ban, and tells which fields were given.
    fn apply(
        self,
        ban: &mut Ban,
        work: &dyn Work,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, Refusal> {
        let Self {
            end,
            start,
            reason,
            reason_code,
            enforcement,
            channels,
        } = self;
        let mut changed = Vec::new();
        if let Some(reason) = reason {
            if reason.trim().is_empty() {
                let message = "a ban keeps a reason, for those who have to explain it later";
                return Err(Refusal::of_field(
                    Reason::ReasonRequired,
                    "ban.reason",
                    message,
                ));
            }
            fields::text("ban.reason", &reason, MAX_REASON)?;
            ban.reason = reason;
            changed.push("reason");
        }
        if let Some(code) = reason_code {
            fields::bytes("ban.reason_code", &code, MAX_REASON_CODE)?;
            ban.reason_code = code;
            changed.push("reason_code");
        }
        if let Some(enforcement) = enforcement {
            ban.enforcement = enforcement;
            changed.push("enforcement");
        }
        if let Some(channels) = channels {
            let carried = ban.targets.iter().fold(Channels::NONE, |channels, target| {
                channels.or(target.kind.channels())
            });
            if channels.is_empty() || channels.and(carried) != channels {
                let message = "the targets cannot be met on all of these channels";
                let field = "ban.channels";
                return Err(Refusal::of_field(
                    Reason::KindChannelMismatch,
                    field,
                    message,
                ));
            }
            ban.channels = channels;
            changed.push("channels");
        }
        if let Some(start) = start {
            ban.start = start.filter(|start| *start > now);
            changed.push("start_time");
        }
        if let Some(end) = end {
            ban.expire = match end {
                End::Never | End::Default => None,
                End::At(at) => Some(at.max(now)),
                End::After(period) => Some(after(period, now, work.settings(), "ban.expire_time")?),
            };
            // One that was over before is the sweep's to mark, which notes when it was.
            ban.ended |= ban.expire.is_some_and(|expire| expire <= now);
            changed.push("expire_time");
        }
        if let Some(start) = ban.start {
            within_range("ban.start_time", start, now)?;
        }
        if let Some(expire) = ban.expire {
            let from = ban.start.unwrap_or(now).max(now);
            within_range("ban.expire_time", expire, from)?;
            if expire > now && ban.start.is_some_and(|start| expire <= start) {
                let message = "a ban cannot end before it starts";
                let field = "ban.expire_time";
                return Err(Refusal::of_field(Reason::ExpireBeforeStart, field, message));
            }
        }
        Ok(changed)
    }
}

#[async_trait]
impl Job for UpdateBan {
    const RPC: &'static str = "UpdateBan";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let mut ban = work.ban(self.ban_id).await?.ok_or_else(no_ban)?;
        check_etag("ban.etag", &self.etag, ban.version)?;
        if self.edit.moves() && has_ended(&ban, about.now) {
            let message = "this ban has ended; only its reason can be changed, or a new one made";
            return Err(Refusal::new(Reason::BanEnded, message).into());
        }
        let before = ban.state(about.now);
        let changed = self.edit.apply(&mut ban, work, about.now)?;
        if !changed.is_empty() {
            keep(work, &mut ban, about).await?;
            work.note(&about.event(Some(ban.ban_id), "UPDATED", &changed.join(", ")))
                .await?;
            let turned = match (before, ban.state(about.now)) {
                (State::Scheduled, State::Active) => Some("STARTED"),
                (State::Scheduled | State::Active, State::Expired) => Some("EXPIRED"),
                _ => None,
            };
            if let Some(turned) = turned {
                // Nobody will sweep what has come about by hand.
                work.note(&about.event(Some(ban.ban_id), turned, ""))
                    .await?;
            }
        }
        Ok(Answer {
            ban: Some(ban),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for DeactivateBan {
    const RPC: &'static str = "DeactivateBan";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        fields::text("reason", &self.reason, MAX_REASON)?;
        let mut ban = work.ban(self.ban_id).await?.ok_or_else(no_ban)?;
        check_etag("etag", &self.etag, ban.version)?;
        if self.include_cascade {
            for child in work.children(ban.ban_id).await? {
                let mut child = work.ban(child).await?.ok_or_else(no_ban)?;
                lift(work, &mut child, &self.reason, about).await?;
            }
        }
        lift(work, &mut ban, &self.reason, about).await?;
        let key = about.keys.tenant(&about.tenant);
        let others = overlaps::of(work, &ban, &key, overlaps::MOST).await?;
        Ok(Answer {
            ban: Some(ban),
            others,
            ..Answer::default()
        })
    }
}

/// Lifts a ban unless it has ended already.
async fn lift(
    work: &mut dyn Work,
    ban: &mut Ban,
    reason: &str,
    about: &Circumstances,
) -> Result<(), Failure> {
    if has_ended(ban, about.now) {
        return Ok(());
    }
    ban.ended = true;
    ban.deactivated = Some(about.now);
    ban.deactivated_by.clone_from(&about.actor);
    reason.clone_into(&mut ban.deactivate_reason);
    keep(work, ban, about).await?;
    work.note(&about.event(Some(ban.ban_id), "DEACTIVATED", reason))
        .await?;
    Ok(())
}
