//! `bancheck ban`: bans made, found, changed and ended.

mod add;
mod deactivate;
mod export;
mod filter;
mod import;
mod interaction;
mod list;
mod show;
mod update;

use chrono::{DateTime, Utc};
use clap::Subcommand;

use super::{
    Outcome, Session, identity, moment,
    output::{Facts, Sheet, clean},
    vocabulary::Spoken,
};
use crate::api::v1::{
    Ban, Channel, MatchKind,
    ban::{Enforcement, Origin, State},
};

/// What to do about bans.
#[derive(Subcommand)]
pub(crate) enum BanCommand {
    Add(add::Add),
    Interaction(interaction::Interaction),
    List(list::List),
    Show(show::Show),
    Update(update::Update),
    Deactivate(deactivate::Deactivate),
    Import(import::Import),
    Export(export::Export),
}

impl BanCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::Interaction(interaction) => interaction.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::Update(update) => update.run(session).await,
            Self::Deactivate(deactivate) => deactivate.run(session).await,
            Self::Import(import) => import.run(session).await,
            Self::Export(export) => export.run(session).await,
        }
    }
}

/// Bans in the columns that people look for.
pub(super) fn table(bans: &[Ban]) -> Sheet {
    let header = [
        "id", "state", "targets", "channels", "list", "until", "reason", "by",
    ];
    let row = |ban: &Ban| {
        let shadow = if ban.enforcement() == Enforcement::Shadow {
            " (shadow)"
        } else {
            ""
        };
        [
            ban.ban_id.clone(),
            State::told(ban.state) + shadow,
            identity::targets(ban, ", "),
            Channel::told_all(&ban.channels, ", "),
            ban.list_id.clone(),
            match ban.expire_time.as_ref() {
                None => "permanent".to_owned(),
                time => moment::shown(time),
            },
            clean(&ban.reason),
            clean(&ban.created_by),
        ]
    };
    Sheet::new(header, bans.iter().map(row))
}

/// Bans with all that a program may want to sort or filter by.
pub(super) fn csv(bans: &[Ban]) -> Sheet {
    let header = [
        "ban_id",
        "state",
        "targets",
        "match_kind",
        "channels",
        "list_id",
        "start_time",
        "expire_time",
        "reason",
        "reason_code",
        "enforcement",
        "origin",
        "created_by",
        "create_time",
        "import_id",
    ];
    let row = |ban: &Ban| {
        [
            ban.ban_id.clone(),
            State::told(ban.state),
            identity::targets(ban, ";"),
            MatchKind::told(ban.match_kind),
            Channel::told_all(&ban.channels, ";"),
            ban.list_id.clone(),
            moment::written(ban.start_time.as_ref()),
            moment::written_end(ban.expire_time.as_ref()),
            ban.reason.clone(),
            ban.reason_code.clone(),
            Enforcement::told(ban.enforcement),
            Origin::told(ban.origin),
            ban.created_by.clone(),
            moment::written(ban.create_time.as_ref()),
            ban.import_id.clone(),
        ]
    };
    Sheet::new(header, bans.iter().map(row))
}

/// One ban in full, without its id.
fn facts(ban: &Ban, now: DateTime<Utc>) -> Facts {
    let told = |time| moment::told(time, now);
    let mut facts = Facts::default();
    facts.add("state", State::told(ban.state));
    facts.add("targets", identity::targets(ban, ", "));
    if ban.match_kind() != MatchKind::Exact {
        facts.add("match", MatchKind::told(ban.match_kind));
    }
    facts.add("channels", Channel::told_all(&ban.channels, ", "));
    facts.add(
        "list",
        if ban.list_id.is_empty() {
            "none (tenant-wide)"
        } else {
            &ban.list_id
        },
    );
    facts.add("starts", told(ban.start_time.as_ref()));
    facts.add("until", moment::end(ban.expire_time.as_ref(), now));
    facts
        .add("reason", &ban.reason)
        .add("reason code", &ban.reason_code);
    if ban.enforcement() == Enforcement::Shadow {
        facts.add("enforcement", "shadow: reported, denies nothing");
    }
    facts
        .add("origin", Origin::told(ban.origin))
        .add("made by", &ban.created_by);
    facts.add("made", told(ban.create_time.as_ref()));
    if ban.update_time != ban.create_time {
        facts.add("changed", told(ban.update_time.as_ref()));
    }
    facts.add("deactivated", told(ban.deactivate_time.as_ref()));
    facts.add("deactivated by", &ban.deactivated_by);
    facts.add("because", &ban.deactivate_reason);
    facts
        .add("interaction", &ban.source_interaction_id)
        .add("queue", &ban.source_queue);
    facts
        .add("follows ban", &ban.parent_ban_id)
        .add("import", &ban.import_id);
    if ban.match_count > 0 {
        facts.add("matched", format!("{} checks", ban.match_count));
        facts.add("last matched", told(ban.last_match_time.as_ref()));
    }
    facts
}
