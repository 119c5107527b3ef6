//! A ban list: how bans of one kind are recorded, and where they hold.

use std::collections::BTreeSet;

use super::{
    ban::Enforcement,
    ids::ListId,
    period::{CalendarPeriod, PeriodError},
};

/// The most lists a tenant may keep.
pub const MAX_LISTS: usize = 1_000;
/// The most pairs of list and queue a tenant may keep.
pub const MAX_RELATIONS: usize = 10_000;
/// The longest title, in characters.
pub const MAX_TITLE: usize = 200;
/// The longest description, in characters.
pub const MAX_DESCRIPTION: usize = 2_000;
/// The most steps of a repeat ladder.
pub const MAX_LADDER: usize = 20;

/// What a web chat ban recorded in a list is made on (D10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum WebchatBanType {
    /// The visitor token that the widget keeps in the browser (D11).
    #[default]
    LocalStorage = 1,
    /// The address the visitor comes from (D13).
    Ip = 2,
}

/// What a connector should do with a denied interaction (D29, D41).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Treatment {
    /// Hang up, close the chat, refuse the message.
    EndInteraction = 1,
    /// Take the chat widget off the page.
    DisableWidget = 2,
    /// Let it vanish without a word.
    DropSilently = 3,
    /// Say why, then end it.
    PlayAnnouncement = 4,
}

/// A list as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanList {
    /// Its id, never used again once deleted.
    pub list_id: ListId,
    /// Number of the list's present content: unique in the tenant, new when the content is replaced.
    pub generation: u32,
    /// Its title, unique in the tenant whatever the case of its letters (D5).
    pub title: String,
    /// For the administrators; never in a check's answer (D6).
    pub description: String,
    /// How long bans last, as typed; empty = until deactivated (D7).
    pub default_timeout_text: String,
    /// What a web chat ban is made on (D10).
    pub webchat_ban_type: WebchatBanType,
    /// Whether a web chat ban carries over to the contact's phones (D15).
    pub ban_contact_phones: bool,
    /// What connectors should do, where the list has a say of its own.
    pub treatment: Option<Treatment>,
    /// Whether its bans hold or only watch.
    pub enforcement: Enforcement,
    /// Whether its bans stop outgoing interactions too (P2).
    pub enforce_outbound: bool,
    /// The n-th ban of one identity lasts the n-th period, every later one the last.
    pub repeat_ladder: Vec<CalendarPeriod>,
    /// The queues that check this list (D28).
    pub queues: BTreeSet<String>,
    /// Counts the edits; the etag is made of it.
    pub version: i64,
}

impl BanList {
    /// How long a ban lasts that nobody gave an end: as the ladder has it for somebody banned here
    /// so often before, else by the default timeout; `None` = until lifted (D7, D39).
    pub fn lasts(&self, before: usize) -> Result<Option<CalendarPeriod>, PeriodError> {
        match (self.repeat_ladder.as_slice(), &self.default_timeout_text) {
            ([], text) if text.is_empty() => Ok(None),
            ([], text) => text.parse().map(Some),
            (ladder, _) => Ok(ladder.get(before).or(ladder.last()).copied()),
        }
    }

    /// Whether nothing looks at the list, so that a ban in it blocks nothing (D33).
    pub fn enforced_nowhere(&self) -> bool {
        self.queues.is_empty() && !self.enforce_outbound
    }
}

impl WebchatBanType {
    /// The type with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::LocalStorage, Self::Ip]
            .into_iter()
            .find(|kind| *kind as i32 == number)
    }
}

impl Treatment {
    /// The treatment with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [
            Self::EndInteraction,
            Self::DisableWidget,
            Self::DropSilently,
            Self::PlayAnnouncement,
        ]
        .into_iter()
        .find(|treatment| *treatment as i32 == number)
    }
}
