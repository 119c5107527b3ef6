//! The questions that tell what a caller may do: each changes nothing, and is one that only the scope
//! stands before.

use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Response, Status, metadata::MetadataMap};

use super::clocks::Clocks;
use crate::{
    api::v1::{
        CalendarPeriod, Channel, CheckInteractionRequest, CheckInteractionResponse,
        ConsistencyToken, ExportSubjectRequest, GetBanRequest, GetTenantSettingsRequest, Identity,
        IdentityKind, LinkIdentitiesRequest, ListBanEventsRequest, ListTenantsRequest,
        PreviewExpirationRequest, WatchChangesRequest, preview_expiration_request::Length,
    },
    cli::{
        Session,
        failure::{headline, reason},
        moment,
    },
    domain::caller::Scope,
};

/// A ban that nobody has.
const NO_BAN: &str = "00000000-0000-7000-8000-000000000000";

/// Whether a scope is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Granted,
    Refused,
    /// Whatever was answered does not tell.
    Unknown,
}

/// What has come of all questions.
#[derive(Default)]
pub(super) struct Probed {
    pub(super) scopes: Vec<(Scope, Verdict)>,
    /// Whether the caller is an administrator of all tenants.
    pub(super) everywhere: bool,
    pub(super) no_tenant: bool,
    /// Why the credential is no good, in the server's words.
    pub(super) stranger: Option<String>,
    pub(super) answer: Option<CheckInteractionResponse>,
    pub(super) clocks: Clocks,
    /// The server's.
    pub(super) version: Option<String>,
}

impl Probed {
    /// Whether the server knows who asks.
    pub(super) fn is_known(&self) -> bool {
        let mut all = self.scopes.iter();
        all.any(|(_, verdict)| *verdict != Verdict::Unknown)
    }

    /// Takes down what an answer tells beside itself, and whether its scope is granted.
    fn note<T>(
        &mut self,
        ours: [DateTime<Utc>; 2],
        answered: Result<Response<T>, Status>,
    ) -> (Verdict, Option<T>) {
        let (headers, verdict, answer) = match answered {
            Ok(answer) => {
                let (headers, answer, _) = answer.into_parts();
                (headers, Verdict::Granted, Some(answer))
            }
            Err(status) => (status.metadata().clone(), self.judge(&status), None),
        };
        if let Some(second) = date(&headers) {
            self.clocks
                .note(ours, [second, second + TimeDelta::seconds(1)]);
        }
        let server = headers.get("server").and_then(|told| told.to_str().ok());
        if let Some(version) = server.and_then(|told| told.strip_prefix("bancheck/")) {
            self.version = Some(version.to_owned());
        }
        (verdict, answer)
    }

    fn judge(&mut self, status: &Status) -> Verdict {
        match reason(status).as_str() {
            "SCOPE_MISSING" | "TENANT_MISMATCH" => Verdict::Refused,
            "CREDENTIAL_MISSING" | "CREDENTIAL_INVALID" | "CREDENTIAL_EXPIRED" => {
                self.stranger = Some(headline(status));
                Verdict::Unknown
            }
            "TENANT_NOT_FOUND" => {
                self.no_tenant = true;
                Verdict::Granted
            }
            // They are said only to who is let in.
            "BAN_NOT_FOUND" | "FIELD_REQUIRED" | "FIELD_INVALID" | "INVALID_IDENTIFIER"
            | "TOKEN_MALFORMED" => Verdict::Granted,
            _ => Verdict::Unknown,
        }
    }
}

fn date(headers: &MetadataMap) -> Option<DateTime<Utc>> {
    let text = headers.get("date")?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

/// Asks every question that the listeners which were reached answer.
pub(super) async fn ask_all(session: &Session<'_>, (check, admin): (bool, bool)) -> Probed {
    let mut probed = Probed::default();
    // What cannot be asked tells nothing, and why is told of the listener.
    if check {
        let _ = ask_check(session, &mut probed).await;
    }
    if admin {
        let _ = ask_admin(session, &mut probed).await;
    }
    probed
}

async fn ask_check(session: &Session<'_>, probed: &mut Probed) -> anyhow::Result<()> {
    let mut client = session.connection.checks().await?;
    let nobody = Identity {
        kind: IdentityKind::Withheld.into(),
        ..Identity::default()
    };
    let request = CheckInteractionRequest {
        tenant: session.connection.tenant.clone(),
        channel: Channel::Call.into(),
        identities: vec![nobody],
        ..CheckInteractionRequest::default()
    };
    let before = session.now();
    let answered = client.check_interaction(request).await;
    let (verdict, answer) = probed.note([before, session.now()], answered);
    probed.scopes.push((Scope::Check, verdict));
    probed.answer = answer;
    Ok(())
}

/// Asks a question, and takes down whether its scope is granted.
macro_rules! probe {
    ($session:ident, $probed:ident, $scope:ident, $call:expr) => {{
        let before = $session.now();
        let answered = $call.await;
        let (verdict, answer) = $probed.note([before, $session.now()], answered);
        $probed.scopes.push((Scope::$scope, verdict));
        answer
    }};
}

async fn ask_admin(session: &Session<'_>, probed: &mut Probed) -> anyhow::Result<()> {
    let tenant = || session.connection.tenant.clone();
    let mut bans = session.connection.bans().await?;
    let mut settings = session.connection.settings().await?;
    let mut diagnostics = session.connection.diagnostics().await?;
    let mut watches = session.connection.watches().await?;

    let request = GetBanRequest {
        tenant: tenant(),
        ban_id: NO_BAN.to_owned(),
    };
    probe!(session, probed, Operator, bans.get_ban(request));
    let request = ListBanEventsRequest {
        tenant: tenant(),
        ban_id: NO_BAN.to_owned(),
        page_size: 1,
        ..ListBanEventsRequest::default()
    };
    probe!(session, probed, Supervisor, bans.list_ban_events(request));
    let request = GetTenantSettingsRequest { tenant: tenant() };
    probe!(
        session,
        probed,
        Admin,
        settings.get_tenant_settings(request)
    );

    let minute = CalendarPeriod {
        minutes: 1,
        ..CalendarPeriod::default()
    };
    let request = PreviewExpirationRequest {
        tenant: tenant(),
        length: Some(Length::Period(minute)),
        from_time: None,
    };
    let before = session.now();
    let preview = probe!(
        session,
        probed,
        Support,
        diagnostics.preview_expiration(request)
    );
    let end = preview.and_then(|preview| moment::calendar(&preview.expire_time?));
    if let Some(end) = end {
        let its = end - TimeDelta::minutes(1);
        probed.clocks.note([before, session.now()], [its, its]);
    }

    let request = WatchChangesRequest {
        tenant: tenant(),
        // No stream begins at such a token.
        start_after: Some(ConsistencyToken {
            token: "-".to_owned(),
        }),
        ..WatchChangesRequest::default()
    };
    probe!(session, probed, Watch, watches.watch_changes(request));
    let mut privacy = session.connection.privacy().await?;
    let request = ExportSubjectRequest {
        tenant: tenant(),
        // Of nobody nothing is told.
        identities: Vec::new(),
    };
    probe!(session, probed, Privacy, privacy.export_subject(request));
    let request = LinkIdentitiesRequest {
        tenant: tenant(),
        ..LinkIdentitiesRequest::default()
    };
    probe!(session, probed, Link, settings.link_identities(request));

    let everywhere = settings.list_tenants(ListTenantsRequest::default()).await;
    probed.everywhere = everywhere.is_ok();
    Ok(())
}
