//! What a batch asks about, counted before it is read: two bytes of the wire stand for an item, and two
//! hundred of memory.

use std::iter;

use prost::{
    bytes::Bytes,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::message::Otherwise;
use crate::{
    api::{check::MAX_BATCH, to_status},
    domain::{fields, refusal::Refusal},
};

/// The field of a batch that has its items, and that of an item which has its identities.
const REQUESTS: u32 = 1;
const IDENTITIES: u32 = 5;
/// The most identities of all items: several times as many as may be, for those that an item has too many of are
/// that item's fault alone.
const MAX_IDENTITIES_IN_ALL: usize = 32 * MAX_BATCH;

/// Bytes that an identity takes at the least.
const AN_IDENTITY: usize = 2;

/// A batch that does not ask about too many. A short one has no room for too many identities, and its items
/// are counted by whoever judges them.
pub(super) fn bounded(batch: Bytes) -> Result<Bytes, Otherwise> {
    if batch.len() <= AN_IDENTITY * MAX_IDENTITIES_IN_ALL {
        return Ok(batch);
    }
    match count(&batch) {
        Ok(()) => Ok(batch),
        Err(refusal) => Err(Otherwise::Refused(to_status(&refusal))),
    }
}

fn count(batch: &[u8]) -> Result<(), Refusal> {
    let items = || parts(batch, REQUESTS);
    fields::count("requests", items().count(), MAX_BATCH)?;
    let identities = items().map(|item| parts(item, IDENTITIES).count()).sum();
    fields::count("requests.identities", identities, MAX_IDENTITIES_IN_ALL)
}

/// What a message has in a field, up to where it is broken, which whoever reads it is told of.
fn parts(mut message: &[u8], field: u32) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        while !message.is_empty() {
            let (tag, wire) = decode_key(&mut message).ok()?;
            if wire != WireType::LengthDelimited {
                skip_field(wire, tag, &mut message, DecodeContext::default()).ok()?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
            let (part, rest) = message.split_at_checked(length)?;
            message = rest;
            if tag == field {
                return Some(part);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::api::v1::{
        BatchCheckInteractionsRequest, CheckInteractionRequest, Consistency, Identity,
    };

    fn batch(items: usize, identities: usize) -> Vec<u8> {
        let item = CheckInteractionRequest {
            tenant: "default".to_owned(),
            channel: 1,
            queue: "one".to_owned(),
            identities: vec![Identity::default(); identities],
            ..CheckInteractionRequest::default()
        };
        let batch = BatchCheckInteractionsRequest {
            requests: vec![item; items],
            consistency: Some(Consistency::default()),
        };
        batch.encode_to_vec()
    }

    #[test]
    fn a_batch_has_so_many_items_and_so_many_identities_in_all() {
        assert!(count(&batch(1_000, 32)).is_ok());
        assert!(count(&batch(1, 32_000)).is_ok());
        assert!(bounded(batch(1_000, 33).into()).is_err());
        assert!(bounded(batch(1, 32_001).into()).is_err());
        for (items, identities, words) in [
            (1_001, 0, "1001 items; at most 1000 are taken"),
            (1_000, 33, "33000 items; at most 32000 are taken"),
            (1, 32_001, "32001 items; at most 32000 are taken"),
        ] {
            let refusal = count(&batch(items, identities)).unwrap_err();
            assert_eq!(refusal.message, words);
        }
    }

    #[test]
    fn what_comes_before_a_break_counts() {
        let broken = [&batch(1_001, 1)[..], &[0xff]].concat();
        assert!(count(&broken).is_err());
        assert!(count(&[&batch(3, 1)[..], &[0xff]].concat()).is_ok());
    }
}
