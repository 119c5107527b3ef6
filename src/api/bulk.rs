//! The streams of `AdminService`: bans in.

use std::time::Duration;

use prost::Message;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{
    AdminApi, Asked,
    convert::{bulk, token},
    to_status, v1,
};
use crate::{
    desk::{Judge, JudgedRows, Order},
    domain::{
        caller::Reach,
        fields,
        import::Tally,
        refusal::{Reason, Refusal},
    },
    store::MAX_CHUNK,
};

/// How long a stream may take when its caller names no deadline.
const NO_DEADLINE: Duration = Duration::from_hours(24);
/// How long the next row of an import is waited for: its place is wanted by others.
const NEXT_ROW: Duration = Duration::from_mins(1);
/// The most bytes of messages in a chunk. While one is written the next is received, so an import
/// takes some ten times this much memory, however fast its caller sends.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Some rows, and how they were received.
#[derive(Default)]
struct Chunk {
    rows: JudgedRows,
    body: Vec<u8>,
    /// Whether no more will come.
    last: bool,
}

impl AdminApi {
    pub(super) async fn import(
        &self,
        request: Request<Streaming<v1::ImportBansRequest>>,
    ) -> Result<Response<v1::ImportBansResponse>, Status> {
        let asked = Asked::of(&request, NO_DEADLINE)?;
        let mut parts = request.into_inner();
        let refused = |refusal: Refusal| to_status(&refusal);
        let first = next_part(&mut parts).await?;
        let Some(v1::import_bans_request::Part::Header(header)) = first else {
            return Err(refused(Refusal::required("header")));
        };
        let tenant = fields::tenant(&header.tenant)
            .map_err(bulk::in_header)
            .map_err(refused)?;
        asked.admit(Reach::Tenant(&tenant)).map_err(refused)?;
        fields::callers_id("header.actor", &header.actor).map_err(refused)?;
        let actor = asked.acting_as(&header.actor, Reach::Tenant(&tenant));
        let order = Order {
            tenant,
            actor: actor.map_err(refused)?,
            request_id: header.request_id.clone(),
            validate_only: header.validate_only,
            body: header.encode_to_vec(),
            deadline: asked.deadline,
        };
        let (terms, rules) = bulk::terms(&header).map_err(refused)?;
        let mut import = self.desk.import(order, terms).await.map_err(refused)?;
        let judge = import.judge();
        let mut chunk = read_chunk(&mut parts, &rules, &judge).await?;
        while !chunk.rows.is_empty() {
            let last = chunk.last;
            let next = async {
                if last {
                    Ok(Chunk::default())
                } else {
                    read_chunk(&mut parts, &rules, &judge).await
                }
            };
            let (written, next) = tokio::join!(import.rows(chunk.rows, &chunk.body), next);
            written.map_err(refused)?;
            chunk = next?;
        }
        let (tally, written_at) = import.finish().await.map_err(refused)?;
        Ok(Response::new(response(tally, written_at.as_deref())))
    }

    pub(super) async fn deactivate_all(
        &self,
        asked: &Asked,
        request: &v1::DeactivateBansRequest,
    ) -> Result<v1::DeactivateBansResponse, Refusal> {
        let tenant = asked.tenant(&request.tenant)?;
        let job = bulk::lifting(request)?;
        let order = super::convert::order(asked, &tenant, request)?;
        let written = self.desk.lift_all(order, job).await?;
        Ok(v1::DeactivateBansResponse {
            deactivated_count: i32::try_from(written.answer.count).unwrap_or(i32::MAX),
            written_at: token(written.token.as_deref()),
        })
    }
}

/// The next part of an import; `None` = there are no more.
async fn next_part(
    parts: &mut Streaming<v1::ImportBansRequest>,
) -> Result<Option<v1::import_bans_request::Part>, Status> {
    let Ok(next) = timeout(NEXT_ROW, parts.message()).await else {
        let message = format!(
            "no row came for {} s; send all of them again under the same request_id",
            NEXT_ROW.as_secs()
        );
        return Err(to_status(&Refusal::new(Reason::DeadlineExceeded, message)));
    };
    let Some(v1::ImportBansRequest { part }) = next? else {
        // A stream that was broken off ends like one that was ended. Where it was, whoever serves the
        // call finds out as soon as this rests, and drops it.
        tokio::task::yield_now().await;
        return Ok(None);
    };
    part.map(Some)
        .ok_or_else(|| to_status(&Refusal::required("row")))
}

async fn read_chunk(
    parts: &mut Streaming<v1::ImportBansRequest>,
    rules: &bulk::RowRules,
    judge: &Judge,
) -> Result<Chunk, Status> {
    let (mut chunk, mut rows) = (Chunk::default(), Vec::new());
    while rows.len() < MAX_CHUNK && chunk.body.len() < MAX_CHUNK_BYTES {
        match next_part(parts).await? {
            None => {
                chunk.last = true;
                break;
            }
            Some(v1::import_bans_request::Part::Header(_)) => {
                let message = "the header is the first part of the stream, and only the first";
                let refusal = Refusal::of_field(Reason::FieldInvalid, "header", message);
                return Err(to_status(&refusal));
            }
            Some(v1::import_bans_request::Part::Row(row)) => {
                // Each with its length, so that no two lists of rows look the same.
                if row.encode_length_delimited(&mut chunk.body).is_err() {
                    return Err(Status::internal("a row that cannot be written down"));
                }
                rows.push(rules.read(row));
            }
        }
    }
    let judged = judge.judge(rows).await;
    chunk.rows = judged.map_err(|refusal| to_status(&refusal))?;
    Ok(chunk)
}

fn response(tally: Tally, written_at: Option<&str>) -> v1::ImportBansResponse {
    let Tally {
        import_id,
        rows: _,
        created,
        updated,
        duplicates,
        excepted,
        failed,
        failures,
        trail: _,
    } = tally;
    let count = |rows: u64| i32::try_from(rows).unwrap_or(i32::MAX);
    v1::ImportBansResponse {
        created_count: count(created),
        written_at: token(written_at),
        updated_count: count(updated),
        duplicate_count: count(duplicates),
        excepted_count: count(excepted),
        failed_count: count(failed),
        errors: failures
            .into_iter()
            .map(|(row_number, status)| bulk::row_error(row_number, &status))
            .collect(),
        import_id,
    }
}
