//! The names things go by: tenants and lists by words, bans and exceptions by `UUIDv7`.

use std::{borrow::Borrow, fmt, sync::Arc};

use uuid::Uuid;

/// The longest tenant or list id, in bytes.
pub const MAX_SLUG: usize = 63;
/// The longest id of the caller's own (queue, actor, interaction), in bytes.
pub const MAX_CALLERS_ID: usize = 128;

/// Whether `text` is a tenant or list id: `[a-z0-9][a-z0-9-]{0,62}`.
fn is_slug(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_SLUG
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|byte| letter(byte) || byte == b'-')
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads an id; `None` where it is not `[a-z0-9][a-z0-9-]{0,62}`.
            pub fn parse(text: &str) -> Option<Self> {
                is_slug(text).then(|| Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

slug!(
    /// A tenant: the first key of everything that is stored.
    TenantId
);
slug!(
    /// A ban list of a tenant.
    ListId
);

impl TenantId {
    /// What stands in the place of a tenant where something is about all of them, such as who may ask
    /// what. Never read from a request: it has not the form of an id.
    pub fn deployment() -> Self {
        Self("".into())
    }

    /// Whether this stands for all tenants.
    pub fn is_deployment(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id in its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of the id.
            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads the hyphenated text form; `None` where it is not a UUID.
            pub fn parse(text: &str) -> Option<Self> {
                (text.len() == 36)
                    .then(|| Uuid::try_parse(text).ok())?
                    .map(|id| Self(id.into_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(Uuid::from_bytes(self.0).as_hyphenated(), f)
            }
        }
    };
}

uuid!(
    /// A ban: `UUIDv7`, so ids sort by the time they were made.
    BanId
);
uuid!(
    /// An exception: `UUIDv7` as well.
    ExceptionId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_is_lower_case_letters_digits_and_hyphens() {
        for good in ["a", "default", "0", "a-b-c", &"x".repeat(63)] {
            assert!(TenantId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a b", "é", &"x".repeat(64)] {
            assert!(TenantId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_ban_id_reads_back_from_its_text() {
        let id = BanId::from_bytes(*Uuid::now_v7().as_bytes());
        assert_eq!(BanId::parse(&id.to_string()), Some(id));
        assert_eq!(BanId::parse("not-a-ban"), None);
    }
}
