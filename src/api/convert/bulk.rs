//! Imports, exports, and what is done to many bans at once.

use prost::Message;
use tonic_types::pb;

use super::{ban, channels, instant, period, target};
use crate::{
    api::{to_status, v1},
    desk::{BanQuery, CreateBan, DeactivateBans, End, ImportRow, ImportTerms},
    domain::{
        ban::{Enforcement, Origin},
        clock::Timestamp,
        fields,
        identity::MatchKind,
        ids::ListId,
        import::OnDuplicate,
        refusal::Refusal,
    },
};

/// What of a header every row is read by.
pub(in crate::api) struct RowRules {
    list_id: Option<ListId>,
    override_warnings: bool,
}

/// A refusal of a field of the header.
pub(in crate::api) fn in_header(refusal: Refusal) -> Refusal {
    Refusal {
        field: format!("header.{}", refusal.field),
        ..refusal
    }
}

/// What a header says, its order apart.
pub(in crate::api) fn terms(
    header: &v1::import_bans_request::Header,
) -> Result<(ImportTerms, RowRules), Refusal> {
    let v1::import_bans_request::Header {
        tenant: _,
        actor: _,
        request_id: _,
        validate_only: _,
        list_id,
        on_duplicate,
        replace,
        override_warnings,
    } = header;
    let list_id = if list_id.is_empty() {
        None
    } else {
        Some(fields::list_id("header.list_id", list_id)?)
    };
    let field = "header.on_duplicate";
    let on_duplicate = fields::known(field, *on_duplicate, OnDuplicate::from_number)?;
    let terms = ImportTerms {
        list_id: list_id.clone(),
        on_duplicate: on_duplicate.unwrap_or_default(),
        replace: *replace,
        tell: written_down,
    };
    let rules = RowRules {
        list_id,
        override_warnings: *override_warnings,
    };
    Ok((terms, rules))
}

/// A refusal as the `google.rpc.Status` of a row.
fn written_down(refusal: &Refusal) -> Vec<u8> {
    let status = to_status(refusal);
    // The details are a whole `google.rpc.Status` already.
    status.details().to_vec()
}

/// The error of a row, from what [`written_down`] made of it.
pub(in crate::api) fn row_error(
    row_number: i32,
    status: &[u8],
) -> v1::import_bans_response::RowError {
    v1::import_bans_response::RowError {
        row_number,
        status: pb::Status::decode(status).ok(),
    }
}

impl RowRules {
    /// Reads a row.
    pub(in crate::api) fn read(&self, row: v1::import_bans_request::Row) -> ImportRow {
        ImportRow {
            number: row.row_number,
            ban: self.ban(row),
        }
    }

    fn ban(&self, row: v1::import_bans_request::Row) -> Result<CreateBan, Refusal> {
        use v1::import_bans_request::row::Expiry;
        let v1::import_bans_request::Row {
            row_number: _,
            targets,
            match_kind,
            channels: on,
            reason,
            reason_code,
            start_time,
            expiry,
        } = row;
        let end = match &expiry {
            None | Some(Expiry::Permanent(false)) => End::Default,
            Some(Expiry::Permanent(true)) => End::Never,
            Some(Expiry::ExpireTime(at)) => {
                End::At(instant("expire_time", Some(at))?.unwrap_or(Timestamp::MAX))
            }
            Some(Expiry::Timeout(timeout)) => End::After(period("timeout", timeout)?),
        };
        Ok(CreateBan {
            list_id: self.list_id.clone(),
            channels: channels("channels", &on)?,
            targets: targets
                .iter()
                .enumerate()
                .map(|(at, one)| target(format_args!("targets[{at}]"), one))
                .collect::<Result<_, _>>()?,
            match_kind: fields::known("match_kind", match_kind, MatchKind::from_number)?,
            reason,
            reason_code,
            end,
            start: instant("start_time", start_time.as_ref())?,
            enforcement: Enforcement::default(),
            override_warnings: self.override_warnings,
            origin: Origin::Import,
        })
    }
}

/// Which bans are to be lifted, and why.
pub(in crate::api) fn lifting(
    request: &v1::DeactivateBansRequest,
) -> Result<DeactivateBans, Refusal> {
    let v1::DeactivateBansRequest {
        tenant,
        actor: _,
        request_id: _,
        validate_only: _,
        states,
        channels,
        list_ids,
        origins,
        import_id,
        identity,
        target_ends_with,
        text,
        created_by,
        create_time_from,
        create_time_to,
        expire_before,
        reason,
    } = request;
    let query = ban::query(&v1::ListBansRequest {
        tenant: tenant.clone(),
        states: states.clone(),
        channels: channels.clone(),
        list_ids: list_ids.clone(),
        origins: origins.clone(),
        import_id: import_id.clone(),
        identity: identity.clone(),
        target_ends_with: target_ends_with.clone(),
        text: text.clone(),
        created_by: created_by.clone(),
        create_time_from: *create_time_from,
        create_time_to: *create_time_to,
        expire_before: *expire_before,
        ..v1::ListBansRequest::default()
    })?;
    Ok(DeactivateBans {
        query,
        reason: reason.clone(),
    })
}

/// Which bans are to be exported.
pub(in crate::api) fn exporting(request: &v1::ExportBansRequest) -> Result<BanQuery, Refusal> {
    let v1::ExportBansRequest {
        tenant,
        states,
        channels,
        list_ids,
        origins,
        import_id,
        identity,
        target_ends_with,
        text,
        created_by,
        create_time_from,
        create_time_to,
        expire_before,
    } = request;
    ban::query(&v1::ListBansRequest {
        tenant: tenant.clone(),
        states: states.clone(),
        channels: channels.clone(),
        list_ids: list_ids.clone(),
        origins: origins.clone(),
        import_id: import_id.clone(),
        identity: identity.clone(),
        target_ends_with: target_ends_with.clone(),
        text: text.clone(),
        created_by: created_by.clone(),
        create_time_from: *create_time_from,
        create_time_to: *create_time_to,
        expire_before: *expire_before,
        ..v1::ListBansRequest::default()
    })
}
