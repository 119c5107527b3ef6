//! `bancheck grant`: what principals may do.

use clap::{Args, Subcommand};

use super::{
    Outcome, Session,
    output::{self, Facts, Format, Sheet, clean},
    proto_json,
    writing::WriteFlags,
};
use crate::{
    api::v1::{Grant, ListGrantsRequest, Principal, SetGrantsRequest},
    domain::caller::Scope,
};

/// The most principals on one page.
const PAGE: i32 = 1_000;

/// What to do about grants.
#[derive(Subcommand)]
pub(crate) enum GrantCommand {
    Set(Set),
    /// List principals by name, with what each may do
    List {
        /// Only this principal
        #[arg(value_name = "PRINCIPAL")]
        principal: Option<String>,
    },
}

/// Say what a principal may do: all of it, in place of what was granted before
///
/// A principal is the name of API keys, the `sub` of a JWT, or a name in a client certificate. With
/// no scope named, everything is taken away.
#[derive(Args)]
pub(crate) struct Set {
    /// The principal's name, 1 to 128 bytes
    #[arg(value_name = "PRINCIPAL")]
    principal: String,
    #[command(flatten)]
    granted: GrantFlags,
    /// Add this grant to those that there are, which is how grants on several tenants come about
    #[arg(long)]
    add: bool,
    #[command(flatten)]
    writing: WriteFlags,
}

/// The flags that make up one grant.
#[derive(Args)]
pub(crate) struct GrantFlags {
    /// What may be done: check, operator, supervisor, admin, support, watch, privacy or link
    /// (repeatable, or with commas); admin includes supervisor, which includes operator and support
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = scope)]
    pub(crate) scopes: Vec<Scope>,
    /// In every tenant, those made later too [default: in the one of --tenant]
    #[arg(long)]
    all_tenants: bool,
    /// Only for requests that name this queue (repeatable) [default: whatever the queue]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// Let it name others as the ones who act: a backend that speaks for its users
    #[arg(long)]
    may_act_for: bool,
    /// Profile by whose rights on queues it bans for itself [default: none]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    rights_profile: String,
}

impl GrantFlags {
    /// The grant, if a scope was named.
    pub(crate) fn grant(&self, tenant: &str) -> Option<Grant> {
        (!self.scopes.is_empty()).then(|| Grant {
            tenant: if self.all_tenants {
                String::new()
            } else {
                tenant.to_owned()
            },
            all_tenants: self.all_tenants,
            scopes: self.scopes.iter().map(|scope| *scope as i32).collect(),
            queues: self.queues.clone(),
            may_act_for: self.may_act_for,
            rights_profile: self.rights_profile.clone(),
        })
    }
}

/// Reads the name of a scope.
pub(super) fn scope(text: &str) -> Result<Scope, String> {
    Scope::from_name(text.trim()).ok_or_else(|| {
        let names = Scope::ALL.map(Scope::name);
        format!("there are {}", names.join(", "))
    })
}

impl GrantCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Set(set) => set.run(session).await,
            Self::List { principal } => list(principal.unwrap_or_default(), session).await,
        }
    }
}

impl Set {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let mut grants: Vec<Grant> = self
            .granted
            .grant(&session.connection.tenant)
            .into_iter()
            .collect();
        let mut etag = String::new();
        if self.add
            && let Some(known) = known(&self.principal, session).await?
        {
            grants.splice(0..0, known.grants);
            // Somebody else's change in between would be undone.
            etag = known.etag;
        }
        let request = SetGrantsRequest {
            actor: self.writing.actor.clone(),
            request_id: self.writing.request_id.clone(),
            validate_only: self.writing.dry_run,
            principal: self.principal,
            grants,
            etag,
        };
        let mut client = session.connection.access().await?;
        let answer = client.set_grants(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&sheet(answer.principal.as_slice()).to_csv()?)?,
            Format::Table => {
                let principal = answer.principal.unwrap_or_default();
                let mut facts = Facts::default();
                for grant in &principal.grants {
                    facts.add("may", told(grant));
                }
                facts.add("token", answer.written_at.unwrap_or_default().token);
                let name = clean(&principal.principal);
                output::print(&format!("{name}\n{}", facts.to_text()))?;
            }
        }
        self.writing.remind();
        Ok(Outcome::Done)
    }
}

/// A principal, if anything has been said of it.
async fn known(name: &str, session: &Session<'_>) -> anyhow::Result<Option<Principal>> {
    let request = ListGrantsRequest {
        principal: name.to_owned(),
        ..ListGrantsRequest::default()
    };
    let mut client = session.connection.access().await?;
    match client.list_grants(request).await {
        Ok(page) => Ok(page.into_inner().principals.pop()),
        Err(status) if super::failure::reason(&status) == "PRINCIPAL_NOT_FOUND" => Ok(None),
        Err(status) => Err(status.into()),
    }
}

async fn list(principal: String, session: &Session<'_>) -> anyhow::Result<Outcome> {
    let mut client = session.connection.access().await?;
    let mut request = ListGrantsRequest {
        principal,
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut principals = Vec::new();
    loop {
        let page = client.list_grants(request.clone()).await?.into_inner();
        principals.extend(page.principals);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let items = proto_json::canonical_all(&principals)?;
    session
        .display
        .list(&items, || sheet(&principals), || sheet(&principals))?;
    Ok(Outcome::Done)
}

/// A row a grant; a principal that may do nothing has one all the same.
fn sheet(principals: &[Principal]) -> Sheet {
    let mut rows = Vec::new();
    for Principal {
        principal, grants, ..
    } in principals
    {
        if grants.is_empty() {
            rows.push([principal, "", "", "", ""].map(str::to_owned));
        }
        for grant in grants {
            rows.push([
                principal.clone(),
                place(grant).to_owned(),
                scopes(grant).join(" "),
                grant.queues.join(" "),
                if grant.may_act_for { "yes" } else { "" }.to_owned(),
            ]);
        }
    }
    Sheet::new(
        ["principal", "tenant", "scopes", "queues", "may_act_for"],
        rows,
    )
}

fn place(grant: &Grant) -> &str {
    if grant.all_tenants {
        "(all)"
    } else {
        &grant.tenant
    }
}

fn scopes(grant: &Grant) -> Vec<&'static str> {
    let known = |number: &i32| Scope::from_number(*number).map(Scope::name);
    grant.scopes.iter().filter_map(known).collect()
}

/// A grant on one line.
fn told(grant: &Grant) -> String {
    let mut text = format!("{} in {}", scopes(grant).join(", "), place(grant));
    if !grant.queues.is_empty() {
        text = format!("{text}, for {}", grant.queues.join(", "));
    }
    if grant.may_act_for {
        text.push_str(", also for others");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_named_as_in_the_contract() {
        assert_eq!(scope("supervisor"), Ok(Scope::Supervisor));
        assert!(scope("root").unwrap_err().contains("supervisor"));
    }
}
