//! Making and changing ban lists (D1–D10, D28).

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{Circumstances, Failure, Job, check_etag, times::unreadable_period};
use crate::{
    domain::{
        ban::Enforcement,
        fields,
        ids::ListId,
        list::{
            BanList, MAX_DESCRIPTION, MAX_LADDER, MAX_LISTS, MAX_RELATIONS, MAX_TITLE, Treatment,
            WebchatBanType,
        },
        period::CalendarPeriod,
        refusal::{Reason, Refusal},
    },
    store::{Answer, StoreError, Work},
};

/// What of a list is to be changed; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ListEdit {
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// How long bans last, as typed; empty = until lifted.
    pub default_timeout_text: Option<String>,
    /// What a web chat ban is made on.
    pub webchat_ban_type: Option<WebchatBanType>,
    /// Whether web chat bans carry over to the contact's phones.
    pub ban_contact_phones: Option<bool>,
    /// What connectors should do; `Some(None)` = the usual.
    pub treatment: Option<Option<Treatment>>,
    /// Whether its bans hold or only watch.
    pub enforcement: Option<Enforcement>,
    /// Whether its bans stop outgoing interactions.
    pub enforce_outbound: Option<bool>,
    /// How long the n-th ban of one identity lasts.
    pub repeat_ladder: Option<Vec<CalendarPeriod>>,
}

/// Makes a list.
#[derive(Clone, Debug)]
pub struct CreateList {
    /// Its id.
    pub list_id: ListId,
    /// Everything else.
    pub edit: ListEdit,
}

/// Changes a list.
#[derive(Clone, Debug)]
pub struct UpdateList {
    /// Which.
    pub list_id: ListId,
    /// What the caller believes to change; empty = whatever there is.
    pub etag: String,
    /// What is to be different.
    pub edit: ListEdit,
}

/// Says which queues check a list, all of them.
#[derive(Clone, Debug)]
pub struct SetListQueues {
    /// Which list.
    pub list_id: ListId,
    /// What the caller believes to change; empty = whatever there is.
    pub etag: String,
    /// The queues.
    pub queues: Vec<String>,
}

/// Takes a list out for good.
#[derive(Clone, Debug)]
pub struct DeleteList {
    /// Which.
    pub list_id: ListId,
    /// What the caller believes to delete; empty = whatever there is.
    pub etag: String,
    /// Also where it is in use: its bans are lifted with it.
    pub force: bool,
}

/// The refusal of a list that is not there.
pub(super) fn no_list() -> Refusal {
    let message = "there is no list of this id in this tenant";
    Refusal::of_field(Reason::BanListNotFound, "list_id", message)
}

/// A number of things as the store counts them.
fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

fn title_taken() -> Refusal {
    let message = "another list has this title, whatever the case of its letters";
    Refusal::of_field(Reason::DuplicateTitle, "ban_list.title", message)
}

impl ListEdit {
    fn apply(self, list: &mut BanList) -> Result<(), Refusal> {
        let Self {
            title,
            description,
            default_timeout_text,
            webchat_ban_type,
            ban_contact_phones,
            treatment,
            enforcement,
            enforce_outbound,
            repeat_ladder,
        } = self;
        if let Some(title) = title {
            title.trim().clone_into(&mut list.title);
        }
        if list.title.is_empty() {
            return Err(Refusal::required("ban_list.title"));
        }
        fields::text("ban_list.title", &list.title, MAX_TITLE)?;
        if let Some(description) = description {
            fields::text("ban_list.description", &description, MAX_DESCRIPTION)?;
            list.description = description;
        }
        if let Some(text) = default_timeout_text {
            if !text.is_empty() {
                let refused = |error| unreadable_period("ban_list.default_timeout_text", &error);
                text.parse::<CalendarPeriod>().map_err(refused)?;
            }
            list.default_timeout_text = text;
        }
        if let Some(ladder) = repeat_ladder {
            fields::items("ban_list.repeat_ladder", &ladder, MAX_LADDER)?;
            for (at, step) in ladder.iter().enumerate() {
                let field = format!("ban_list.repeat_ladder[{at}]");
                step.validate()
                    .map_err(|error| unreadable_period(&field, &error))?;
            }
            list.repeat_ladder = ladder;
        }
        list.webchat_ban_type = webchat_ban_type.unwrap_or(list.webchat_ban_type);
        list.ban_contact_phones = ban_contact_phones.unwrap_or(list.ban_contact_phones);
        list.treatment = treatment.unwrap_or(list.treatment);
        list.enforcement = enforcement.unwrap_or(list.enforcement);
        list.enforce_outbound = enforce_outbound.unwrap_or(list.enforce_outbound);
        Ok(())
    }
}

#[async_trait]
impl Job for CreateList {
    const RPC: &'static str = "CreateBanList";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let mut list = BanList {
            list_id: self.list_id,
            generation: 0,
            title: String::new(),
            description: String::new(),
            default_timeout_text: String::new(),
            webchat_ban_type: WebchatBanType::default(),
            ban_contact_phones: false,
            treatment: None,
            enforcement: Enforcement::default(),
            enforce_outbound: false,
            repeat_ladder: Vec::new(),
            queues: BTreeSet::new(),
            version: 1,
        };
        self.edit.apply(&mut list)?;
        let (lists, _) = work.list_counts().await?;
        if lists >= count(MAX_LISTS) {
            let message = format!("this tenant has {MAX_LISTS} lists, the most there may be");
            return Err(Refusal::new(Reason::Quota, message).into());
        }
        let known = work.had_list(&list.list_id).await?;
        list.generation = work.next_generation().await?;
        match work.add_list(&list).await {
            Err(StoreError::Taken) if known => {
                let message = "a list of this id exists in this tenant, or did: ids are not reused";
                let field = "ban_list.list_id";
                return Err(Refusal::of_field(Reason::DuplicateList, field, message).into());
            }
            Err(StoreError::Taken) => return Err(title_taken().into()),
            kept => kept?,
        }
        work.note(&about.event(None, "LIST_CREATED", list.list_id.as_str()))
            .await?;
        Ok(Answer {
            list: Some(list),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for UpdateList {
    const RPC: &'static str = "UpdateBanList";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let before = work.list(&self.list_id).await?.ok_or_else(no_list)?;
        check_etag("ban_list.etag", &self.etag, before.version)?;
        let mut list = before.clone();
        self.edit.apply(&mut list)?;
        if list != before {
            list.version += 1;
            match work.set_list(&list).await {
                Err(StoreError::Taken) => return Err(title_taken().into()),
                kept => kept?,
            }
            work.note(&about.event(None, "LIST_UPDATED", list.list_id.as_str()))
                .await?;
        }
        Ok(Answer {
            list: Some(list),
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for SetListQueues {
    const RPC: &'static str = "SetBanListQueues";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let mut list = work.list(&self.list_id).await?.ok_or_else(no_list)?;
        check_etag("etag", &self.etag, list.version)?;
        fields::queues("queues", &self.queues)?;
        let queues: BTreeSet<String> = self.queues.into_iter().collect();
        let (_, relations) = work.list_counts().await?;

        if relations - count(list.queues.len()) + count(queues.len()) > count(MAX_RELATIONS) {
            let message = format!("a tenant has at most {MAX_RELATIONS} pairs of list and queue");
            return Err(Refusal::of_field(Reason::Quota, "queues", message).into());
        }
        let added: Vec<String> = queues.difference(&list.queues).cloned().collect();
        let removed: Vec<String> = list.queues.difference(&queues).cloned().collect();
        if !added.is_empty() || !removed.is_empty() {
            list.queues = queues;
            list.version += 1;
            work.set_list_queues(&list).await?;
            let (list_id, more, less) = (&list.list_id, added.len(), removed.len());
            let comment = format!("{list_id}: {more} added, {less} removed");
            work.note(&about.event(None, "LIST_QUEUES_SET", &comment))
                .await?;
        }
        Ok(Answer {
            list: Some(list),
            added,
            removed,
            ..Answer::default()
        })
    }
}

#[async_trait]
impl Job for DeleteList {
    const RPC: &'static str = "DeleteBanList";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let list = work.list(&self.list_id).await?.ok_or_else(no_list)?;
        check_etag("etag", &self.etag, list.version)?;
        if !self.force && work.list_is_recorded_to(&list.list_id).await? {
            let message = "a queue records its bans in this list; let it record elsewhere, or delete \
                           the list with force, which leaves the queue without";
            return Err(Refusal::of_field(Reason::BanListInUse, "list_id", message).into());
        }
        if work.list_holds_bans(&list).await? {
            if !self.force {
                let message = "bans in this list are in force or scheduled; deactivate them, or \
                               delete the list with force, which does that";
                return Err(Refusal::of_field(Reason::BanListInUse, "list_id", message).into());
            }
            let why = format!("the list {} was deleted", list.list_id);
            work.drop_generation(list.generation, &about.actor, &why)
                .await?;
        }
        work.delete_list(&list).await?;
        work.note(&about.event(None, "LIST_DELETED", list.list_id.as_str()))
            .await?;
        Ok(Answer {
            list: Some(list),
            ..Answer::default()
        })
    }
}
