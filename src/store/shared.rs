//! What both databases do alike: the promise itself, over statements of one dialect.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

use super::{
    Aged, Answer, BanFilter, BanPage, BanSink, Begun, Concerning, Directory, Event, EventFilter,
    FeedLink, Intent, LoadSink, REMEMBERED, Result, Store, StoreError, Tail, access, export,
    keys::Shown,
    load,
    pool::{Lent, Pool, Whose},
    queues, read,
    rows::{self, BanRow, ListRow, SettingsRow, number},
    sql::{Dialect, Statements},
    tail::{epoch_of, head, row_number, tail_with},
    work::SqlWork,
};
use crate::domain::{
    ban::Ban,
    clock::Timestamp,
    ids::{BanId, ListId, TenantId},
    list::BanList,
    policy::TenantSettings,
    queue::{AtQueue, BanRights, QueuePolicy},
    revision::{Anchor, Epoch, Nonce, Revision},
    view::index::Key,
};

/// How long a statement that looks at very many rows may take to find the first.
const SEARCH: Duration = Duration::from_secs(10);

/// What only one kind of database can do.
#[async_trait]
pub(super) trait Engine: Send + Sync + 'static {
    /// Brings the schema up to date, one process at a time.
    async fn migrate(&self) -> Result<()>;
    /// Opens a connection for the feed.
    async fn link(&self, say: &Arc<Statements>, ring: &Arc<Shown>) -> Result<Box<dyn FeedLink>>;
    /// Wakes every pod's feed.
    async fn ring(&self) -> Result<()>;
    /// Overwrites what was deleted, where the database has it lying about and can be told to.
    async fn scrub(&self) -> Result<()>;
    /// Which server this is and on which timeline; `None` where there is no server.
    async fn server(&self) -> Result<Option<String>>;
    /// Leaves beside the database how far its feed has come.
    fn witness(&self, applied: Anchor);
    /// What was left so.
    fn witnessed(&self) -> Option<Anchor>;
    /// Whether no other process can be using the database.
    fn is_ours_alone(&self) -> bool;
}

const EPOCH: &str = "epoch";
/// The server that the epoch was agreed on.
const SERVER: &str = "server";

/// A store of either kind.
pub(super) struct SqlStore {
    pub(super) engine: Box<dyn Engine>,
    pub(super) dialect: &'static Dialect,
    pub(super) say: Arc<Statements>,
    pub(super) writers: Pool,
    pub(super) readers: Pool,
    /// The master keys that it is used with.
    pub(super) ring: Arc<Shown>,
}

impl SqlStore {
    pub(super) fn new(
        engine: Box<dyn Engine>,
        dialect: &'static Dialect,
        writers: Pool,
        readers: Pool,
    ) -> Self {
        let say = Arc::new(Statements::of(dialect));
        Self {
            engine,
            dialect,
            say,
            writers,
            readers,
            ring: Arc::default(),
        }
    }

    /// A transaction that writes.
    pub(super) async fn writing(&self, whose: Whose<'_>) -> Result<Lent> {
        Ok(self.writers.begin(self.dialect.begin_write, whose).await?)
    }

    /// A transaction that reads one snapshot.
    async fn reading(&self, whose: Whose<'_>) -> Result<Lent> {
        Ok(self.readers.begin(self.dialect.begin_read, whose).await?)
    }

    /// Another transaction that reads what one at that row does, where a connection is to spare: what views are
    /// made of changes with a row alone. What is purged without one has ended, or its tenant is gone.
    async fn reading_beside(&self, tenant: &TenantId, at: Anchor) -> Option<Lent> {
        let begun = self
            .readers
            .begin_if_to_spare(self.dialect.begin_read, Whose::Tenant(tenant));
        let mut beside = begun.await?.patiently(SEARCH);
        let (also_at, _) = self.primary_head(&mut beside).await.ok()?;
        (also_at == at).then_some(beside)
    }

    /// The newest row, of a server that has all that was acknowledged (S-1).
    pub(super) async fn primary_head(&self, tx: &mut Lent) -> Result<(Anchor, Timestamp)> {
        let row = sqlx::query(self.say.head.clone()).fetch_one(tx).await?;
        if number::<i32>(&row, "in_recovery")? != 0 {
            return Err(StoreError::Following);
        }
        Ok((head(&row)?, Timestamp::from_micros(row.try_get("clock")?)))
    }

    pub(super) async fn replayed(&self, intent: &Intent, conn: &mut Lent) -> Result<Option<Begun>> {
        let found = sqlx::query(self.say.request.clone())
            .bind(intent.tenant.as_str().to_owned())
            .bind(intent.rpc)
            .bind(intent.request_id.clone())
            .fetch_optional(conn)
            .await?;
        let Some(row) = found else { return Ok(None) };
        if !intent.is_of(&row.try_get::<Vec<u8>, _>("body")?) {
            return Ok(Some(Begun::Reused));
        }
        let answer: String = row.try_get("answer")?;
        Ok(Some(Begun::Replay(Box::new(Answer::from_text(
            &answer,
            &intent.tenant,
        )?))))
    }
}

/// Whether two names of servers are of one; one that may not read the identifier leaves it out.
fn is_same_server(one: &str, other: &str) -> bool {
    match (one.split_once('/'), other.split_once('/')) {
        (Some((one, timeline)), Some((other, others))) => {
            timeline == others && (one == other || one.is_empty() || other.is_empty())
        }
        _ => false,
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn migrate(&self) -> Result<()> {
        self.engine.migrate().await
    }

    async fn begin_tenant(&self, intent: &Intent, settings: &TenantSettings) -> Result<Begun> {
        let mut tx = self.writing(Whose::Tenant(&intent.tenant)).await?;
        if let Some(begun) = self.replayed(intent, &mut tx).await? {
            return Ok(begun);
        }
        let row = SettingsRow::of(settings);
        let made = sqlx::query(self.say.add_tenant.clone())
            .bind(intent.tenant.as_str().to_owned())
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
            .bind(intent.now.micros())
            .fetch_optional(&mut tx)
            .await?;
        if made.is_none() {
            // It may have been made by this very request, for whose other try the INSERT waited.
            let begun = self.replayed(intent, &mut tx).await?;
            return begun.ok_or(StoreError::Taken);
        }
        let say = Arc::clone(&self.say);
        Ok(Begun::Open(Box::new(
            SqlWork::new(tx, say, intent.clone(), settings.clone()).told(),
        )))
    }

    async fn begin(&self, intent: &Intent) -> Result<Begun> {
        let mut tx = self.writing(Whose::Tenant(&intent.tenant)).await?;
        if intent.tenant.is_deployment() {
            return self.begin_access(tx, intent).await;
        }
        let locked = sqlx::query(self.say.lock_tenant.clone())
            .bind(intent.tenant.as_str().to_owned())
            .fetch_optional(&mut tx)
            .await?;
        // Also where the tenant is gone: it may be this very request that deleted it.
        if let Some(begun) = self.replayed(intent, &mut tx).await? {
            return Ok(begun);
        }
        let Some(row) = locked else {
            return Ok(Begun::NoTenant);
        };
        let filing = self.filing(&row)?;
        let settings = SettingsRow::read(&row)?.into_settings()?;
        let say = Arc::clone(&self.say);
        let work = SqlWork::new(tx, say, intent.clone(), settings);
        Ok(Begun::Open(Box::new(work.under(filing.number))))
    }

    async fn outcome(&self, intent: &Intent) -> Result<Option<Answer>> {
        let mut tx = self.writing(Whose::Tenant(&intent.tenant)).await?;
        let found = sqlx::query(self.say.outcome.clone())
            .bind(intent.tenant.as_str().to_owned())
            .bind(intent.rpc)
            .bind(intent.request_id.clone())
            .fetch_optional(&mut tx)
            .await?;
        tx.commit().await?;
        // Under this id something else may have been done since.
        let body = |row: &AnyRow| row.try_get::<Vec<u8>, _>("body");
        let found = match found {
            Some(row) if intent.is_of(&body(&row)?) => Some(row),
            _ => None,
        };
        found
            .map(|row| Answer::from_text(&row.try_get::<String, _>("answer")?, &intent.tenant))
            .transpose()
    }

    async fn directory(&self) -> Result<Directory> {
        let mut tx = self.reading(Whose::Everybody).await?;
        let (newest, clock) = self.primary_head(&mut tx).await?;
        let before = newest.revision.0.saturating_sub(REMEMBERED as u64);
        let marks = sqlx::query(self.say.marks.clone())
            .bind(i64::try_from(before).unwrap_or(i64::MAX))
            .fetch_all(&mut tx)
            .await?;
        let found = sqlx::query(self.say.tenants.clone())
            .bind("")
            .bind(i64::MAX)
            .fetch_all(&mut tx)
            .await?;
        let epoch: String = sqlx::query(self.say.meta.clone())
            .bind(EPOCH)
            .fetch_one(&mut tx)
            .await?
            .try_get("value")?;
        self.judge_keys(&mut tx).await?;
        let access = access::records(&mut tx, &self.say, clock).await?;
        tx.commit().await?;
        let tenants = found
            .iter()
            .map(|row| {
                let tenant: String = row.try_get("tenant")?;
                Ok((rows::tenant_id(&tenant)?, rows::tenant_record(row)?))
            })
            .collect::<Result<_>>()?;
        Ok(Directory {
            head: newest,
            rows: marks.iter().map(head).collect::<Result<_>>()?,
            epoch: epoch_of(&epoch)?,
            clock,
            tenants,
            access,
        })
    }

    async fn load(&self, tenant: &TenantId, sink: &mut dyn LoadSink) -> Result<bool> {
        let tx = self.reading(Whose::Tenant(tenant)).await?;
        let mut tx = tx.patiently(SEARCH);
        let Some(loaded) = self.loaded_tenant(tenant, &mut tx).await? else {
            return Ok(false);
        };
        let beside = self.reading_beside(tenant, loaded.head);
        sink.open(loaded);
        load::all(&mut tx, beside, &self.say, tenant.as_str(), sink).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn tail(&self, from: Revision) -> Result<Tail> {
        tail_with(&self.readers, &self.say, &self.ring, from).await
    }

    async fn link(&self) -> Result<Box<dyn FeedLink>> {
        self.engine.link(&self.say, &self.ring).await
    }

    async fn ring(&self) -> Result<()> {
        self.engine.ring().await
    }

    async fn raise_epoch(&self, seen: Epoch, to: Epoch) -> Result<Epoch> {
        let server = self.engine.server().await?;
        let mut tx = self.writing(Whose::Nobody).await?;
        let kept: String = sqlx::query(self.say.lock_epoch.clone())
            .fetch_one(&mut tx)
            .await?
            .try_get("value")?;
        let kept = epoch_of(&kept)?;
        // Two pods that find the same fork must not each begin a history of their own.
        let epoch = if kept > seen {
            kept
        } else {
            Epoch(kept.0.saturating_add(1)).max(to)
        };
        for (name, value) in [(EPOCH, Some(epoch.0.to_string())), (SERVER, server)] {
            if let Some(value) = value {
                sqlx::query(self.say.set_meta.clone())
                    .bind(name)
                    .bind(value)
                    .execute(&mut tx)
                    .await?;
            }
        }
        let row = sqlx::query(self.say.head.clone())
            .fetch_one(&mut tx)
            .await?;
        let head = head(&row)?;
        tx.commit().await?;
        // Beside a file, what was left of the other history would break this one at every start.
        self.engine.witness(head);
        Ok(epoch)
    }

    async fn unbroken(&self) -> Result<bool> {
        if let Some(server) = self.engine.server().await? {
            let mut tx = self.writing(Whose::Nobody).await?;
            sqlx::query(self.say.set_meta_once.clone())
                .bind(SERVER)
                .bind(server.clone())
                .execute(&mut tx)
                .await?;
            let known: String = sqlx::query(self.say.meta.clone())
                .bind(SERVER)
                .fetch_one(&mut tx)
                .await?
                .try_get("value")?;
            tx.commit().await?;
            return Ok(is_same_server(&known, &server));
        }
        let Some(left) = self.engine.witnessed() else {
            return Ok(true);
        };
        let row = sqlx::query(self.say.at.clone())
            .bind(row_number(left.revision)?)
            .fetch_one(&mut self.readers.lend(Whose::Everybody).await?)
            .await?;
        let nonce: Option<i64> = row.try_get("nonce")?;
        let pruned = left.revision < Revision(number(&row, "lowest")?);
        Ok(pruned || nonce == Some(i64::from(left.nonce.0)))
    }

    fn witness(&self, applied: Anchor) {
        self.engine.witness(applied);
    }

    async fn sizes(&self) -> Result<Vec<(TenantId, u64)>> {
        let found = sqlx::query(self.say.sizes.clone())
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?.patiently(SEARCH))
            .await?;
        found
            .iter()
            .map(|row| {
                let tenant: String = row.try_get("tenant")?;
                Ok((rows::tenant_id(&tenant)?, number(row, "keys")?))
            })
            .collect()
    }

    async fn aged_bans(
        &self,
        tenant: &TenantId,
        version: u16,
        after: BanId,
    ) -> Result<Aged<BanId>> {
        let than = self.ring.now().present(version);
        read::aged_bans(&self.readers, &self.say, tenant, &than, after).await
    }

    async fn settings(&self, tenant: &TenantId) -> Result<Option<TenantSettings>> {
        let found = sqlx::query(self.say.settings.clone())
            .bind(tenant.as_str().to_owned())
            .fetch_optional(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        found
            .map(|row| SettingsRow::read(&row)?.into_settings())
            .transpose()
    }

    async fn tenants(&self, after: &str, limit: i64) -> Result<Vec<(TenantId, TenantSettings)>> {
        let found = sqlx::query(self.say.tenants.clone())
            .bind(after.to_owned())
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Everybody).await?)
            .await?;
        found
            .iter()
            .map(|row| {
                let tenant: String = row.try_get("tenant")?;
                Ok((
                    rows::tenant_id(&tenant)?,
                    SettingsRow::read(row)?.into_settings()?,
                ))
            })
            .collect()
    }

    async fn list(&self, tenant: &TenantId, list_id: &ListId) -> Result<Option<BanList>> {
        let found = sqlx::query(self.say.list.clone())
            .bind(tenant.as_str().to_owned())
            .bind(list_id.as_str().to_owned())
            .fetch_optional(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        found
            .map(|row| ListRow::read(&row)?.into_list())
            .transpose()
    }

    async fn lists(&self, tenant: &TenantId, after: &str, limit: i64) -> Result<Vec<BanList>> {
        let found = sqlx::query(self.say.lists.clone())
            .bind(tenant.as_str().to_owned())
            .bind(after.to_owned())
            .bind(limit)
            .fetch_all(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        found
            .iter()
            .map(|row| ListRow::read(row)?.into_list())
            .collect()
    }

    async fn at_queues(
        &self,
        tenant: &TenantId,
        queues: &[String],
        rights_profile: &str,
    ) -> Result<Vec<AtQueue>> {
        let found = queues::ask(&self.say, tenant, queues, rights_profile)?
            .fetch_all(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        queues::in_order(&found, queues)
    }

    async fn queue_policies(
        &self,
        tenant: &TenantId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<QueuePolicy>> {
        queues::policies(&self.readers, &self.say, tenant, after, limit).await
    }

    async fn ban_rights(
        &self,
        tenant: &TenantId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<BanRights>> {
        queues::rights(&self.readers, &self.say, tenant, after, limit).await
    }

    async fn ban(&self, tenant: &TenantId, ban: BanId) -> Result<Option<Ban>> {
        let found = sqlx::query(self.say.ban.clone())
            .bind(tenant.as_str().to_owned())
            .bind(ban.bytes().to_vec())
            .fetch_optional(&mut self.readers.lend(Whose::Tenant(tenant)).await?)
            .await?;
        found
            .map(|row| BanRow::read(&row)?.into_ban(tenant))
            .transpose()
    }

    async fn concerning(
        &self,
        tenant: &TenantId,
        keys: &[Key],
        limit: i64,
    ) -> Result<Option<Concerning>> {
        let mut tx = self.reading(Whose::Tenant(tenant)).await?;
        let Some(loaded) = self.loaded_tenant(tenant, &mut tx).await? else {
            return Ok(None);
        };
        let bans = read::concerning(&mut tx, &self.say, tenant, keys, limit).await?;
        let exceptions =
            read::concerning_exceptions(&mut tx, &self.say, tenant, keys, limit).await?;
        tx.commit().await?;
        Ok(Some(Concerning {
            tenant: loaded,
            bans,
            exceptions,
        }))
    }

    async fn bans_of(&self, tenant: &TenantId, bans: &[BanId]) -> Result<Vec<Ban>> {
        read::bans_of(&self.readers, &self.say, tenant, bans).await
    }

    async fn ban_ids(
        &self,
        tenant: &TenantId,
        filter: &BanFilter,
        after: Option<BanId>,
        limit: i64,
    ) -> Result<Vec<BanId>> {
        let mut lent = self
            .readers
            .lend(Whose::Tenant(tenant))
            .await?
            .patiently(SEARCH);
        read::ban_ids(&mut lent, &self.say, tenant, filter, after, limit).await
    }

    async fn export(
        &self,
        tenant: &TenantId,
        filter: &BanFilter,
        sink: &mut dyn BanSink,
    ) -> Result<bool> {
        let mut tx = self.reading(Whose::Tenant(tenant)).await?;
        let (head, _) = self.primary_head(&mut tx).await?;
        export::all(tx, &self.say, tenant, filter, head, sink).await
    }

    async fn events_of(&self, tenant: &TenantId, nonces: &[Nonce]) -> Result<Vec<(Nonce, Event)>> {
        read::events_of(&self.readers, &self.say, tenant, nonces).await
    }

    async fn bans(&self, tenant: &TenantId, filter: &BanFilter) -> Result<BanPage> {
        read::bans(&self.readers, &self.say, tenant, filter).await
    }

    async fn events(&self, tenant: &TenantId, filter: &EventFilter) -> Result<Vec<Event>> {
        read::events(&self.readers, &self.say, tenant, filter).await
    }
}
