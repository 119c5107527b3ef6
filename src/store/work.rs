//! One transaction on one tenant.

mod access;
mod alike;
mod enter;
mod erase;
mod exceptions;
mod extend;
mod reach;
mod time;
mod told;

use async_trait::async_trait;
use sqlx::Row;

pub use self::{
    access::AccessWork,
    erase::PrivacyWork,
    exceptions::{ExceptionWork, NewException},
};

use super::{
    Added, Alike, Answer, Event, Intent, Lifting, NewBan, Renewal, Result, Work,
    pool::Lent,
    queues,
    rows::{self, BanRow, ListRow, PolicyRow, SettingsRow, number},
    sql::Statements,
};
use crate::domain::{
    ban::Ban,
    clock::Timestamp,
    hex::hex,
    ids::{BanId, ExceptionId, ListId},
    keys::{MatchKey, Reach},
    list::BanList,
    policy::TenantSettings,
    queue::{AtQueue, BanRights, QueuePolicy},
    record::{BanRecord, ExceptionRecord},
    view::index::Key,
};

/// What the feed row of this transaction will be about.
#[derive(Debug, Default)]
enum Touched {
    #[default]
    Nothing,
    Bans(Vec<BanId>),
    List(ListId),
    Queue(String),
    Tenant,
    Exceptions {
        ids: Vec<ExceptionId>,
        protections: Vec<String>,
    },
    Access(String),
    /// More than one row can tell: whoever hears of it loads the tenant anew.
    Several,
}

/// An open transaction that holds its tenant's row.
pub(super) struct SqlWork {
    tx: Lent,
    say: std::sync::Arc<Statements>,
    intent: Intent,
    settings: TenantSettings,
    /// The number of the master key that digests are made with.
    made_under: i32,
    touched: Touched,
    /// Bans under keys that they are no longer found by.
    gone: Vec<BanRecord>,
    /// The same of exceptions.
    gone_exceptions: Vec<ExceptionRecord>,
}

impl SqlWork {
    pub(super) fn new(
        tx: Lent,
        say: std::sync::Arc<Statements>,
        intent: Intent,
        settings: TenantSettings,
    ) -> Self {
        Self {
            tx,
            say,
            intent,
            settings,
            made_under: 0,
            touched: Touched::Nothing,
            gone: Vec::new(),
            gone_exceptions: Vec::new(),
        }
    }

    /// The same work, whose feed row will tell of the tenant itself.
    pub(super) fn told(self) -> Self {
        Self {
            touched: Touched::Tenant,
            ..self
        }
    }

    /// The same work, whose digests are made with the master key of this number.
    pub(super) fn under(self, made_under: i32) -> Self {
        Self { made_under, ..self }
    }

    fn tenant(&self) -> String {
        self.intent.tenant.as_str().to_owned()
    }

    fn touch(&mut self, what: Touched) {
        let alike = std::mem::discriminant(&self.touched) == std::mem::discriminant(&what);
        self.touched = match std::mem::take(&mut self.touched) {
            Touched::Nothing => what,
            _ if alike => what,
            _ => Touched::Several,
        };
    }

    fn touch_ban(&mut self, ban: BanId) {
        match &mut self.touched {
            Touched::Bans(bans) => bans.push(ban),
            _ => self.touch(Touched::Bans(vec![ban])),
        }
    }
}

fn ban_id(row: &sqlx::any::AnyRow) -> Result<BanId> {
    rows::ban_id(row.try_get::<&[u8], _>("ban_id")?)
}

#[async_trait]
impl Work for SqlWork {
    fn at(&mut self, now: Timestamp) {
        self.intent.now = now;
    }

    fn settings(&self) -> &TenantSettings {
        &self.settings
    }

    async fn list(&mut self, list_id: &ListId) -> Result<Option<BanList>> {
        let found = sqlx::query(self.say.list.clone())
            .bind(self.tenant())
            .bind(list_id.as_str().to_owned())
            .fetch_optional(&mut self.tx)
            .await?;
        found
            .map(|row| ListRow::read(&row)?.into_list())
            .transpose()
    }

    async fn list_counts(&mut self) -> Result<(i64, i64)> {
        let row = sqlx::query(self.say.list_counts.clone())
            .bind(self.tenant())
            .fetch_one(&mut self.tx)
            .await?;
        Ok((row.try_get("lists")?, row.try_get("relations")?))
    }

    async fn next_generation(&mut self) -> Result<u32> {
        let row = sqlx::query(self.say.next_generation.clone())
            .bind(self.tenant())
            .fetch_one(&mut self.tx)
            .await?;
        number(&row, "generation")
    }

    async fn add_bans(&mut self, bans: &[NewBan]) -> Result<Vec<Added>> {
        self.enter(bans).await
    }

    async fn ban(&mut self, ban: BanId) -> Result<Option<Ban>> {
        let found = sqlx::query(self.say.ban.clone())
            .bind(self.tenant())
            .bind(ban.bytes().to_vec())
            .fetch_optional(&mut self.tx)
            .await?;
        found
            .map(|row| BanRow::read(&row)?.into_ban(&self.intent.tenant))
            .transpose()
    }

    async fn set_ban(&mut self, ban: &Ban, likeness: [u8; 16]) -> Result<()> {
        self.note_beginning(ban.ban_id).await?;
        self.note_dropped(ban).await?;
        sqlx::query(self.say.set_ban.clone())
            .bind(self.tenant())
            .bind(ban.ban_id.bytes().to_vec())
            .bind(i32::from(ban.channels.bits()))
            .bind(ban.reason.clone())
            .bind(ban.reason_code.clone())
            .bind(ban.enforcement as i32)
            .bind(ban.start.map(Timestamp::micros))
            .bind(ban.expire.map(Timestamp::micros))
            .bind(i32::from(ban.ended))
            .bind(ban.updated.micros())
            .bind(ban.deactivated.map(Timestamp::micros))
            .bind(ban.deactivated_by.clone())
            .bind(ban.deactivate_reason.clone())
            .bind(likeness.to_vec())
            .bind(ban.version)
            .execute(&mut self.tx)
            .await?;
        self.touch_ban(ban.ban_id);
        Ok(())
    }

    async fn renew_bans(&mut self, renewals: &[Renewal]) -> Result<()> {
        let rows: Vec<_> = renewals.iter().map(rows::RenewalRow::of).collect();
        sqlx::query(self.say.renew_bans.clone())
            .bind(self.tenant())
            .bind(rows::entering(&rows, self.say.by_place)?)
            .bind(self.intent.now.micros())
            .execute(&mut self.tx)
            .await?;
        for renewal in renewals {
            self.touch_ban(renewal.ban);
        }
        Ok(())
    }

    async fn lift_bans(&mut self, lifting: &Lifting) -> Result<Vec<BanId>> {
        let ids: Vec<_> = lifting.bans.iter().map(|ban| hex(ban.bytes())).collect();
        let lifted = sqlx::query(self.say.lift_bans.clone())
            .bind(self.tenant())
            .bind(rows::to_json(&ids)?)
            .bind(self.intent.now.micros())
            .bind(lifting.by.clone())
            .bind(lifting.reason.clone())
            .fetch_all(&mut self.tx)
            .await?;
        let lifted = lifted.iter().map(ban_id).collect::<Result<Vec<_>>>()?;
        for ban in &lifted {
            self.touch_ban(*ban);
        }
        Ok(lifted)
    }

    async fn children(&mut self, ban: BanId) -> Result<Vec<BanId>> {
        let found = sqlx::query(self.say.children.clone())
            .bind(self.tenant())
            .bind(ban.bytes().to_vec())
            .fetch_all(&mut self.tx)
            .await?;
        found.iter().map(ban_id).collect()
    }

    async fn overlapping(&mut self, ban: BanId, reach: &Reach, most: usize) -> Result<Vec<BanId>> {
        self.within_reach(ban, reach, most).await
    }

    async fn bans_named(&mut self, bans: &[BanId]) -> Result<Vec<Ban>> {
        self.named(bans).await
    }

    async fn rekey(&mut self, bans: &[NewBan]) -> Result<()> {
        self.file_anew(bans).await
    }

    async fn times_banned(&mut self, list_id: &ListId, keys: &[(u8, MatchKey)]) -> Result<usize> {
        let row = sqlx::query(self.say.times_banned.clone())
            .bind(self.tenant())
            .bind(list_id.as_str().to_owned())
            .bind(rows::entering(&rows::forms(keys), self.say.by_place)?)
            .bind(i32::from(self.settings.email_fold))
            .fetch_optional(&mut self.tx)
            .await?;
        row.map_or(Ok(0), |row| number(&row, "times"))
    }

    async fn at_queues(&mut self, queues: &[String], rights_profile: &str) -> Result<Vec<AtQueue>> {
        let found = queues::ask(&self.say, &self.intent.tenant, queues, rights_profile)?
            .fetch_all(&mut self.tx)
            .await?;
        queues::in_order(&found, queues)
    }

    async fn queue_counts(&mut self, but_of: &str) -> Result<(i64, i64)> {
        let row = sqlx::query(self.say.queue_counts.clone())
            .bind(self.tenant())
            .bind(but_of.to_owned())
            .fetch_one(&mut self.tx)
            .await?;
        Ok((row.try_get("policies")?, row.try_get("rights")?))
    }

    async fn list_is_recorded_to(&mut self, list_id: &ListId) -> Result<bool> {
        let row = sqlx::query(self.say.recording.clone())
            .bind(self.tenant())
            .bind(list_id.as_str().to_owned())
            .fetch_one(&mut self.tx)
            .await?;
        Ok(row.try_get::<i64, _>("queues")? > 0)
    }

    async fn import_parts(&mut self, import_id: &str) -> Result<u64> {
        let row = sqlx::query(self.say.import_parts.clone())
            .bind(self.tenant())
            .bind(import_id.to_owned())
            .fetch_one(&mut self.tx)
            .await?;
        number(&row, "parts")
    }

    async fn set_queue_policy(&mut self, policy: &QueuePolicy) -> Result<()> {
        let row = PolicyRow::of(policy);
        sqlx::query(self.say.set_queue_policy.clone())
            .bind(self.tenant())
            .bind(policy.queue.clone())
            .bind(row.channel)
            .bind(row.campaign)
            .bind(row.record_to)
            .bind(row.list_id)
            .bind(row.withheld)
            .execute(&mut self.tx)
            .await?;
        self.touch(Touched::Queue(policy.queue.clone()));
        Ok(())
    }

    async fn set_ban_rights(&mut self, rights: &BanRights) -> Result<()> {
        let (tenant, profile) = (self.tenant(), rights.rights_profile.clone());
        sqlx::query(self.say.clear_ban_rights.clone())
            .bind(tenant.clone())
            .bind(profile.clone())
            .execute(&mut self.tx)
            .await?;
        sqlx::query(self.say.add_ban_rights.clone())
            .bind(tenant)
            .bind(profile)
            .bind(rows::to_json(&rights.queues)?)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn found_by(&mut self, keys: &[Key]) -> Result<Vec<BanRecord>> {
        self.bans_by_keys(keys).await
    }

    async fn stands_alike(&mut self, ban: BanId, alike: &Alike) -> Result<Option<BanId>> {
        self.standing_beside(ban, alike).await
    }

    async fn extend_ban(
        &mut self,
        ban: &Ban,
        likeness: [u8; 16],
        keys: &[(u8, MatchKey, String)],
    ) -> Result<()> {
        self.lengthen(ban, likeness, keys).await
    }

    async fn set_settings(&mut self, settings: &TenantSettings) -> Result<()> {
        let row = SettingsRow::of(settings);
        sqlx::query(self.say.set_settings.clone())
            .bind(self.tenant())
            .bind(row.display_name)
            .bind(row.operator_banning_enabled)
            .bind(row.default_region)
            .bind(row.time_zone)
            .bind(row.failure_mode)
            .bind(row.default_record_to)
            .bind(i64::from(row.ended_ban_retention_days))
            .bind(row.email_fold)
            .bind(i32::from(row.ipv6_prefix))
            .bind(row.version)
            .execute(&mut self.tx)
            .await?;
        self.settings = settings.clone();
        self.touch(Touched::Tenant);
        Ok(())
    }

    async fn add_list(&mut self, list: &BanList) -> Result<()> {
        self.write_list(self.say.add_list.clone(), list).await
    }

    async fn set_list(&mut self, list: &BanList) -> Result<()> {
        self.write_list(self.say.set_list.clone(), list).await
    }

    async fn set_list_queues(&mut self, list: &BanList) -> Result<()> {
        let (tenant, list_id) = (self.tenant(), list.list_id.as_str().to_owned());
        sqlx::query(self.say.clear_list_queues.clone())
            .bind(tenant.clone())
            .bind(list_id.clone())
            .execute(&mut self.tx)
            .await?;
        sqlx::query(self.say.add_list_queues.clone())
            .bind(tenant.clone())
            .bind(list_id.clone())
            .bind(rows::to_json(&list.queues)?)
            .execute(&mut self.tx)
            .await?;
        sqlx::query(self.say.touch_list.clone())
            .bind(tenant)
            .bind(list_id)
            .bind(list.version)
            .execute(&mut self.tx)
            .await?;
        self.touch(Touched::List(list.list_id.clone()));
        Ok(())
    }

    async fn had_list(&mut self, list_id: &ListId) -> Result<bool> {
        let row = sqlx::query(self.say.had_list.clone())
            .bind(self.tenant())
            .bind(list_id.as_str().to_owned())
            .fetch_one(&mut self.tx)
            .await?;
        Ok(number::<i64>(&row, "lists")? > 0)
    }

    async fn list_holds_bans(&mut self, list: &BanList) -> Result<bool> {
        let row = sqlx::query(self.say.list_holds_bans.clone())
            .bind(self.tenant())
            .bind(i64::from(list.generation))
            .bind(self.intent.now.micros())
            .fetch_one(&mut self.tx)
            .await?;
        Ok(number::<i64>(&row, "bans")? > 0)
    }

    async fn drop_generation(&mut self, generation: u32, by: &str, reason: &str) -> Result<()> {
        sqlx::query(self.say.drop_generation.clone())
            .bind(self.tenant())
            .bind(i64::from(generation))
            .bind(self.intent.now.micros())
            .bind(by.to_owned())
            .bind(reason.to_owned())
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn delete_list(&mut self, list: &BanList) -> Result<()> {
        for statement in [&self.say.clear_list_queues, &self.say.delete_list] {
            sqlx::query(statement.clone())
                .bind(self.intent.tenant.as_str().to_owned())
                .bind(list.list_id.as_str().to_owned())
                .execute(&mut self.tx)
                .await?;
        }
        self.touch(Touched::List(list.list_id.clone()));
        Ok(())
    }

    async fn delete_tenant(&mut self) -> Result<()> {
        sqlx::query(self.say.delete_tenant.clone())
            .bind(self.tenant())
            .execute(&mut self.tx)
            .await?;
        self.touch(Touched::Tenant);
        Ok(())
    }

    async fn note(&mut self, event: &Event) -> Result<()> {
        sqlx::query(self.say.add_event.clone())
            .bind(self.tenant())
            .bind(event.event_id.to_vec())
            .bind(event.ban.map(|ban| ban.bytes().to_vec()))
            .bind(event.action.clone())
            .bind(event.actor.clone())
            .bind(event.at.micros())
            .bind(event.comment.clone())
            .bind(i64::from(self.intent.nonce.0))
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn note_all(&mut self, events: &[Event]) -> Result<()> {
        let rows: Vec<_> = events.iter().map(rows::EventRow::of).collect();
        sqlx::query(self.say.add_events.clone())
            .bind(self.tenant())
            .bind(rows::entering(&rows, self.say.by_place)?)
            .bind(i64::from(self.intent.nonce.0))
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }

    async fn commit(mut self: Box<Self>, answer: &Answer) -> Result<()> {
        self.tell().await?;
        sqlx::query(self.say.add_request.clone())
            .bind(self.tenant())
            .bind(self.intent.rpc)
            .bind(self.intent.request_id.clone())
            .bind(self.intent.body.to_vec())
            .bind(answer.to_text()?)
            .bind(self.intent.now.micros())
            .execute(&mut self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }

    async fn abandon(self: Box<Self>) -> Result<()> {
        Ok(self.tx.rollback().await?)
    }
}

impl SqlWork {
    async fn write_list(&mut self, statement: sqlx::SqlStr, list: &BanList) -> Result<()> {
        let row = ListRow::of(list);
        sqlx::query(statement)
            .bind(self.tenant())
            .bind(list.list_id.as_str().to_owned())
            .bind(i64::from(row.generation))
            .bind(row.title.clone())
            .bind(row.title.to_lowercase())
            .bind(row.description)
            .bind(row.default_timeout_text)
            .bind(row.webchat_ban_type)
            .bind(row.ban_contact_phones)
            .bind(row.treatment)
            .bind(row.enforcement)
            .bind(row.enforce_outbound)
            .bind(row.repeat_ladder)
            .bind(row.version)
            .execute(&mut self.tx)
            .await?;
        self.touch(Touched::List(list.list_id.clone()));
        Ok(())
    }
}
