//! `GET /views`: what this pod holds of each tenant, so that pods can be compared with one another
//! and with their database.
//!
//! **Invariant:** no identity, no reason and no name in it; a tenant's id and sums.

use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use super::services::Services;
use crate::{
    domain::{ids::TenantId, view::TenantView},
    feed::Standing,
};

/// One view in memory.
///
/// The view is the tenant's state at every revision from its own to the one told here. Where its own
/// is the newer, the pod is just about to say that it stands there. A view that has fallen behind
/// stands where it fell.
#[derive(Debug, Serialize)]
struct Resident<'a> {
    tenant: &'a str,
    /// The history that the pod follows.
    epoch: u32,
    /// The newest row whose news is in the view: where the pod stands, unless it has fallen behind.
    revision: u64,
    /// The token of where the pod stands.
    token: &'a str,
    /// Whether there is news of the tenant that only a load can bring, which is under way.
    behind: bool,
    /// The newest row of the tenant that is in this view, or the one it was loaded at.
    view_revision: u64,
    /// The digest of the view.
    digest: String,
    /// How many keys its bans are filed under.
    keys: usize,
    /// The memory it takes.
    bytes: usize,
}

impl<'a> Resident<'a> {
    fn of(tenant: &'a TenantId, view: &TenantView, standing: &'a Standing) -> Self {
        let at = view.behind.map_or(standing.position, |behind| behind.at);
        Self {
            tenant: tenant.as_str(),
            epoch: at.epoch.0,
            revision: at.anchor.revision.0,
            token: &standing.token,
            behind: view.behind.is_some(),
            view_revision: view.revision.0,
            digest: view.digest().to_string(),
            keys: view.len(),
            bytes: view.bytes(),
        }
    }
}

#[derive(Serialize)]
struct Problem {
    error: &'static str,
}

fn refuse(status: StatusCode, error: &'static str) -> Response {
    answer(status, &Problem { error })
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body + "\n").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The tenant that a query narrows the answer to; `Err` = it is not an id.
fn wanted(uri: &Uri) -> Result<Option<TenantId>, ()> {
    let query = uri.query().unwrap_or_default();
    let given = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("tenant="));
    given
        .map(|given| TenantId::parse(given).ok_or(()))
        .transpose()
}

/// Answers with one object a view, in the order of tenants.
pub(super) async fn views(State(all): State<Services>, uri: Uri) -> Response {
    let no_such_tenant = "there is no tenant of this id";
    let Ok(wanted) = wanted(&uri) else {
        return refuse(StatusCode::NOT_FOUND, no_such_tenant);
    };
    // First where the pod stands, then the views: they are at least as new as it says.
    let Some(standing) = all.feed.standing() else {
        let message = "this pod has not heard of its database yet";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    let views = all.views.all();
    let found: Vec<_> = views
        .iter()
        .filter(|(tenant, _)| wanted.as_ref().is_none_or(|wanted| wanted == tenant))
        .map(|(tenant, view)| Resident::of(tenant, view, &standing))
        .collect();
    match &wanted {
        Some(tenant) if found.is_empty() => {
            let known = all.feed.tenants().contains_key(tenant);
            let message = if known {
                "the tenant's bans are not in memory; they are loaded when somebody asks about them"
            } else {
                no_such_tenant
            };
            refuse(StatusCode::NOT_FOUND, message)
        }
        _ => answer(StatusCode::OK, &found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_tenant_or_none() {
        let wanted = |uri: &str| {
            let id = wanted(&uri.parse().unwrap());
            id.map(|id| id.map(|id| id.to_string()))
        };
        assert_eq!(wanted("/views"), Ok(None));
        assert_eq!(wanted("/views?pretty"), Ok(None));
        assert_eq!(wanted("/views?tenant=acme"), Ok(Some("acme".to_owned())));
        assert_eq!(
            wanted("/views?a=b&tenant=acme"),
            Ok(Some("acme".to_owned()))
        );
        assert_eq!(wanted("/views?tenant="), Err(()));
        assert_eq!(wanted("/views?tenant=%2B420"), Err(()));
    }
}
