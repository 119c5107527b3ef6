//! A row of the file as the request it stands for.

use std::collections::HashMap;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::ValueEnum;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{
    columns::{Columns, Field},
    source::Row,
};
use crate::{
    api::v1::{Channel, CreateBanRequest, IdentityKind, MatchKind, create_ban_request::Expiry},
    cli::{expiry::Lasting, identity::IdentityFlags, moment},
};

/// What holds for every row that does not say otherwise.
pub(super) struct Template<'a> {
    /// The request without its target.
    pub(super) request: CreateBanRequest,
    /// How to read the values.
    pub(super) reading: &'a IdentityFlags,
}

impl Template<'_> {
    /// The request that a row stands for, or why it stands for none.
    ///
    /// Nothing is judged here that the server judges: whether a value is a number is for the one
    /// who compares them to say.
    pub(super) fn request(&self, row: &Row, columns: &Columns) -> Result<CreateBanRequest, String> {
        if let Some(broken) = &row.broken {
            return Err(broken.clone());
        }
        let cell = |field| Some(columns.cell(&row.cells, field)).filter(|cell| !cell.is_empty());
        let mut request = self.request.clone();
        let mut target = self
            .reading
            .identity(cell(Field::Value).ok_or("the row has no value")?);
        if let Some(kind) = cell(Field::Kind) {
            target.set_kind(one_of::<IdentityKind>(kind, "kind")?);
        }
        if let Some(issuer) = cell(Field::Issuer) {
            issuer.clone_into(&mut target.issuer);
        }
        if let Some(region) = cell(Field::Region) {
            region.clone_into(&mut target.region_hint);
        }
        request.targets = vec![target];
        if let Some(channels) = cell(Field::Channel) {
            request.channels = several_channels(channels)?;
        }
        if let Some(how) = cell(Field::Match) {
            request.set_match_kind(one_of::<MatchKind>(how, "match")?);
        }
        if let Some(reason) = cell(Field::Reason) {
            reason.clone_into(&mut request.reason);
        }
        if let Some(code) = cell(Field::ReasonCode) {
            code.clone_into(&mut request.reason_code);
        }
        if let Some(end) = cell(Field::ExpireTime) {
            request.expiry = Some(expiry(end)?);
        }
        Ok(request)
    }
}

fn several_channels(text: &str) -> Result<Vec<i32>, String> {
    let words = text
        .split([';', ',', '|'])
        .map(str::trim)
        .filter(|word| !word.is_empty());
    words
        .map(|word| one_of::<Channel>(word, "channel").map(Into::into))
        .collect()
}

/// Reads an end: an instant, a period or `permanent`.
fn expiry(text: &str) -> Result<Expiry, String> {
    if let Ok(time) = moment::instant(text) {
        return Ok(Expiry::ExpireTime(time));
    }
    let lasting: Result<Lasting, _> = text.parse();
    lasting.map(Into::into).map_err(|_| {
        "expire_time is no time with its offset (2026-12-31T23:59:59Z), no period (6 days) and \
         not `permanent`"
            .to_owned()
    })
}

/// Reads a word of the contract. A wrong one is not repeated: it may be a value that slipped into
/// the next column.
fn one_of<T: ValueEnum>(word: &str, column: &str) -> Result<T, String> {
    T::from_str(word, true).map_err(|_| format!("{column} is not one of those known"))
}

/// Whom a request bans and where: rows alike in this repeat one another, whatever else they say.
///
/// It goes by how the row writes it. Two spellings of one number are known for the same by the
/// server alone, which then refuses the second.
pub(super) fn subject(request: &CreateBanRequest) -> Vec<u8> {
    let mut channels = request.channels.clone();
    channels.sort_unstable();
    channels.dedup();
    let subject = CreateBanRequest {
        channels,
        targets: request.targets.clone(),
        match_kind: request.match_kind,
        ..CreateBanRequest::default()
    };
    subject.encode_to_vec()
}

/// One run of an import, which gives each row an id of its own.
///
/// The id is drawn from what the row says, from how many rows before it said the same, and from a
/// number that this run alone has. A request sent again within the run is thus done once, while
/// the next run asks anew: under an id that stayed the same, the server would repeat its first
/// answer, and a ban that has been lifted since would be reported as made.
pub(super) struct Run {
    salt: [u8; 16],
    seen: HashMap<Vec<u8>, u32>,
}

impl Run {
    /// A new run.
    pub(super) fn begin() -> anyhow::Result<Self> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).context("the system gives no random bytes")?;
        Ok(Self {
            salt,
            seen: HashMap::new(),
        })
    }

    /// The id for the next row that asks this; 43 characters.
    pub(super) fn request_id(&mut self, request: &CreateBanRequest) -> String {
        let content = request.encode_to_vec();
        let digest = Sha256::new().chain_update(self.salt).chain_update(&content);
        let before = self.seen.entry(content).or_default();
        let digest = digest.chain_update(before.to_be_bytes()).finalize();
        *before += 1;
        BASE64_URL_SAFE_NO_PAD.encode(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING_TOLD: IdentityFlags = IdentityFlags {
        kind: None,
        issuer: None,
        region: None,
    };

    /// The request for one row under a header.
    fn request(header: &str, cells: &str) -> Result<CreateBanRequest, String> {
        let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let columns = Columns::find(&split(header), &[]).unwrap();
        let request = CreateBanRequest {
            channels: vec![Channel::Call.into()],
            reason: "imported".to_owned(),
            ..CreateBanRequest::default()
        };
        let template = Template {
            request,
            reading: &NOTHING_TOLD,
        };
        template.request(
            &Row {
                number: 1,
                cells: split(cells),
                broken: None,
            },
            &columns,
        )
    }

    #[test]
    fn a_row_says_only_what_it_says_and_the_flags_say_the_rest() {
        let plain = request("value,reason,channel", " 601123456 ,,").unwrap();
        assert_eq!(plain.targets[0].value, "601123456");
        assert_eq!(plain.reason, "imported");
        assert_eq!(plain.channels, [3]);
        let full = request(
            "value,reason,channel,kind,region,reason_code,match",
            "4206,fraud,SMS|call,PHONE_NUMBER,CZ,F1,exact",
        );
        let full = full.unwrap();
        assert_eq!(
            (full.reason.as_str(), full.reason_code.as_str()),
            ("fraud", "F1")
        );
        assert_eq!((full.channels, full.match_kind), (vec![4, 3], 1));
        assert_eq!(
            (full.targets[0].kind, full.targets[0].region_hint.as_str()),
            (4, "CZ")
        );
    }

    #[test]
    fn an_end_may_be_a_time_a_period_or_none() {
        let end = |text: &str| request("value,expires", &format!("1,{text}")).map(|r| r.expiry);
        assert!(matches!(
            end("2026-12-31T00:00:00Z"),
            Ok(Some(Expiry::ExpireTime(_)))
        ));
        assert!(matches!(end("6 days"), Ok(Some(Expiry::Timeout(_)))));
        assert_eq!(end("permanent"), Ok(Some(Expiry::Permanent(true))));
        assert_eq!(end(""), Ok(None));
        assert!(end("31.12.2026").is_err());
    }

    #[test]
    fn a_row_that_cannot_be_understood_says_which_column_and_never_what_stood_there() {
        for (header, cells, column) in [
            ("value,reason", ",x", "value"),
            ("value,channel", "1,+420601123456", "channel"),
            ("value,kind", "1,+420601123456", "kind"),
            ("value,expires", "1,+420601123456", "expire_time"),
        ] {
            let cause = request(header, cells).unwrap_err();
            assert!(cause.contains(column) && !cause.contains("601"), "{cause}");
        }
    }

    #[test]
    fn rows_repeat_one_another_if_they_ban_the_same_whatever_the_reason() {
        let one = request("value,reason,channel", "1,a,call;sms");
        let one = one.unwrap_or_default();
        let same = request("value,reason,channel", "1,b,sms;call").unwrap();
        let other = request("value,reason,channel", "1,a,call").unwrap();
        assert_eq!(subject(&one), subject(&same));
        assert_ne!(subject(&one), subject(&other));
    }

    #[test]
    fn every_row_has_an_id_of_its_own_even_where_two_are_equal() {
        let request = request("value", "1").unwrap();
        let (mut run, mut next) = (Run::begin().unwrap(), Run::begin().unwrap());
        let ids = [
            run.request_id(&request),
            run.request_id(&request),
            next.request_id(&request),
        ];
        assert!(
            ids[0] != ids[1] && ids[0] != ids[2] && ids[0].len() <= 64,
            "{ids:?}"
        );
    }
}
