//! Looking bans, events, lists and tenants up (M2, M20–M24).

use std::time::Duration;

use super::{Desk, change::no_ban, lists::no_list, pages, targets::TargetGiven, times};
use crate::{
    domain::{
        ban::Ban,
        channel::Channels,
        clock::Timestamp,
        fields,
        identity::{self, MAX_VALUE_BYTES},
        ids::{BanId, ListId, TenantId},
        list::BanList,
        policy::TenantSettings,
        refusal::{Reason, Refusal},
        view::index::Key,
    },
    store::{BanFilter, Cursor, Event, EventFilter},
};

/// The longest text that a list of bans may be narrowed by, in bytes.
const MAX_FILTER: usize = 500;

/// A page of something.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; empty = there is none.
    pub next: String,
    /// How many there are on all pages, where that is told.
    pub total: i64,
}

/// Which bans are wanted, and which page of them.
#[derive(Clone, Debug, Default)]
pub struct BanQuery {
    /// What narrows them; its place, number and keys are filled in here.
    pub filter: BanFilter,
    /// Only bans on this identity.
    pub identity: Option<TargetGiven>,
    /// How many a page.
    pub page_size: i32,
    /// Where to go on.
    pub page_token: String,
}

/// A query whose filter has been judged, its keys filled in.
pub(super) struct Narrowed {
    pub(super) filter: BanFilter,
    /// Whom the keys are of, in words that stay the same while master keys are replaced.
    whom: String,
    pub(super) page_size: i32,
    pub(super) page_token: String,
}

/// Which events are wanted, and which page of them.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// What narrows them; its place and number are filled in here.
    pub filter: EventFilter,
    /// How many a page.
    pub page_size: i32,
    /// Where to go on.
    pub page_token: String,
}

impl Desk {
    /// Waits until the pod has read its store.
    pub async fn ready(&self) {
        self.feed.warm().await;
    }

    /// Whether there is any tenant.
    pub fn has_tenants(&self) -> bool {
        !self.feed.tenants().is_empty()
    }

    /// A ban.
    pub async fn ban(
        &self,
        tenant: &TenantId,
        ban: BanId,
        deadline: Duration,
    ) -> Result<Ban, Refusal> {
        self.feed.known(tenant)?;
        self.within(deadline, self.store.ban(tenant, ban))
            .await?
            .ok_or_else(no_ban)
    }

    /// Bans by their ids, for those who name them in an answer.
    pub async fn bans_of(
        &self,
        tenant: &TenantId,
        bans: &[BanId],
        deadline: Duration,
    ) -> Result<Vec<Ban>, Refusal> {
        let mut found = Vec::with_capacity(bans.len());
        for ban in bans {
            found.extend(self.within(deadline, self.store.ban(tenant, *ban)).await?);
        }
        Ok(found)
    }

    /// A page of bans.
    pub async fn bans(
        &self,
        tenant: &TenantId,
        query: BanQuery,
        deadline: Duration,
    ) -> Result<Page<Ban>, Refusal> {
        let Narrowed {
            mut filter,
            whom,
            page_size,
            page_token,
        } = self.narrow(tenant, query, deadline).await?;
        filter.limit = pages::size(page_size)?;
        let keys = std::mem::take(&mut filter.keys);
        let question = format!("bans of {tenant}: {whom:?} {filter:?}");
        filter.keys = keys;
        let pages = self.pages(question, filter.limit);
        let place = pages.place(&page_token)?.map(|place| Place::read(&place));
        // Pages of one list are told at one instant, or a ban could fall between two of them.
        filter.now = Some(place.as_ref().map_or_else(|| self.now(), |place| place.now));
        filter.after = place.as_ref().map(|place| place.cursor);
        filter.count = place.is_none();
        let page = self
            .within(deadline, self.store.bans(tenant, &filter))
            .await?;
        let total = page
            .total
            .or(place.map(|place| place.total))
            .unwrap_or_default();
        let now = filter.now.unwrap_or(Timestamp::MIN);
        let last = page.next.map(|cursor| Place { cursor, now, total }.bytes());
        Ok(Page {
            next: pages.next(page.bans.len(), last),
            items: page.bans,
            total,
        })
    }

    /// Judges what narrows a list of bans, and finds the keys of the identity they are to be on.
    pub(super) async fn narrow(
        &self,
        tenant: &TenantId,
        query: BanQuery,
        deadline: Duration,
    ) -> Result<Narrowed, Refusal> {
        self.feed.known(tenant)?;
        let BanQuery {
            mut filter,
            identity,
            page_size,
            page_token,
        } = query;
        for (field, text) in [
            ("target_ends_with", &filter.ends_with),
            ("text", &filter.text),
            ("created_by", &filter.created_by),
            ("import_id", &filter.import_id),
        ] {
            fields::bytes(field, text, MAX_FILTER)?;
        }
        let mut whom = String::new();
        if let Some(given) = identity {
            let channels = filter.channels;
            let identity = self.identity_of(tenant, &given, channels, deadline).await?;
            (filter.keys, whom) = identity;
        }
        Ok(Narrowed {
            filter,
            whom,
            page_size,
            page_token,
        })
    }

    /// The keys by which bans on an identity are found, one for each master key, and whose they are.
    async fn identity_of(
        &self,
        tenant: &TenantId,
        given: &TargetGiven,
        channels: Channels,
        deadline: Duration,
    ) -> Result<(Vec<Key>, String), Refusal> {
        fields::size("identity.value", &given.value, MAX_VALUE_BYTES)?;
        fields::size("identity.issuer", &given.issuer, MAX_VALUE_BYTES)?;
        let settings = self.settings(tenant, deadline).await?;
        let raw = given.given();
        let region = Some(settings.default_region.as_str()).filter(|region| !region.is_empty());
        let network = identity::read_network(&raw, channels);
        let read = network
            .or_else(|_| identity::read(&raw, channels, region))
            .or_else(|unreadable| identity::read_domain(&raw, channels).map_err(|_| unreadable));
        let identity = read.map_err(|_| {
            let message = "this cannot be read; say of what kind it is, or name one channel";
            Refusal::of_field(Reason::InvalidFilter, "identity.value", message)
        })?;
        let keys = self
            .keys
            .tenant(tenant)
            .own_keys(&identity, settings.ipv6_prefix);
        let whom = format!(
            "{} {} {}",
            identity.kind.name(),
            identity.issuer,
            identity.canonical
        );
        Ok((keys, whom))
    }

    /// A page of events, oldest first.
    pub async fn events(
        &self,
        tenant: &TenantId,
        query: EventQuery,
        deadline: Duration,
    ) -> Result<Page<Event>, Refusal> {
        self.feed.known(tenant)?;
        let EventQuery {
            mut filter,
            page_size,
            page_token,
        } = query;
        fields::callers_id("actor_filter", &filter.actor)?;
        filter.limit = pages::size(page_size)?;
        let pages = self.pages(format!("events of {tenant}: {filter:?}"), filter.limit);
        filter.after = pages
            .place(&page_token)?
            .and_then(|place| place.try_into().ok());
        let items = self
            .within(deadline, self.store.events(tenant, &filter))
            .await?;
        let last = items.last().map(|event| event.event_id.to_vec());
        Ok(Page {
            next: pages.next(items.len(), last),
            items,
            total: 0,
        })
    }

    /// A tenant's settings.
    pub async fn settings(
        &self,
        tenant: &TenantId,
        deadline: Duration,
    ) -> Result<TenantSettings, Refusal> {
        self.within(deadline, self.store.settings(tenant))
            .await?
            .ok_or_else(Refusal::no_tenant)
    }

    /// A page of tenants, in the order of their ids.
    pub async fn tenants(
        &self,
        page_size: i32,
        page_token: &str,
        deadline: Duration,
    ) -> Result<Page<(TenantId, TenantSettings)>, Refusal> {
        let limit = pages::size(page_size)?;
        let pages = self.pages("tenants".to_owned(), limit);
        let after = name_after(pages.place(page_token)?);
        let items = self
            .within(deadline, self.store.tenants(&after, limit))
            .await?;
        let last = items
            .last()
            .map(|(tenant, _)| tenant.as_str().as_bytes().to_vec());
        Ok(Page {
            next: pages.next(items.len(), last),
            items,
            total: 0,
        })
    }

    /// A list.
    pub async fn list(
        &self,
        tenant: &TenantId,
        list_id: &ListId,
        deadline: Duration,
    ) -> Result<BanList, Refusal> {
        self.feed.known(tenant)?;
        self.within(deadline, self.store.list(tenant, list_id))
            .await?
            .ok_or_else(no_list)
    }

    /// A page of lists, in the order of their ids.
    pub async fn lists(
        &self,
        tenant: &TenantId,
        page_size: i32,
        page_token: &str,
        deadline: Duration,
    ) -> Result<Page<BanList>, Refusal> {
        self.feed.known(tenant)?;
        let limit = pages::size(page_size)?;
        let pages = self.pages(format!("lists of {tenant}"), limit);
        let after = name_after(pages.place(page_token)?);
        let items = self
            .within(deadline, self.store.lists(tenant, &after, limit))
            .await?;
        let last = items
            .last()
            .map(|list| list.list_id.as_str().as_bytes().to_vec());
        Ok(Page {
            next: pages.next(items.len(), last),
            items,
            total: 0,
        })
    }

    /// When the first ban of somebody in a list, made now, would be over; `None` = never (D8).
    pub fn example(&self, list: &BanList, settings: &TenantSettings) -> Option<Timestamp> {
        times::by_list(list, 0, self.now(), settings).ok()?
    }

    pub(super) fn pages(&self, question: String, size: i64) -> pages::Pages {
        pages::Pages::of(self.keys.seal("page"), question, size)
    }
}

/// The name that a page ended with.
pub(super) fn name_after(place: Option<Vec<u8>>) -> String {
    place
        .and_then(|place| String::from_utf8(place).ok())
        .unwrap_or_default()
}

/// Where a page of bans ends, and what all pages of one list share.
struct Place {
    cursor: Cursor,
    now: Timestamp,
    total: i64,
}

impl Place {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.cursor.ban.bytes().to_vec();
        for number in [self.cursor.end, self.now.micros(), self.total] {
            bytes.extend(number.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Self::bytes`] wrote; the seal vouches for the form.
    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let part = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
            i64::from_be_bytes(part.unwrap_or_default())
        };
        let ban = bytes
            .get(..16)
            .and_then(|part| part.try_into().ok())
            .unwrap_or_default();
        Self {
            cursor: Cursor {
                end: number(16),
                ban: BanId::from_bytes(ban),
            },
            now: Timestamp::from_micros(number(24)),
            total: number(32),
        }
    }
}
