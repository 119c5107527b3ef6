//! Whose rows a transaction is about, which it says itself as it begins.

use std::borrow::Cow;

use crate::domain::{hex::hex, ids::TenantId};

/// Whose rows a transaction is about. On Postgres it finds and writes no others, whatever its
/// statements say (migration 0011).
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Whose<'a> {
    /// One tenant's, or what is the deployment's own.
    Tenant(&'a TenantId),
    /// Everybody's: they are read, and hardly anything of them can be written.
    Everybody,
    /// Nobody's: what has no tenant, such as principals.
    Nobody,
}

impl Whose<'_> {
    /// What begins a transaction, which then says this for as long as it lasts: a pooler hands what is
    /// said of a session to somebody else.
    pub(super) fn said_by(self, begin: &'static str) -> Cow<'static, str> {
        let tenant = match self {
            Self::Nobody => return begin.into(),
            Self::Everybody => return format!("{begin}; SET LOCAL bancheck.tenant = '*'").into(),
            Self::Tenant(tenant) if tenant.is_deployment() => "-",
            Self::Tenant(tenant) => tenant.as_str(),
        };
        // In hexadecimal digits: no text of a caller becomes part of a statement.
        format!(
            "{begin}; SELECT set_config('bancheck.tenant', \
             convert_from(decode('{}', 'hex'), 'UTF8'), true)",
            hex(tenant.as_bytes())
        )
        .into()
    }
}
