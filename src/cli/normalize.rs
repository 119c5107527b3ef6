//! `bancheck normalize`: what does the server make of this identity?

use clap::Args;

use super::{
    Outcome, Session,
    identity::{self, IdentityFlags},
    output::{self, Facts, Format, Sheet},
    proto_json,
    vocabulary::Spoken,
};
use crate::api::v1::{
    Channel, Identity, IdentityKind, NormalizeIdentifierRequest, NormalizedIdentity,
};

/// Show the form in which identities are compared, and the keys they are found by
#[derive(Args)]
pub(crate) struct Normalize {
    /// Channel to read them on [default: any; needed without --kind]
    #[arg(long, value_enum, ignore_case = true, value_name = "CHANNEL")]
    channel: Option<Channel>,
    #[command(flatten)]
    reading: IdentityFlags,
    /// Identities as a connector would send them, such as +420601123456 or a@example.com
    #[arg(
        required = true,
        value_name = "IDENTITY",
        allow_negative_numbers = true
    )]
    identities: Vec<String>,
}

impl Normalize {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let mut client = session.connection.diagnostics().await?;
        let mut told = Vec::with_capacity(self.identities.len());
        for identity in self.reading.identities(&self.identities) {
            let request = NormalizeIdentifierRequest {
                tenant: session.connection.tenant.clone(),
                channel: self.channel.unwrap_or_default().into(),
                identity: Some(identity),
            };
            let answer = client.normalize_identifier(request).await?.into_inner();
            told.push(answer.identity.unwrap_or_default());
        }
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical_all(&told)?)?,
            Format::Csv => output::print(&csv(&told).to_csv()?)?,
            Format::Table => {
                let pages: Vec<_> = told.iter().map(|one| facts(one).to_text()).collect();
                output::print(&pages.join("\n"))?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn facts(told: &NormalizedIdentity) -> Facts {
    let typed: Vec<Identity> = told.input.iter().cloned().collect();
    let mut facts = Facts::default();
    facts
        .add(
            "identity",
            typed.first().map(identity::shown).unwrap_or_default(),
        )
        .add(
            "kind",
            typed
                .first()
                .map(|one| IdentityKind::told(one.kind))
                .unwrap_or_default(),
        )
        .add("canonical", output::clean(&told.canonical))
        .add("found by", output::clean(&told.match_keys.join(", ")))
        .add("canonicalizer", &told.canonicalizer_version)
        .add("warnings", codes(told, ", "));
    facts
}

fn csv(told: &[NormalizedIdentity]) -> Sheet {
    let header = [
        "value",
        "kind",
        "canonical",
        "match_keys",
        "canonicalizer_version",
        "warnings",
    ];
    let row = |one: &NormalizedIdentity| {
        let input = one.input.clone().unwrap_or_default();
        [
            input.value,
            IdentityKind::told(input.kind),
            one.canonical.clone(),
            one.match_keys.join(";"),
            one.canonicalizer_version.clone(),
            codes(one, ";"),
        ]
    };
    Sheet::new(header, told.iter().map(row))
}

fn codes(told: &NormalizedIdentity, separator: &str) -> String {
    let codes = told.warnings.iter().map(|warning| warning.code.as_str());
    codes.collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::Warning;

    #[test]
    fn what_was_made_of_an_identity_is_told_in_one_sheet() {
        let told = NormalizedIdentity {
            input: Some(Identity {
                kind: IdentityKind::EmailAddress.into(),
                value: "A+x@Example.com".to_owned(),
                ..Default::default()
            }),
            canonical: "a+x@example.com".to_owned(),
            match_keys: vec!["a+x@example.com".to_owned(), "a@example.com".to_owned()],
            canonicalizer_version: "2".to_owned(),
            warnings: vec![Warning {
                identity_index: Some(0),
                code: "HOMOGLYPH".to_owned(),
            }],
        };
        let text = facts(&told).to_text();
        for part in [
            "A+x@Example.com",
            "a+x@example.com, a@example.com",
            "HOMOGLYPH",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let sheet = csv(&[told]).to_csv().unwrap();
        assert!(sheet.contains("a+x@example.com;a@example.com"), "{sheet}");
    }
}
