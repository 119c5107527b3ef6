//! `bancheck check`: may this interaction go on?

mod batch;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Args;

pub(super) use self::batch::lines;
use super::{
    Outcome, Session,
    identity::{self, IdentityFlags},
    moment,
    output::{self, Display, Facts, Format, Paint, Sheet},
    proto_json,
    vocabulary::Spoken,
};
use crate::api::v1::{
    BanMatch, Channel, CheckInteractionRequest, CheckInteractionResponse, CheckStage, Consistency,
    ConsistencyToken, Decision, DecisionBasis, Identity, MatchKind, Treatment,
    consistency::Requirement,
};

/// Ask whether an interaction may go on; exits with 3 when it may not
///
/// The exit code is the answer: 0 allowed, 3 banned, 1 no answer. An answer given by the tenant's
/// failure mode, because no usable data was at hand, counts as any other and says so in its basis.
#[derive(Args)]
pub(crate) struct CheckCommand {
    #[command(flatten)]
    check: Check,
    /// Ask about every line of a file instead, `-` for standard input: one customer to a line, the
    /// identities of one parted by tabs; empty lines and those that begin with # are left out. Exits
    /// with 1 if any has no answer, else with 3 if any is banned [default: none]
    #[arg(long, value_name = "FILE", conflicts_with = "identities")]
    batch: Option<String>,
}

impl CheckCommand {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        match self.batch {
            Some(path) => batch::run(self.check, &path, session).await,
            None => self.check.run(session).await,
        }
    }
}

/// What a check asks.
#[derive(Args)]
pub(crate) struct Check {
    /// Channel of the interaction
    #[arg(long, value_enum, ignore_case = true, value_name = "CHANNEL")]
    channel: Channel,
    /// Queue that the interaction enters [default: none]
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Point of the interaction [default: queue-entry with --queue, else connect]
    #[arg(long, value_enum, ignore_case = true, value_name = "STAGE")]
    stage: Option<CheckStage>,
    #[command(flatten)]
    reading: IdentityFlags,
    /// Your own id of the interaction [default: none]
    #[arg(long, value_name = "ID")]
    interaction_id: Option<String>,
    /// Answer from data that includes the write which returned this token [default: from the data
    /// at hand]
    #[arg(long, visible_alias = "token-at-least", value_name = "TOKEN")]
    at_least_as_fresh: Option<String>,
    /// Answer from every write made before the question [default: from the data at hand]
    #[arg(long, conflicts_with = "at_least_as_fresh")]
    fully_consistent: bool,
    /// Every identity the channel knows of the customer, such as +420601123456, a@example.com or
    /// 203.0.113.7; 1 to 8
    #[arg(required = true, num_args = 1..=8, value_name = "IDENTITY", allow_negative_numbers = true)]
    identities: Vec<String>,
}

impl Check {
    async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let request = self.request(&session.connection.tenant);
        let asked = request.identities.clone();
        let mut client = session.connection.checks().await?;
        let answer = client.check_interaction(request).await?.into_inner();
        let outcome = outcome(&answer)?;
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&sheet(&answer).to_csv()?)?,
            Format::Table => {
                output::print(&verdict(outcome, session.display))?;
                output::print(&facts(&answer, &asked, session.now()).to_text())?;
            }
        }
        Ok(outcome)
    }

    fn consistency(&self) -> Option<Consistency> {
        let requirement = match &self.at_least_as_fresh {
            Some(token) => Some(Requirement::AtLeastAsFresh(ConsistencyToken {
                token: token.clone(),
            })),
            None => self
                .fully_consistent
                .then_some(Requirement::FullyConsistent(true)),
        };
        requirement.map(|some| Consistency {
            requirement: Some(some),
        })
    }

    pub(super) fn request(self, tenant: &str) -> CheckInteractionRequest {
        CheckInteractionRequest {
            tenant: tenant.to_owned(),
            channel: self.channel.into(),
            stage: self.stage.unwrap_or_default().into(),
            consistency: self.consistency(),
            queue: self.queue.unwrap_or_default(),
            identities: self.reading.identities(&self.identities),
            interaction_id: self.interaction_id.unwrap_or_default(),
        }
    }
}

/// What the answer means for the exit code. What is neither yes nor no is an error: a caller must
/// not take a decision we do not know for a permission.
pub(super) fn outcome(answer: &CheckInteractionResponse) -> anyhow::Result<Outcome> {
    match answer.decision() {
        Decision::Allow => Ok(Outcome::Done),
        Decision::Deny => Ok(Outcome::Banned),
        Decision::Unspecified => {
            bail!(
                "the server answered with no decision this client knows (#{})",
                answer.decision
            )
        }
    }
}

/// The answer in a word.
pub(super) fn verdict(outcome: Outcome, display: &Display) -> String {
    let word = match outcome {
        Outcome::Banned => display.paint(Paint::Stop, "BANNED"),
        Outcome::Done | Outcome::Failed => display.paint(Paint::Go, "ALLOWED"),
    };
    word + "\n"
}

/// Whether the answer is a denial.
pub(super) fn denies(answer: &CheckInteractionResponse) -> bool {
    answer.decision() == Decision::Deny
}

/// The answer line by line, for people.
fn facts(answer: &CheckInteractionResponse, asked: &[Identity], now: DateTime<Utc>) -> Facts {
    let mut facts = Facts::default();
    if let Some(matched) = &answer.r#match {
        facts.add("ban", &matched.ban_id);
        facts.add("list", list(matched));
        facts.add("until", moment::end(matched.expire_time.as_ref(), now));
        facts.add("matched", match_of(matched, asked));
    } else if denies(answer) && answer.basis() != DecisionBasis::FailureMode {
        facts.add("no ban", "the queue turns away whoever withholds who it is");
    }
    facts.add("treatment", Treatment::told(answer.treatment));
    facts.add("exception", &answer.exception_id);
    for shadow in &answer.shadow_matches {
        let until = moment::end(shadow.expire_time.as_ref(), now);
        facts.add(
            "shadow ban",
            format!("{}, {}, {until}", shadow.ban_id, list(shadow)),
        );
    }
    facts.add("basis", basis(answer));
    facts.add(
        "reusable until",
        moment::told(answer.reuse_until.as_ref(), now),
    );
    facts.add("decision", &answer.decision_id);
    facts.add("warnings", identity::warnings(&answer.warnings, asked));
    facts
}

/// What the decision rests on, and how old that is.
fn basis(answer: &CheckInteractionResponse) -> String {
    let basis = match answer.basis() {
        DecisionBasis::FailureMode => {
            "failure-mode: no usable data, the tenant's failure mode decided".to_owned()
        }
        DecisionBasis::Fresh | DecisionBasis::Stale | DecisionBasis::Unspecified => {
            DecisionBasis::told(answer.basis)
        }
    };
    match &answer.stale_for {
        Some(age) => format!("{basis}, stale for {}", moment::length_of(age)),
        None => basis,
    }
}

fn list(matched: &BanMatch) -> String {
    if matched.list_id.is_empty() {
        "none (tenant-wide)".to_owned()
    } else {
        matched.list_id.clone()
    }
}

/// Which of the identities asked about matched, and how.
fn match_of(matched: &BanMatch, asked: &[Identity]) -> String {
    let kind = MatchKind::told(matched.match_kind);
    let index = usize::try_from(matched.identity_index).ok();
    match index.and_then(|index| asked.get(index)) {
        Some(identity) => format!("{} ({kind})", identity::shown(identity)),
        None => kind,
    }
}

/// The answer as one row, for programs.
fn sheet(answer: &CheckInteractionResponse) -> Sheet {
    let matched = answer.r#match.clone().unwrap_or_default();
    let warnings: Vec<_> = answer
        .warnings
        .iter()
        .map(|warning| warning.code.as_str())
        .collect();
    let expire_time = answer
        .r#match
        .as_ref()
        .map(|m| moment::written_end(m.expire_time.as_ref()));
    let header = [
        "decision",
        "ban_id",
        "list_id",
        "expire_time",
        "match_kind",
        "treatment",
        "exception_id",
        "basis",
        "stale_for_seconds",
        "reuse_until",
        "decision_id",
        "warnings",
    ];
    let stale_for = answer.stale_for.as_ref().map(|age| age.seconds.to_string());
    Sheet::new(
        header,
        [[
            Decision::told(answer.decision),
            matched.ban_id,
            matched.list_id,
            expire_time.unwrap_or_default(),
            MatchKind::told(matched.match_kind),
            Treatment::told(answer.treatment),
            answer.exception_id.clone(),
            DecisionBasis::told(answer.basis),
            stale_for.unwrap_or_default(),
            moment::written(answer.reuse_until.as_ref()),
            answer.decision_id.clone(),
            warnings.join(";"),
        ]],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(decision: Decision, basis: DecisionBasis) -> CheckInteractionResponse {
        CheckInteractionResponse {
            decision: decision.into(),
            basis: basis.into(),
            ..CheckInteractionResponse::default()
        }
    }

    #[test]
    fn the_decision_is_the_exit_code_whatever_it_rests_on() {
        for basis in [
            DecisionBasis::Fresh,
            DecisionBasis::Stale,
            DecisionBasis::FailureMode,
        ] {
            assert_eq!(
                outcome(&answer(Decision::Allow, basis)).unwrap(),
                Outcome::Done
            );
            assert_eq!(
                outcome(&answer(Decision::Deny, basis)).unwrap(),
                Outcome::Banned
            );
        }
    }

    #[test]
    fn no_decision_is_an_error_and_not_a_permission() {
        assert!(outcome(&CheckInteractionResponse::default()).is_err());
        let newer = CheckInteractionResponse {
            decision: 7,
            ..Default::default()
        };
        assert!(outcome(&newer).unwrap_err().to_string().contains("#7"));
    }

    #[test]
    fn a_denial_says_which_ban_until_when_and_on_what_ground() {
        let mut answer = answer(Decision::Deny, DecisionBasis::FailureMode);
        answer.stale_for = Some(prost_types::Duration {
            seconds: 90,
            nanos: 0,
        });
        answer.r#match = Some(BanMatch {
            ban_id: "0192".to_owned(),
            ..BanMatch::default()
        });
        let asked = [Identity {
            value: "+420601123456".to_owned(),
            ..Identity::default()
        }];
        let text = facts(&answer, &asked, DateTime::UNIX_EPOCH).to_text();
        for part in [
            "0192",
            "tenant-wide",
            "permanent",
            "+420601123456",
            "failure-mode",
            "1 min 30 s",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_row_for_programs_has_a_cell_for_every_column() {
        let csv = sheet(&answer(Decision::Allow, DecisionBasis::Fresh))
            .to_csv()
            .unwrap();
        assert!(csv.ends_with("\nallow,,,,,,,fresh,,,,\n"), "{csv}");
    }
}
