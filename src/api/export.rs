//! Bans out: every ban that a filter finds, of one snapshot.

use std::pin::Pin;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{
    AdminApi, Asked, WRITE_DEADLINE,
    convert::{ban, bulk},
    spool::{SpoolIn, SpoolOut, spool},
    to_status, v1,
};
use crate::{
    desk::{Desk, ExportPlace, ExportSink},
    domain::{ban::Ban, clock::Timestamp, ids::TenantId, refusal::Refusal, revision::Anchor},
    store::{BanFilter, BanSink},
};

/// The most bans in a message, which stays far below what clients take.
const BANS_A_MESSAGE: usize = 250;

/// The messages of a stream.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Bans on their way from a snapshot to a caller.
pub(super) struct Exported {
    out: SpoolOut,
    _place: ExportPlace,
}

impl Exported {
    /// Begins to export what a filter finds.
    pub(super) fn begin(
        desk: &Desk,
        tenant: TenantId,
        filter: BanFilter,
        place: ExportPlace,
    ) -> Result<Self, Refusal> {
        let (spool, out) = spool()?;
        let now = filter.now.unwrap_or(Timestamp::MIN);
        let into = Into {
            desk: desk.clone(),
            spool,
            now,
            read_at: None,
            empty: true,
        };
        desk.export(tenant, filter, into);
        Ok(Self { out, _place: place })
    }

    /// The next bans, with the token of the snapshot; `None` = those were all.
    pub(super) async fn next(&mut self) -> Result<Option<v1::ExportBansResponse>, Refusal> {
        self.out.next().await
    }
}

/// What fills a spool.
struct Into {
    desk: Desk,
    spool: SpoolIn,
    now: Timestamp,
    read_at: Option<v1::ConsistencyToken>,
    empty: bool,
}

#[async_trait]
impl BanSink for Into {
    fn open(&mut self, head: Anchor) {
        let token = self.desk.token_of(head);
        self.read_at = token.map(|token| v1::ConsistencyToken { token });
    }

    async fn take(&mut self, bans: Vec<Ban>) -> bool {
        let mut bans = bans.into_iter().peekable();
        // At least one message, so that an export of nothing tells when there was nothing.
        while bans.peek().is_some() || self.empty {
            self.empty = false;
            let some = bans.by_ref().take(BANS_A_MESSAGE);
            let message = v1::ExportBansResponse {
                bans: some.map(|found| ban::message(found, self.now)).collect(),
                read_at: self.read_at.clone(),
            };
            if !self.spool.push(&message).await {
                return false;
            }
        }
        true
    }
}

impl ExportSink for Into {
    fn end(self, ended: Result<(), Refusal>) {
        self.spool.end(ended);
    }
}

impl AdminApi {
    pub(super) async fn export(
        &self,
        request: Request<v1::ExportBansRequest>,
    ) -> Result<Response<Answers<v1::ExportBansResponse>>, Status> {
        let asked = Asked::of(&request, WRITE_DEADLINE)?;
        let begun = self.begin_export(&asked, request.get_ref()).await;
        let exported = begun.map_err(|refusal| to_status(&refusal))?;
        let answers = stream::unfold(Some(exported), async |exported| {
            let mut exported = exported?;
            match exported.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(exported))),
                Ok(None) => None,
                Err(refusal) => Some((Err(to_status(&refusal)), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn begin_export(
        &self,
        asked: &Asked,
        request: &v1::ExportBansRequest,
    ) -> Result<Exported, Refusal> {
        let tenant = asked.tenant(&request.tenant)?;
        let query = bulk::exporting(request)?;
        let filter = self
            .desk
            .export_filter(&tenant, query, asked.deadline)
            .await?;
        let place = self.desk.export_place()?;
        Exported::begin(&self.desk, tenant, filter, place)
    }
}
