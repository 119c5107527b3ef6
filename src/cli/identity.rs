//! Customers' identifiers, as they are typed on a command line.

use clap::Args;

use super::{output::clean, vocabulary::Spoken};
use crate::api::v1::{self, IdentityKind};

/// The flags that say how to read the identities of a command; they hold for all of them.
#[derive(Args, Default)]
pub(crate) struct IdentityFlags {
    /// What the identities are [default: what the channel usually carries; needed when not exactly
    /// one channel is named]
    #[arg(long, value_enum, ignore_case = true, value_name = "KIND")]
    pub(crate) kind: Option<IdentityKind>,
    /// Page, business or portfolio that issued them; needed to ban a messenger-psid, an
    /// apple-opaque-id or a whatsapp-user-id [default: none]
    #[arg(long, value_name = "ID")]
    pub(crate) issuer: Option<String>,
    /// Two-letter region in which to read national telephone numbers, such as CZ [default: the
    /// tenant's]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
}

impl IdentityFlags {
    /// The identity that `value` is, by these flags.
    pub(crate) fn identity(&self, value: &str) -> v1::Identity {
        v1::Identity {
            kind: self.kind.unwrap_or_default().into(),
            value: value.to_owned(),
            issuer: self.issuer.clone().unwrap_or_default(),
            region_hint: self.region.clone().unwrap_or_default(),
        }
    }

    /// The identities that `values` are.
    pub(crate) fn identities(&self, values: &[String]) -> Vec<v1::Identity> {
        values.iter().map(|value| self.identity(value)).collect()
    }
}

/// A target of a ban: its canonical form, else as it was received.
pub(crate) fn target(target: &v1::NormalizedIdentity) -> String {
    let input = target.input.as_ref();
    let value = match (
        target.canonical.as_str(),
        input.map(|input| input.value.as_str()),
    ) {
        ("", Some("") | None) => "(erased)",
        ("", Some(value)) => value,
        (canonical, _) => canonical,
    };
    match input.map(|input| input.issuer.as_str()) {
        Some(issuer) if !issuer.is_empty() => clean(&format!("{value} of {issuer}")),
        _ => clean(value),
    }
}

/// The targets of a ban, each as [`target`] has it.
pub(crate) fn targets(ban: &v1::Ban, separator: &str) -> String {
    ban.targets
        .iter()
        .map(target)
        .collect::<Vec<_>>()
        .join(separator)
}

/// Warnings by their codes, each with the identity that it is about.
pub(crate) fn warnings(warnings: &[v1::Warning], typed: &[v1::Identity]) -> String {
    let told = |warning: &v1::Warning| {
        let index = warning
            .identity_index
            .and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| typed.get(index)) {
            Some(identity) => format!("{} ({})", warning.code, shown(identity)),
            None => warning.code.clone(),
        }
    };
    warnings.iter().map(told).collect::<Vec<_>>().join(", ")
}

/// An identity as its own typist may see it: by its value, or by its kind where it has none.
pub(crate) fn shown(identity: &v1::Identity) -> String {
    if identity.value.is_empty() {
        return IdentityKind::told(identity.kind);
    }
    clean(&identity.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(value: &str) -> v1::Identity {
        v1::Identity {
            value: value.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_target_is_told_in_its_canonical_form_unless_erased() {
        let mut ban = v1::NormalizedIdentity {
            input: Some(identity("601 123 456")),
            canonical: "+420601123456".to_owned(),
            ..Default::default()
        };
        assert_eq!(target(&ban), "+420601123456");
        ban.canonical.clear();
        assert_eq!(target(&ban), "601 123 456");
        ban.input = Some(identity(""));
        assert_eq!(target(&ban), "(erased)");
    }

    #[test]
    fn a_warning_names_the_identity_it_is_about() {
        let about = |identity_index| v1::Warning {
            identity_index,
            code: "C".to_owned(),
        };
        let typed = [identity("a"), identity("b")];
        let told = warnings(&[about(Some(1)), about(None), about(Some(-1))], &typed);
        assert_eq!(told, "C (b), C, C");
    }
}
