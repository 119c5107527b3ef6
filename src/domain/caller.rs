//! Who asks, and what they may do: nothing but what a grant says.

use std::sync::Arc;

use super::{
    ids::TenantId,
    refusal::{Reason, Refusal},
};

/// What a caller may be allowed to do in a tenant; the numbers are those of the wire and of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// Ask whether somebody is banned.
    Check = 1,
    /// Ban from an interaction, and look at bans.
    Operator = 2,
    /// Change and lift bans, and look at their history.
    Supervisor = 3,
    /// Everything within a tenant that the others below do not have for themselves.
    Admin = 4,
    /// Ask why, and what becomes of an identity.
    Support = 5,
    /// Follow what changes.
    Watch = 6,
    /// Erase a person, and hand out what is known of one.
    Privacy = 7,
    /// Carry bans over to a customer's new identity.
    Link = 8,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Check,
        Self::Operator,
        Self::Supervisor,
        Self::Admin,
        Self::Support,
        Self::Watch,
        Self::Privacy,
        Self::Link,
    ];

    /// The name used in grants.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
            Self::Support => "support",
            Self::Watch => "watch",
            Self::Privacy => "privacy",
            Self::Link => "link",
        }
    }

    /// The scope of a number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| *scope as i32 == number)
    }

    /// The scope of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Itself and all that include it.
    const fn with_including(self) -> u16 {
        let including = match self {
            Self::Operator | Self::Support => Self::Admin.bit() | Self::Supervisor.bit(),
            Self::Supervisor => Self::Admin.bit(),
            Self::Check | Self::Admin | Self::Watch | Self::Privacy | Self::Link => 0,
        };
        self.bit() | including
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// Some scopes, as they were granted; what they include is found when they are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// The scopes of their bits, unknown ones left out: a scope of tomorrow grants nothing today.
    pub fn from_bits(bits: u16) -> Self {
        Self(
            Scope::ALL
                .into_iter()
                .fold(0, |all, scope| all | scope.bit() & bits),
        )
    }

    /// One bit a scope.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those named, one by one.
    pub fn each(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |scope| self.0 & scope.bit() != 0)
    }

    const fn include(self, wanted: Scope) -> bool {
        self.0 & wanted.with_including() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | scope.bit()))
    }
}

/// Whose tenants, and which queue, an operation is about.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// This tenant.
    Tenant(&'a TenantId),
    /// This queue of the tenant; empty = none.
    Queue(&'a TenantId, &'a str),
    /// All tenants.
    Deployment,
}

/// Something that a principal may do somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where; `None` = in every tenant, those of tomorrow included.
    pub tenant: Option<TenantId>,
    /// What.
    pub scopes: Scopes,
    /// Only what names one of these queues; empty = with whatever queue, or none.
    pub queues: Vec<String>,
    /// Whether the principal may name others as the ones who act: a backend that speaks for its users.
    pub may_act_for: bool,
    /// Whose rights on queues the principal has when it bans for itself; empty = nobody's.
    pub rights_profile: String,
}

impl Grant {
    fn covers(&self, reach: Reach<'_>) -> bool {
        let here = |tenant: &TenantId| self.tenant.as_ref().is_none_or(|mine| mine == tenant);
        match reach {
            Reach::Deployment => self.tenant.is_none() && self.queues.is_empty(),
            Reach::Tenant(tenant) => here(tenant) && self.queues.is_empty(),
            Reach::Queue(tenant, queue) => {
                here(tenant)
                    && (self.queues.is_empty() || self.queues.iter().any(|mine| mine == queue))
            }
        }
    }
}

/// Who asks, as far as the service knows; cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Who>);

#[derive(Debug)]
struct Who {
    principal: String,
    grants: Grants,
}

#[derive(Debug)]
enum Grants {
    /// Authentication is off: whoever reaches the listener may do everything.
    Everything,
    /// What was granted, and nothing else.
    These(Arc<[Grant]>),
}

/// The principal of whoever asks while authentication is off; nobody else is called so.
pub const ANONYMOUS: &str = "anonymous";

impl Caller {
    /// Whoever asks while authentication is off.
    pub fn anonymous() -> Self {
        Self(Arc::new(Who {
            principal: ANONYMOUS.to_owned(),
            grants: Grants::Everything,
        }))
    }

    /// Somebody who has shown who they are.
    pub fn known(principal: &str, grants: Arc<[Grant]>) -> Self {
        Self(Arc::new(Who {
            principal: principal.to_owned(),
            grants: Grants::These(grants),
        }))
    }

    /// What the caller is called.
    pub fn principal(&self) -> &str {
        &self.0.principal
    }

    /// Refuses whoever may do this nowhere: what can be told before it is known where.
    pub fn needs_anywhere(&self, scope: Scope) -> Result<(), Refusal> {
        match &self.0.grants {
            Grants::Everything => Ok(()),
            Grants::These(grants) if grants.iter().any(|grant| grant.scopes.include(scope)) => {
                Ok(())
            }
            Grants::These(_) => Err(scope_missing(scope)),
        }
    }

    /// Refuses unless the caller may do this there, in the same words whether there is such a tenant.
    pub fn needs(&self, scope: Scope, reach: Reach<'_>) -> Result<(), Refusal> {
        self.needs_anywhere(scope)?;
        let Grants::These(grants) = &self.0.grants else {
            return Ok(());
        };
        let mut with_scope = grants.iter().filter(|grant| grant.scopes.include(scope));
        if with_scope.any(|grant| grant.covers(reach)) {
            return Ok(());
        }
        let message = match reach {
            Reach::Deployment => "this takes a grant on all tenants",
            Reach::Tenant(_) => "the credential is not granted this tenant",
            Reach::Queue(..) => {
                "the credential is not granted this tenant, or not this queue of it"
            }
        };
        Err(Refusal::new(Reason::TenantMismatch, message))
    }

    /// Refuses whoever may do this in no part of the tenant, in the same words whether there is one.
    pub fn needs_within(&self, scope: Scope, tenant: &TenantId) -> Result<(), Refusal> {
        let within = |grant: &Grant| {
            grant.scopes.include(scope) && grant.tenant.as_ref().is_none_or(|mine| mine == tenant)
        };
        match &self.0.grants {
            Grants::These(grants) if grants.iter().any(within) => Ok(()),
            _ => self.needs(scope, Reach::Tenant(tenant)),
        }
    }

    /// Whether what was granted is the same.
    pub fn is_granted_what(&self, other: &Self) -> bool {
        match (&self.0.grants, &other.0.grants) {
            (Grants::Everything, Grants::Everything) => true,
            (Grants::These(mine), Grants::These(theirs)) => mine == theirs,
            _ => false,
        }
    }

    /// The name that goes into the history: the one given, where the caller may speak for others.
    pub fn acting_as(
        &self,
        actor: &str,
        scope: Scope,
        reach: Reach<'_>,
    ) -> Result<String, Refusal> {
        if actor.is_empty() || actor == self.0.principal {
            return Ok(self.0.principal.clone());
        }
        if self.may_act_for(scope, reach) {
            return Ok(actor.to_owned());
        }
        let message = "the credential may not act for others: leave the actor empty, or have its \
                       grant bear may_act_for";
        Err(Refusal::new(Reason::ActorMismatch, message))
    }

    /// The profile by whose rights on queues is judged: the one given, where the caller may speak for
    /// others, else the one that the grant names.
    pub fn rights_profile(
        &self,
        given: &str,
        scope: Scope,
        reach: Reach<'_>,
    ) -> Result<String, Refusal> {
        let own = match &self.0.grants {
            Grants::Everything => "",
            Grants::These(grants) => grants
                .iter()
                .filter(|grant| grant.scopes.include(scope) && grant.covers(reach))
                .map(|grant| grant.rights_profile.as_str())
                .find(|profile| !profile.is_empty())
                .unwrap_or_default(),
        };
        if given.is_empty() || given == own {
            return Ok(own.to_owned());
        }
        if self.may_act_for(scope, reach) {
            return Ok(given.to_owned());
        }
        let message = "the credential may not act under a rights profile of its choice: leave it \
                       empty, or have its grant bear may_act_for";
        Err(Refusal::new(Reason::ActorMismatch, message))
    }

    fn may_act_for(&self, scope: Scope, reach: Reach<'_>) -> bool {
        match &self.0.grants {
            Grants::Everything => true,
            Grants::These(grants) => grants.iter().any(|grant| {
                grant.may_act_for && grant.scopes.include(scope) && grant.covers(reach)
            }),
        }
    }
}

fn scope_missing(scope: Scope) -> Refusal {
    let message = format!("this takes a grant of scope `{}`", scope.name());
    Refusal::new(Reason::ScopeMissing, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    fn grant(scope: Scope, tenant: Option<&str>) -> Grant {
        Grant {
            tenant: tenant.map(|id| TenantId::parse(id).unwrap()),
            scopes: [scope].into_iter().collect(),
            queues: Vec::new(),
            may_act_for: false,
            rights_profile: String::new(),
        }
    }

    fn caller(grants: Vec<Grant>) -> Caller {
        Caller::known("ann", grants.into())
    }

    fn reason(refused: Result<impl std::fmt::Debug, Refusal>) -> Reason {
        refused.unwrap_err().reason
    }

    #[test]
    fn m26_an_admin_is_a_supervisor_a_supervisor_an_operator_and_all_others_stand_alone() {
        let includes = |scope: Scope| -> Vec<Scope> {
            let scopes: Scopes = [scope].into_iter().collect();
            Scope::ALL
                .into_iter()
                .filter(|wanted| scopes.include(*wanted))
                .collect()
        };
        assert_eq!(
            includes(Scope::Admin),
            [
                Scope::Operator,
                Scope::Supervisor,
                Scope::Admin,
                Scope::Support
            ]
        );
        assert_eq!(
            includes(Scope::Supervisor),
            [Scope::Operator, Scope::Supervisor, Scope::Support]
        );
        for alone in [
            Scope::Operator,
            Scope::Check,
            Scope::Support,
            Scope::Watch,
            Scope::Privacy,
            Scope::Link,
        ] {
            assert_eq!(includes(alone), [alone]);
        }
    }

    #[test]
    fn without_a_grant_nothing_is_allowed() {
        for scope in Scope::ALL {
            let refused = caller(Vec::new()).needs(scope, Reach::Tenant(&tenant("acme")));
            assert_eq!(reason(refused), Reason::ScopeMissing);
        }
    }

    #[test]
    fn a_grant_reaches_its_tenant_and_no_other() {
        let of_acme = caller(vec![grant(Scope::Operator, Some("acme"))]);
        let (acme, beta) = (tenant("acme"), tenant("beta"));
        let may = |scope, reach| of_acme.needs(scope, reach);
        assert!(may(Scope::Operator, Reach::Tenant(&acme)).is_ok());
        assert!(may(Scope::Operator, Reach::Queue(&acme, "sales")).is_ok());
        let elsewhere = may(Scope::Operator, Reach::Tenant(&beta));
        assert_eq!(reason(elsewhere), Reason::TenantMismatch);
        assert_eq!(
            reason(may(Scope::Operator, Reach::Deployment)),
            Reason::TenantMismatch
        );
        let more = may(Scope::Admin, Reach::Tenant(&acme));
        assert_eq!(reason(more), Reason::ScopeMissing);
        let of_all = caller(vec![grant(Scope::Admin, None)]);
        assert!(
            of_all
                .needs(Scope::Support, Reach::Tenant(&tenant("beta")))
                .is_ok()
        );
        assert!(of_all.needs(Scope::Admin, Reach::Deployment).is_ok());
    }

    #[test]
    fn a_grant_on_queues_reaches_only_what_names_one_of_them() {
        let narrow = Grant {
            queues: vec!["sales".to_owned()],
            ..grant(Scope::Check, Some("acme"))
        };
        let (narrow, acme) = (caller(vec![narrow]), tenant("acme"));
        assert!(
            narrow
                .needs(Scope::Check, Reach::Queue(&acme, "sales"))
                .is_ok()
        );
        for reach in [
            Reach::Queue(&acme, "care"),
            Reach::Queue(&acme, ""),
            Reach::Tenant(&acme),
        ] {
            assert_eq!(
                reason(narrow.needs(Scope::Check, reach)),
                Reason::TenantMismatch
            );
        }
    }

    #[test]
    fn only_who_may_act_for_others_names_another_actor_or_profile() {
        let acme = tenant("acme");
        let reach = Reach::Tenant(&acme);
        let own = Grant {
            rights_profile: "agents".to_owned(),
            ..grant(Scope::Operator, Some("acme"))
        };
        let ann = caller(vec![own.clone()]);
        for actor in ["", "ann"] {
            assert_eq!(ann.acting_as(actor, Scope::Operator, reach).unwrap(), "ann");
        }
        assert_eq!(
            reason(ann.acting_as("bob", Scope::Operator, reach)),
            Reason::ActorMismatch
        );
        for profile in ["", "agents"] {
            let judged = ann.rights_profile(profile, Scope::Operator, reach).unwrap();
            assert_eq!(judged, "agents");
        }
        let other = ann.rights_profile("chiefs", Scope::Operator, reach);
        assert_eq!(reason(other), Reason::ActorMismatch);
        let backend = caller(vec![Grant {
            may_act_for: true,
            ..own
        }]);
        assert_eq!(
            backend.acting_as("bob", Scope::Operator, reach).unwrap(),
            "bob"
        );
        let chiefs = backend
            .rights_profile("chiefs", Scope::Operator, reach)
            .unwrap();
        assert_eq!(chiefs, "chiefs");
        // The flag is of the grant that bears it, not of whatever else is granted.
        let beta = tenant("beta");
        let refused = backend.acting_as("bob", Scope::Operator, Reach::Tenant(&beta));
        assert_eq!(reason(refused), Reason::ActorMismatch);
    }

    #[test]
    fn a_scope_of_tomorrow_grants_nothing() {
        assert!(Scopes::from_bits(1 << 9 | 1).is_empty());
        let all: Scopes = Scope::ALL.into_iter().collect();
        assert_eq!(Scopes::from_bits(all.bits()), all);
    }
}
