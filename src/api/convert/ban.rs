//! Bans and their events.

use prost_types::FieldMask;

use super::{all_known, channels, instant, period, target, timestamp, token, warning};
use crate::{
    api::v1,
    desk::{BanEdit, BanQuery, CreateBan, End, EventQuery},
    domain::{
        ban::{Ban, Enforcement, Origin, State, Target},
        clock::Timestamp,
        fields,
        identity::MatchKind,
        ids::TenantId,
        keys::Seal,
        list::MAX_LISTS,
        refusal::{Reason, Refusal},
        revision::{Epoch, Position},
    },
    store::{BanFilter, BanOrder, Event, EventFilter},
};

/// The administrator's Add, its tenant read apart.
pub(in crate::api) fn create(request: &v1::CreateBanRequest) -> Result<CreateBan, Refusal> {
    use v1::create_ban_request::Expiry;
    let v1::CreateBanRequest {
        tenant: _,
        actor: _,
        request_id: _,
        validate_only: _,
        list_id,
        channels: on,
        targets,
        match_kind,
        reason,
        reason_code,
        start_time,
        enforcement,
        override_warnings,
        expiry,
    } = request;
    let end = match expiry {
        None | Some(Expiry::Permanent(false)) => End::Default,
        Some(Expiry::Permanent(true)) => End::Never,
        Some(Expiry::ExpireTime(at)) => {
            End::At(instant("expire_time", Some(at))?.unwrap_or(Timestamp::MAX))
        }
        Some(Expiry::Timeout(timeout)) => End::After(period("timeout", timeout)?),
    };
    let list_id = if list_id.is_empty() {
        None
    } else {
        Some(fields::list_id("list_id", list_id)?)
    };
    Ok(CreateBan {
        list_id,
        channels: channels("channels", on)?,
        targets: targets
            .iter()
            .enumerate()
            .map(|(at, one)| target(format_args!("targets[{at}]"), one))
            .collect::<Result<_, _>>()?,
        match_kind: fields::known("match_kind", *match_kind, MatchKind::from_number)?,
        reason: reason.clone(),
        reason_code: reason_code.clone(),
        end,
        start: instant("start_time", start_time.as_ref())?,
        enforcement: fields::known("enforcement", *enforcement, Enforcement::from_number)?
            .unwrap_or_default(),
        override_warnings: *override_warnings,
        origin: Origin::AdminEntry,
    })
}

/// The changes to a ban that a message asks for.
pub(in crate::api) fn edit(
    ban: &v1::Ban,
    mask: Option<&FieldMask>,
    permanent: bool,
) -> Result<BanEdit, Refusal> {
    const CHANGEABLE: [&str; 6] = [
        "expire_time",
        "start_time",
        "reason",
        "reason_code",
        "enforcement",
        "channels",
    ];
    let mask = super::Mask::read(mask, &CHANGEABLE)?;
    let expire = instant("ban.expire_time", ban.expire_time.as_ref())?;
    if permanent && !mask.wants("expire_time", true) {
        let message = "permanent is about expire_time: name that too";
        return Err(Refusal::of_field(
            Reason::InvalidFieldMask,
            "update_mask",
            message,
        ));
    }
    let end = match (
        mask.wants("expire_time", permanent || expire.is_some()),
        expire,
    ) {
        (false, _) => None,
        (true, _) if permanent => Some(End::Never),
        (true, Some(at)) => Some(End::At(at)),
        (true, None) => {
            let message = "say when the ban ends, or set permanent";
            return Err(Refusal::of_field(
                Reason::FieldRequired,
                "ban.expire_time",
                message,
            ));
        }
    };
    let enforcement = fields::known("ban.enforcement", ban.enforcement, Enforcement::from_number)?;
    let start = instant("ban.start_time", ban.start_time.as_ref())?;
    Ok(BanEdit {
        end,
        start: mask.pick("start_time", start.is_some(), start),
        reason: mask.pick("reason", !ban.reason.is_empty(), ban.reason.clone()),
        reason_code: mask.pick(
            "reason_code",
            !ban.reason_code.is_empty(),
            ban.reason_code.clone(),
        ),
        enforcement: mask.pick(
            "enforcement",
            enforcement.is_some(),
            enforcement.unwrap_or_default(),
        ),
        channels: mask.pick(
            "channels",
            !ban.channels.is_empty(),
            channels("ban.channels", &ban.channels)?,
        ),
    })
}

/// Which bans a message asks for.
pub(in crate::api) fn query(request: &v1::ListBansRequest) -> Result<BanQuery, Refusal> {
    let v1::ListBansRequest {
        tenant: _,
        page_size,
        page_token,
        states,
        channels: on,
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
        order_by,
    } = request;
    let order = match order_by.as_str() {
        "" | "create_time desc" => BanOrder::Creation,
        "expire_time" | "expire_time asc" => BanOrder::Expiry,
        _ => {
            let message = "bans are listed by `create_time desc` or `expire_time`";
            return Err(Refusal::of_field(
                Reason::InvalidFilter,
                "order_by",
                message,
            ));
        }
    };
    let lists = fields::items("list_ids", list_ids, MAX_LISTS)?
        .iter()
        .enumerate()
        .map(|(at, list)| fields::list_id(&format!("list_ids[{at}]"), list))
        .collect::<Result<_, _>>()?;
    Ok(BanQuery {
        filter: BanFilter {
            states: all_known("states", states, State::from_number)?,
            channels: channels("channels", on)?,
            lists,
            origins: all_known("origins", origins, Origin::from_number)?,
            import_id: import_id.clone(),
            ends_with: target_ends_with.clone(),
            text: text.clone(),
            created_by: created_by.clone(),
            created_from: instant("create_time_from", create_time_from.as_ref())?,
            created_to: instant("create_time_to", create_time_to.as_ref())?,
            expire_before: instant("expire_before", expire_before.as_ref())?,
            order,
            ..BanFilter::default()
        },
        identity: identity
            .as_ref()
            .map(|one| target("identity", one))
            .transpose()?,
        page_size: *page_size,
        page_token: page_token.clone(),
    })
}

/// Which events a message asks for.
pub(in crate::api) fn event_query(
    request: &v1::ListBanEventsRequest,
) -> Result<EventQuery, Refusal> {
    let v1::ListBanEventsRequest {
        tenant: _,
        page_size,
        page_token,
        ban_id,
        actor_filter,
        from_time,
        to_time,
    } = request;
    let ban = if ban_id.is_empty() {
        None
    } else {
        Some(fields::ban_id("ban_id", ban_id)?)
    };
    Ok(EventQuery {
        filter: EventFilter {
            ban,
            actor: actor_filter.clone(),
            from: instant("from_time", from_time.as_ref())?,
            to: instant("to_time", to_time.as_ref())?,
            ..EventFilter::default()
        },
        page_size: *page_size,
        page_token: page_token.clone(),
    })
}

/// A ban on the wire, its state told at `now`.
pub(in crate::api) fn message(ban: Ban, now: Timestamp) -> v1::Ban {
    let state = ban.state(now);
    let Ban {
        ban_id,
        tenant,
        list_id,
        channels,
        targets,
        match_kind,
        reason,
        reason_code,
        enforcement,
        origin,
        start,
        expire,
        ended: _,
        created,
        updated,
        created_by,
        deactivated,
        deactivated_by,
        deactivate_reason,
        source_interaction,
        source_queue,
        parent,
        import_id,
        match_count,
        last_match,
        version,
    } = ban;
    v1::Ban {
        ban_id: ban_id.to_string(),
        tenant: tenant.to_string(),
        list_id: list_id.map(|list| list.to_string()).unwrap_or_default(),
        channels: channels.iter().map(|channel| channel as i32).collect(),
        targets: targets.into_iter().map(target_message).collect(),
        match_kind: match_kind as i32,
        reason,
        reason_code,
        state: state as i32,
        enforcement: enforcement as i32,
        origin: origin as i32,
        start_time: start.map(timestamp),
        expire_time: expire.map(timestamp),
        create_time: Some(timestamp(created)),
        update_time: Some(timestamp(updated)),
        created_by,
        deactivate_time: deactivated.map(timestamp),
        deactivated_by,
        deactivate_reason,
        source_interaction_id: source_interaction,
        source_queue,
        parent_ban_id: parent.map(|parent| parent.to_string()).unwrap_or_default(),
        import_id,
        match_count: i64::try_from(match_count).unwrap_or(i64::MAX),
        last_match_time: last_match.map(timestamp),
        etag: version.to_string(),
    }
}

pub(super) fn target_message(target: Target) -> v1::NormalizedIdentity {
    let Target {
        kind,
        input,
        canonical,
        issuer,
        canonicaliser_version,
        match_keys,
    } = target;
    v1::NormalizedIdentity {
        input: Some(v1::Identity {
            kind: kind as i32,
            value: input,
            issuer,
            region_hint: String::new(),
        }),
        canonical,
        match_keys,
        canonicalizer_version: canonicaliser_version.to_string(),
        warnings: Vec::new(),
    }
}

/// What a write warns of: about target n - 1 where n is above nought.
pub(in crate::api) fn warnings(warnings: &[(u32, String)]) -> Vec<v1::Warning> {
    let about = |at: u32| at.checked_sub(1).and_then(|at| i32::try_from(at).ok());
    warnings
        .iter()
        .map(|(at, code)| warning(about(*at), code))
        .collect()
}

/// An event on the wire; its token is of the present history.
pub(in crate::api) fn event(event: Event, epoch: Epoch, seal: &Seal) -> v1::BanEvent {
    let Event {
        event_id,
        ban,
        action,
        actor,
        at,
        comment,
        anchor,
    } = event;
    let checked_at = anchor.map(|anchor| Position { epoch, anchor }.token(seal));
    v1::BanEvent {
        event_id: uuid::Uuid::from_bytes(event_id).to_string(),
        ban_id: ban.map(|ban| ban.to_string()).unwrap_or_default(),
        action,
        actor,
        event_time: Some(timestamp(at)),
        comment,
        checked_at: token(checked_at.as_deref()),
    }
}

/// The tenant of a ban that is to be changed.
pub(in crate::api) fn tenant_of(ban: &v1::Ban) -> Result<TenantId, Refusal> {
    fields::tenant(&ban.tenant).map_err(|refusal| super::within("ban", refusal))
}
