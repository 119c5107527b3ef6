//! `WatchService`.

use std::collections::VecDeque;

use futures_util::stream;
use tonic::{Request, Response, Status};

use super::{
    Asked, WRITE_DEADLINE,
    convert::{ban, channels, token},
    export::{Answers, Exported},
    to_status, v1,
};
use crate::{
    desk::{BanQuery, Desk},
    domain::{
        ban::State,
        caller::Reach,
        fields,
        ids::TenantId,
        refusal::{Reason, Refusal},
        revision::{BadToken, Position},
    },
    feed::Feed,
    store::BanFilter,
    watcher::{BanChange, Item, Watch, Watcher, Watching},
};

/// Tells what becomes of bans over the wire.
#[derive(Clone)]
pub struct WatchApi {
    watcher: Watcher,
    desk: Desk,
    feed: Feed,
}

/// A stream of what becomes of bans: first those that stand, if they are wanted.
struct Telling {
    api: WatchApi,
    watch: Watch,
    /// The snapshots to be sent, one for each tenant.
    snapshots: VecDeque<TenantId>,
    snapshot: Option<Exported>,
    bans: VecDeque<v1::Ban>,
    /// Whether an end of the snapshot is still to be told.
    ends: bool,
    read_at: Option<Position>,
    watching: Option<Watching>,
    token: (Position, Option<v1::ConsistencyToken>),
}

impl WatchApi {
    /// The service of a watcher; snapshots are read by the desk.
    pub const fn new(watcher: Watcher, desk: Desk, feed: Feed) -> Self {
        Self {
            watcher,
            desk,
            feed,
        }
    }

    async fn begin(
        &self,
        asked: &Asked,
        request: &v1::WatchChangesRequest,
    ) -> Result<Telling, Refusal> {
        let v1::WatchChangesRequest {
            tenant,
            start_after,
            send_initial_snapshot,
            channels: on,
        } = request;
        let tenant = match tenant.as_str() {
            "" => None,
            tenant => Some(fields::tenant(tenant)?),
        };
        let reach = tenant.as_ref().map_or(Reach::Deployment, Reach::Tenant);
        asked.admit(reach)?;
        let start_after = start_after
            .as_ref()
            .map(|token| self.position(&token.token))
            .transpose()?;
        if start_after.is_some() && *send_initial_snapshot {
            let message = "either what came after a token, or all that stands first";
            let field = "send_initial_snapshot";
            return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
        }
        let watch = Watch {
            tenant,
            start_after,
            channels: channels("channels", on)?,
        };
        let mut telling = Telling {
            api: self.clone(),
            watch,
            snapshots: VecDeque::new(),
            snapshot: None,
            bans: VecDeque::new(),
            ends: *send_initial_snapshot,
            read_at: None,
            watching: None,
            token: (Position::default(), None),
        };
        if *send_initial_snapshot {
            telling.snapshots = match &telling.watch.tenant {
                Some(tenant) => VecDeque::from([tenant.clone()]),
                None => self.feed.tenants().keys().cloned().collect(),
            };
            // So that what is wrong is told at once.
            telling.next_snapshot(asked).await?;
        } else {
            telling.watching = Some(self.watcher.watch(telling.watch.clone()).await?);
        }
        Ok(telling)
    }

    fn position(&self, token: &str) -> Result<Position, Refusal> {
        Position::read(token, self.feed.seal()).map_err(|bad| {
            let (reason, message) = match bad {
                BadToken::Malformed => (Reason::TokenMalformed, "this is not a token"),
                BadToken::Foreign => (
                    Reason::TokenForeign,
                    "this token was given by another deployment",
                ),
            };
            Refusal::of_field(reason, "start_after.token", message)
        })
    }
}

impl Telling {
    /// Begins to send the bans of the next tenant, if there is one.
    async fn next_snapshot(&mut self, asked: &Asked) -> Result<bool, Refusal> {
        let Some(tenant) = self.snapshots.pop_front() else {
            return Ok(false);
        };
        let query = BanQuery {
            filter: BanFilter {
                states: vec![State::Active, State::Scheduled],
                channels: self.watch.channels,
                ..BanFilter::default()
            },
            ..BanQuery::default()
        };
        let desk = &self.api.desk;
        let filter = desk.export_filter(&tenant, query, asked.deadline).await?;
        let place = desk.export_place()?;
        self.snapshot = Some(Exported::begin(desk, tenant, filter, place)?);
        Ok(true)
    }

    async fn next(&mut self, asked: &Asked) -> Result<v1::WatchChangesResponse, Refusal> {
        use v1::watch_changes_response::Update;
        loop {
            if let Some(found) = self.bans.pop_front() {
                return Ok(self.answer(Update::SnapshotBan(found), None));
            }
            if let Some(snapshot) = &mut self.snapshot {
                let Some(some) = snapshot.next().await? else {
                    self.snapshot = None;
                    continue;
                };
                let read_at = some.read_at.unwrap_or_default();
                // The first one: what came after it is told of the later ones as well.
                if self.read_at.is_none() {
                    self.read_at = Some(self.api.position(&read_at.token)?);
                }
                self.bans = some.bans.into();
                continue;
            }
            if self.next_snapshot(asked).await? {
                continue;
            }
            let Some(watching) = &mut self.watching else {
                let watch = Watch {
                    start_after: self.read_at.or(self.watch.start_after),
                    ..self.watch.clone()
                };
                self.watching = Some(self.api.watcher.watch(watch).await?);
                continue;
            };
            if std::mem::take(&mut self.ends) {
                return Ok(self.answer(Update::SnapshotEnd(true), None));
            }
            let (item, at) = watching.next().await?;
            let update = match item {
                Item::Change(change) => Update::BanChange(self.change(&change)),
                Item::Checkpoint => Update::Checkpoint(true),
            };
            return Ok(self.answer(update, Some(at)));
        }
    }

    fn change(&self, change: &BanChange) -> v1::BanChange {
        let BanChange {
            kind,
            ban_id,
            tenant,
            ban,
            row: _,
        } = change;
        let ban = match ban {
            Some(found) => ban::message(found.clone(), self.api.desk.now()),
            None => v1::Ban {
                ban_id: ban_id.to_string(),
                tenant: tenant.to_string(),
                ..v1::Ban::default()
            },
        };
        v1::BanChange {
            kind: *kind as i32,
            ban: Some(ban),
        }
    }

    /// An answer, with the position up to which everything has been told; of a snapshot, its own.
    fn answer(
        &mut self,
        update: v1::watch_changes_response::Update,
        at: Option<Position>,
    ) -> v1::WatchChangesResponse {
        let at = at.or(self.read_at).unwrap_or_default();
        if self.token.0 != at || self.token.1.is_none() {
            let text = at.token(self.api.feed.seal());
            self.token = (at, token(Some(&text)));
        }
        v1::WatchChangesResponse {
            update: Some(update),
            changes_through: self.token.1.clone(),
        }
    }
}

#[tonic::async_trait]
impl v1::watch_service_server::WatchService for WatchApi {
    type WatchChangesStream = Answers<v1::WatchChangesResponse>;

    async fn watch_changes(
        &self,
        request: Request<v1::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let asked = Asked::of(&request, WRITE_DEADLINE)?;
        let begun = self.begin(&asked, request.get_ref()).await;
        let telling = begun.map_err(|refusal| to_status(&refusal))?;
        let answers = stream::unfold(Some((telling, asked)), async |telling| {
            let (mut telling, asked) = telling?;
            match telling.next(&asked).await {
                Ok(answer) => Some((Ok(answer), Some((telling, asked)))),
                Err(refusal) => Some((Err(to_status(&refusal)), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
