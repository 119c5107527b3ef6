//! Who asks, and what they may do.

use super::{ids::TenantId, refusal::Refusal};

/// What a caller may be allowed to do in a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Ask whether somebody is banned.
    Check,
    /// Ask why, and what becomes of an identity.
    Support,
    /// Ban from an interaction, and look at bans.
    Operator,
    /// Change and lift bans, and look at their history.
    Supervisor,
    /// Everything within a tenant.
    Admin,
    /// Follow what becomes of bans.
    Watch,
    /// Say that two identities are one customer's.
    Link,
}

impl Scope {
    /// The name used in grants.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Support => "support",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
            Self::Watch => "watch",
            Self::Link => "link",
        }
    }
}

/// Whose tenants an operation is about.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// This one.
    Tenant(&'a TenantId),
    /// All of them.
    Deployment,
}

/// Who asks, as far as the service knows.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: String,
    grants: Grants,
}

#[derive(Clone, Debug)]
enum Grants {
    /// Authentication is off: whoever reaches the listener may do everything.
    Everything,
}

impl Caller {
    /// Whoever asks while authentication is off.
    pub fn anonymous() -> Self {
        Self {
            principal: "anonymous".to_owned(),
            grants: Grants::Everything,
        }
    }

    /// Refuses unless the caller may do this there.
    pub const fn needs(&self, scope: Scope, reach: Reach<'_>) -> Result<(), Refusal> {
        let (_, _) = (scope, reach);
        match self.grants {
            Grants::Everything => Ok(()),
        }
    }

    /// Refuses a rights profile that the caller may not act under.
    pub const fn acting_under(&self, rights_profile: &str) -> Result<(), Refusal> {
        let _ = rights_profile;
        match self.grants {
            Grants::Everything => Ok(()),
        }
    }

    /// The name that goes into the history: the one given, where the caller may speak for others.
    pub fn acting_as(&self, actor: &str) -> Result<String, Refusal> {
        if actor.is_empty() || actor == self.principal {
            return Ok(self.principal.clone());
        }
        match self.grants {
            Grants::Everything => Ok(actor.to_owned()),
        }
    }
}
