//! The operator's button.

use super::{channel, target};
use crate::{
    api::v1,
    desk::{BanInteraction, MAX_CONTACT_PHONES},
    domain::{
        ban::{MAX_IDENTITIES, MAX_REASON},
        fields,
        identity::MAX_VALUE_BYTES,
        refusal::Refusal,
    },
};

/// The ban of an interaction, its tenant read apart; all that the request itself can be blamed for
/// is told here, before anything is looked up.
pub(in crate::api) fn job(request: &v1::BanInteractionRequest) -> Result<BanInteraction, Refusal> {
    let v1::BanInteractionRequest {
        tenant: _,
        actor: _,
        request_id: _,
        validate_only: _,
        rights_profile,
        queue,
        channel: on,
        interaction_id,
        live,
        identities,
        contact_phones,
        reason,
    } = request;
    for (field, text) in [
        ("rights_profile", rights_profile),
        ("queue", queue),
        ("interaction_id", interaction_id),
    ] {
        fields::callers_id(field, text)?;
    }
    let channel = channel("channel", *on)?;
    if identities.is_empty() {
        return Err(Refusal::required("identities"));
    }
    fields::items("identities", identities, MAX_IDENTITIES)?;
    let mut customer = Vec::with_capacity(identities.len());
    for (at, one) in identities.iter().enumerate() {
        for (part, text) in [("value", &one.value), ("issuer", &one.issuer)] {
            let field = format_args!("identities[{at}].{part}");
            fields::size(field, text, MAX_VALUE_BYTES)?;
        }
        customer.push(target(format_args!("identities[{at}]"), one)?);
    }
    fields::items("contact_phones", contact_phones, MAX_CONTACT_PHONES)?;
    for (at, phone) in contact_phones.iter().enumerate() {
        fields::size(format_args!("contact_phones[{at}]"), phone, MAX_VALUE_BYTES)?;
    }
    fields::text("reason", reason, MAX_REASON)?;
    Ok(BanInteraction {
        rights_profile: rights_profile.clone(),
        queue: queue.clone(),
        channel,
        interaction_id: interaction_id.clone(),
        live: *live,
        identities: customer,
        contact_phones: contact_phones.clone(),
        reason: reason.clone(),
    })
}
