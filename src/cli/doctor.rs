//! `bancheck doctor`: what stands between this machine and an answer, and what to do about it.

mod clocks;
mod probes;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use self::{
    clocks::Clocks,
    probes::{Probed, Verdict},
};
use super::{
    Outcome, Session,
    connection::{Credential, Listener},
    failure::{self, headline},
    moment,
    output::{Sheet, clean},
};
use crate::{
    api::v1::{CheckInteractionResponse, DecisionBasis},
    domain::caller::Scope,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Look whether a server can be reached and used from here, and say what to do where it cannot
///
/// It asks questions that change nothing: whether both listeners answer and are ready, who the
/// credential stands for and what it may do in the tenant, how fresh answers are, how far the clocks
/// are apart, and which versions meet. Exits with 1 if anything failed.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Scopes that the credential must have here: check, operator, supervisor, admin, support, watch,
    /// privacy or link (repeatable, or with commas) [default: any one of them]
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = super::grant::scope)]
    need: Vec<Scope>,
    /// Only look whether both listeners answer and are ready, for which no credential is needed
    #[arg(long, conflicts_with = "need")]
    reach_only: bool,
}

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// It stands in the way.
    Failed,
    /// It could not be looked at.
    Unknown,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
        }
    }
}

/// A line of the answer.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    #[serde(rename = "what_to_do", skip_serializing_if = "String::is_empty")]
    advice: String,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, State::Ok, found, "")
    }

    fn failed(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(what, State::Failed, found, advice)
    }

    fn unknown(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, State::Unknown, found, "")
    }

    fn new(
        what: &'static str,
        state: State,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            what,
            state,
            found: clean(&found.into()),
            advice: clean(&advice.into()),
        }
    }

    /// What an error says, and what it says to do.
    fn wrong(what: &'static str, error: &anyhow::Error) -> Self {
        let text = failure::describe(error);
        let mut lines = text.lines();
        let found = lines.next().unwrap_or_default();
        let found = found.strip_prefix("error: ").unwrap_or(found);
        let hint = lines.find_map(|line| line.strip_prefix("hint: "));
        let whole = format!("{error:#}");
        let tls = whole.contains("certificate") || whole.contains("UnknownIssuer");
        let hint = if tls {
            Some(
                "--ca names the roots that vouch for the server; the address must be a name in its certificate",
            )
        } else {
            hint
        };
        Self::failed(
            what,
            found,
            hint.unwrap_or("see what the server's log says"),
        )
    }
}

impl Doctor {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let mut found = Vec::new();
        let check = reach(session, Listener::Check).await;
        let admin = reach(session, Listener::Admin).await;
        let reached = (is_there(&check), is_there(&admin));
        found.extend([check, admin].into_iter().flatten());
        if !self.reach_only {
            self.ask(session, reached, &mut found).await;
        }
        let sheet = || {
            let rows = found.iter().map(|one| {
                let state = one.state.word().to_owned();
                [
                    one.what.to_owned(),
                    state,
                    one.found.clone(),
                    one.advice.clone(),
                ]
            });
            Sheet::new(["what", "state", "found", "what_to_do"], rows)
        };
        session.display.list(&found, sheet, sheet)?;
        let failed = found.iter().any(|one| one.state == State::Failed);
        Ok(if failed {
            Outcome::Failed
        } else {
            Outcome::Done
        })
    }

    async fn ask(&self, session: &Session<'_>, reached: (bool, bool), found: &mut Vec<Finding>) {
        let probed = probes::ask_all(session, reached).await;
        found.push(credential(session, &probed));
        found.extend(self.allowed(session, &probed));
        found.push(freshness(probed.answer.as_ref()));
        found.push(clocks(&probed.clocks));
        found.push(versions(probed.version.as_deref()));
    }

    /// What the credential may do, and in which tenant.
    fn allowed(&self, session: &Session<'_>, probed: &Probed) -> Vec<Finding> {
        let tenant = &session.connection.tenant;
        let of = |wanted: Verdict| {
            let those = probed.scopes.iter();
            let those = those.filter(|(_, verdict)| *verdict == wanted);
            those.map(|(scope, _)| *scope).collect::<Vec<_>>()
        };
        let (granted, refused) = (of(Verdict::Granted), of(Verdict::Refused));
        let names = |scopes: &[Scope]| {
            let names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
            names.join(", ")
        };
        let missing: Vec<_> = self
            .need
            .iter()
            .copied()
            .filter(|scope| !granted.contains(scope))
            .collect();
        let grant = |scopes: &str| {
            format!(
                "an administrator grants it: `bancheck --tenant {tenant} grant set --add --scope {scopes} PRINCIPAL`"
            )
        };
        let mut findings = vec![if !missing.is_empty() {
            let text = format!(
                "{} in tenant {tenant}, but not {}",
                names(&granted),
                names(&missing)
            );
            let text = text.trim_start_matches(" in").trim().to_owned();
            Finding::failed("allowed", text, grant(&names(&missing)))
        } else if !granted.is_empty() {
            let everywhere = if probed.everywhere {
                "; admin on every tenant"
            } else {
                ""
            };
            let text = format!("{} in tenant {tenant}{everywhere}", names(&granted));
            Finding::ok("allowed", text)
        } else if refused.is_empty() {
            Finding::unknown("allowed", "nothing could be asked")
        } else {
            Finding::failed(
                "allowed",
                format!("nothing in tenant {tenant}"),
                format!("is the tenant right (--tenant)? {}", grant("check")),
            )
        }];
        if probed.no_tenant {
            findings.push(Finding::failed(
                "tenant",
                format!("there is no tenant {tenant}"),
                "`bancheck tenant list` shows them, `bancheck tenant add` makes one",
            ));
        } else if !granted.is_empty() {
            findings.push(Finding::ok("tenant", tenant.clone()));
        }
        findings
    }
}

/// Whether somebody answers there, ready or not.
fn is_there(findings: &[Finding]) -> bool {
    findings.first().is_some_and(|one| one.state == State::Ok)
}

/// Whether a listener answers, and whether what it serves is ready.
async fn reach(session: &Session<'_>, listener: Listener) -> Vec<Finding> {
    let (what, ready, service) = match listener {
        Listener::Check => ("check listener", "checks", "bancheck.v1.CheckService"),
        Listener::Admin => ("admin listener", "database", "bancheck.v1.AdminService"),
    };
    let began = Instant::now();
    let asked = async {
        let mut health = session.connection.health(listener).await?;
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        anyhow::Ok(health.check(request).await)
    };
    let uri = session.connection.endpoint(listener).uri().clone();
    let address = uri.to_string().trim_end_matches('/').to_owned();
    let secure = uri.scheme_str() == Some("https");
    let answer = match asked.await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) if status.code() == tonic::Code::NotFound => {
            return vec![Finding::failed(
                what,
                format!("{address} answers, but knows no {service}"),
                "is it bancheck? --endpoint and --admin-endpoint may name each other's listener",
            )];
        }
        Ok(Err(status)) => {
            let scheme = if secure { "without" } else { "with" };
            return vec![Finding::failed(
                what,
                format!("{address}: {}", headline(&status)),
                format!("does the listener speak gRPC? perhaps {scheme} TLS: http:// or https://"),
            )];
        }
        Err(error) => return vec![Finding::wrong(what, &error)],
    };
    let milliseconds = began.elapsed().as_millis();
    let by = match (secure, session.connection.certificate()) {
        (false, _) => "without TLS",
        (true, None) => "by TLS",
        (true, Some(_)) => "by TLS, with a client certificate",
    };
    let reached = Finding::ok(what, format!("{address}, {by}, {milliseconds} ms"));
    let state = match (answer.status(), listener) {
        (ServingStatus::Serving, Listener::Check) => Finding::ok(ready, "served"),
        (ServingStatus::Serving, Listener::Admin) => Finding::ok(ready, "the server hears it"),
        (_, Listener::Check) => Finding::failed(
            ready,
            "not served: the server is starting, or ending, or has never reached its database",
            "look at its log, or ask again shortly",
        ),
        (_, Listener::Admin) => Finding::failed(
            ready,
            "the server does not hear it: checks go on from memory, writes are refused",
            "look whether the database runs and at the server's log",
        ),
    };
    vec![reached, state]
}

/// Who asks.
fn credential(session: &Session<'_>, probed: &Probed) -> Finding {
    let shown = session.connection.credential(Listener::Check);
    let shown = match shown {
        Credential::None => session.connection.credential(Listener::Admin),
        other => other,
    };
    let told = match (shown.told(), session.connection.certificate()) {
        (Some(told), _) => told,
        (None, Some(path)) => format!("the certificate in {}", path.display()),
        (None, None) => "none".to_owned(),
    };
    if let Some(end) = shown.end().filter(|end| *end <= session.now()) {
        let end = moment::told(Some(&moment::timestamp(end)), session.now());
        return Finding::failed(
            "credential",
            format!("{told}; it ended {end}"),
            "have its issuer make a new one",
        );
    }
    match (&probed.stranger, probed.is_known()) {
        (Some(refusal), _) => Finding::failed(
            "credential",
            format!("{told}; {refusal}"),
            "`bancheck key add` on the server's machine makes one; BANCHECK_TOKEN or --token shows it",
        ),
        (None, true) => Finding::ok("credential", told),
        (None, false) => Finding::unknown("credential", told),
    }
}

/// What answers rest on.
fn freshness(answer: Option<&CheckInteractionResponse>) -> Finding {
    let what = "freshness";
    let Some(answer) = answer else {
        return Finding::unknown(what, "no check could be asked");
    };
    let age = answer.stale_for.as_ref().map(moment::length_of);
    match answer.basis() {
        DecisionBasis::Fresh => Finding::ok(what, "checks answer FRESH"),
        DecisionBasis::Stale => Finding::failed(
            what,
            format!("checks answer as of {} ago", age.unwrap_or_default()),
            "the server does not hear its database: look at its log",
        ),
        DecisionBasis::FailureMode | DecisionBasis::Unspecified => Finding::failed(
            what,
            "the tenant's failure mode decides: its bans are not in memory",
            "the server does not reach its database: look at its log",
        ),
    }
}

fn clocks(clocks: &Clocks) -> Finding {
    let what = "clock";
    match clocks.apart() {
        None => Finding::unknown(what, "the server did not tell its time"),
        Some(apart) if apart.is_fine() => Finding::ok(what, apart.told()),
        Some(apart) => Finding::failed(
            what,
            apart.told(),
            "set both by NTP: ends of bans and reuse_until are instants",
        ),
    }
}

fn versions(server: Option<&str>) -> Finding {
    let what = "version";
    match server {
        Some(server) if server == VERSION => Finding::ok(what, format!("{VERSION} on both sides")),
        Some(server) => Finding::new(
            what,
            State::Ok,
            format!("{VERSION} here, {server} there"),
            "what one side does not know yet, the other cannot use",
        ),
        None => Finding::unknown(
            what,
            format!("{VERSION} here; the server did not tell its own"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_not_fresh_are_a_failure_that_says_what_to_do() {
        let of = |basis: DecisionBasis| {
            freshness(Some(&CheckInteractionResponse {
                basis: basis.into(),
                ..CheckInteractionResponse::default()
            }))
        };
        assert_eq!(of(DecisionBasis::Fresh).state, State::Ok);
        for basis in [DecisionBasis::Stale, DecisionBasis::FailureMode] {
            let found = of(basis);
            assert_eq!(found.state, State::Failed);
            assert!(!found.advice.is_empty());
        }
        assert_eq!(freshness(None).state, State::Unknown);
    }

    #[test]
    fn a_server_of_another_version_is_told_but_is_no_failure() {
        let found = versions(Some("9.9.9"));
        assert_eq!(found.state, State::Ok);
        assert!(found.found.contains("9.9.9"), "{}", found.found);
    }
}
