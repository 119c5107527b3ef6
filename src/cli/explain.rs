//! `bancheck explain`: why is this customer let in, or not?
//!
//! What is printed is a short story for whoever has to answer for it; `--output json` is the whole
//! answer.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use clap::Args;
use prost_types::Timestamp;
use tonic::Code;

use super::{
    Outcome, Session,
    check::{self, Check},
    identity, moment,
    output::{self, Format, Sheet, clean},
    proto_json,
    vocabulary::Spoken,
};
use crate::api::v1::{
    Ban, Channel, CheckInteractionRequest, CheckInteractionResponse, CheckStage, DecisionBasis,
    ExplainInteractionRequest, ExplainInteractionResponse, GetBanRequest,
    explain_interaction_response::{Rule, rule},
};

/// How many rules the story tells of; the others are counted.
const TOLD: usize = 6;

/// Tell why an interaction may go on or may not
///
/// The story names the ban that decided, or why each ban of this customer does nothing here and now:
/// it has ended, begins later, holds elsewhere, only watches, or an exception spares whom it is on.
/// It exits with 0 either way.
#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    check: Check,
    /// Instant to judge at, past or to come, with its offset, such as 2026-12-31T23:59:59+01:00
    /// [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment::instant)]
    at: Option<Timestamp>,
    /// Tell of every ban and exception, however long ago it ended
    #[arg(long)]
    all: bool,
}

impl Explain {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let check = self.check.request(&session.connection.tenant);
        let request = ExplainInteractionRequest {
            check: Some(check.clone()),
            evaluate_time: self.at,
        };
        let mut client = session.connection.diagnostics().await?;
        let answer = client.explain_interaction(request).await?.into_inner();
        match session.display.format() {
            Format::Json => output::json(&proto_json::canonical(&answer)?)?,
            Format::Csv => output::print(&sheet(&answer.rules).to_csv()?)?,
            Format::Table => {
                let most = if self.all { usize::MAX } else { TOLD };
                let bans = bans(&answer.rules, most, session).await?;
                let now = self.at.as_ref().and_then(moment::calendar);
                let story = Story {
                    check: &check,
                    answer: &answer,
                    bans: &bans,
                    now: now.unwrap_or_else(|| session.now()),
                    most,
                };
                let response = answer.response.clone().unwrap_or_default();
                let verdict = check::verdict(check::outcome(&response)?, session.display);
                output::print(&story.told(verdict.trim_end(), self.at.as_ref()))?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// The bans that the story is about, as far as the caller may see them.
async fn bans(
    rules: &[Rule],
    most: usize,
    session: &Session<'_>,
) -> anyhow::Result<HashMap<String, Ban>> {
    let mut client = session.connection.bans().await?;
    let mut bans = HashMap::new();
    for ban_id in rules.iter().take(most).filter_map(ban_id) {
        let request = GetBanRequest {
            tenant: session.connection.tenant.clone(),
            ban_id: ban_id.to_owned(),
        };
        match client.get_ban(request).await {
            Ok(answer) => bans.extend(answer.into_inner().ban.map(|ban| (ban_id.to_owned(), ban))),
            Err(status) if status.code() == Code::PermissionDenied => break,
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    Ok(bans)
}

fn ban_id(rule: &Rule) -> Option<&str> {
    match &rule.rule {
        Some(rule::Rule::BanId(id)) => Some(id),
        Some(rule::Rule::ExceptionId(_)) | None => None,
    }
}

fn id(rule: &Rule) -> &str {
    match &rule.rule {
        Some(rule::Rule::BanId(id) | rule::Rule::ExceptionId(id)) => id,
        None => "",
    }
}

/// All that the story is made of.
struct Story<'a> {
    check: &'a CheckInteractionRequest,
    answer: &'a ExplainInteractionResponse,
    bans: &'a HashMap<String, Ban>,
    now: DateTime<Utc>,
    most: usize,
}

impl Story<'_> {
    fn told(&self, verdict: &str, at: Option<&Timestamp>) -> String {
        let response = self.answer.response.clone().unwrap_or_default();
        let moment = at.map_or_else(String::new, |at| {
            format!(", as of {}", moment::shown(Some(at)))
        });
        let mut parts = vec![
            format!("{verdict}: {}{moment}\n", self.scene()),
            format!("{}\n", self.gist(&response)),
        ];
        let told = self.answer.rules.iter().take(self.most);
        for rule in told {
            let (tale, source) = (self.tale(rule), self.source(rule));
            parts.push(format!("  - {tale}\n    {source}\n"));
        }
        let left = self.answer.rules.len().saturating_sub(self.most);
        if left > 0 {
            parts.push(format!("  and {left} more; --all tells of them\n"));
        }
        let warnings = identity::warnings(&response.warnings, &self.check.identities);
        if !warnings.is_empty() {
            parts.push(format!("  To know: {warnings}\n"));
        }
        parts.join("\n")
    }

    /// Who came, and where.
    fn scene(&self) -> String {
        let who: Vec<_> = self.check.identities.iter().map(identity::shown).collect();
        let channel = Channel::told(self.check.channel);
        let place = match (self.stage(), self.check.queue.as_str()) {
            (CheckStage::Outbound, _) => "outbound".to_owned(),
            (_, "") => "at the door, before any queue".to_owned(),
            (_, queue) => format!("entering queue {}", clean(queue)),
        };
        format!("{} by {channel}, {place}", who.join(" or "))
    }

    fn stage(&self) -> CheckStage {
        match self.check.stage() {
            CheckStage::Unspecified if self.check.queue.is_empty() => CheckStage::Connect,
            CheckStage::Unspecified => CheckStage::QueueEntry,
            stage => stage,
        }
    }

    /// The whole of it in a sentence.
    fn gist(&self, response: &CheckInteractionResponse) -> &'static str {
        let rules = &self.answer.rules;
        let any = |why: &str| rules.iter().any(|rule| rule.why == why);
        match (response.basis(), check::denies(response)) {
            (DecisionBasis::FailureMode, true) => {
                "This pod had no usable data, and the tenant's failure mode lets nobody in."
            }
            (DecisionBasis::FailureMode, false) => {
                "This pod had no usable data, and the tenant's failure mode lets everybody in."
            }
            (_, true) if any("DECIDED") => "A ban decided.",
            (_, true) => {
                "No ban decided: the customer withholds who it is, and the queue turns such away."
            }
            (_, false) if rules.iter().all(|rule| ban_id(rule).is_none()) => {
                "Nobody has ever banned this customer."
            }
            (_, false) if any("OVERRIDDEN_BY_EXCEPTION") => {
                "This customer is banned, and an exception overrides that."
            }
            (_, false) => "No ban of this customer holds here and now.",
        }
    }

    /// What became of one rule.
    fn tale(&self, rule: &Rule) -> String {
        match rule.rule {
            Some(rule::Rule::ExceptionId(_)) => self.of_exception(rule),
            Some(rule::Rule::BanId(_)) | None => self.of_ban(rule),
        }
    }

    /// What became of one exception.
    fn of_exception(&self, rule: &Rule) -> String {
        match (rule.why.as_str(), rule.applied) {
            ("DECIDED", _) => "Saved by an exception: whom it is on is let in all the same.".into(),
            ("ALSO_MATCHED", true) => "Spared by an exception as well.".into(),
            ("ALSO_MATCHED", false) => {
                "An exception is on this customer, and there is no ban here that it overrides."
                    .into()
            }
            ("OTHER_CHANNEL", _) => format!(
                "An exception is on this customer, but not on {}.",
                Channel::told(self.check.channel)
            ),
            ("NOT_STARTED", _) => "An exception spares this customer, but only later.".into(),
            ("EXPIRED", _) => "Was spared by an exception: its time is over.".into(),
            ("DEACTIVATED", _) => "Was spared by an exception: somebody ended it.".into(),
            ("NOT_KNOWN_YET", _) => "Spared by an exception, but what was judged on had not heard \
                                     of it; ask again."
                .into(),
            (other, _) => format!("{other}."),
        }
    }

    /// By what those are spared who would be banned; nothing where several exceptions do it.
    fn sparer(&self) -> String {
        let rules = self.answer.rules.iter();
        let mut sparing = rules.filter(|rule| ban_id(rule).is_none() && rule.applied);
        match (sparing.next(), sparing.next()) {
            (Some(rule), None) => match clean(&rule.reason) {
                reason if reason.is_empty() => format!(": {}", clean(id(rule))),
                reason => format!(": \u{201c}{reason}\u{201d}"),
            },
            _ => String::new(),
        }
    }

    /// What became of one ban.
    fn of_ban(&self, rule: &Rule) -> String {
        let ban = self.bans.get(id(rule)).cloned().unwrap_or_default();
        let told = |time: Option<&Timestamp>| moment::told(time, self.now);
        let known = !ban.ban_id.is_empty();
        let until = || match (known, ban.expire_time.as_ref()) {
            (false, _) => String::new(),
            (true, None) => "; it has no end".to_owned(),
            (true, time) => format!("; it ends {}", told(time)),
        };
        let when = |what: &str, time: Option<&Timestamp>| match time {
            None => what.to_owned(),
            time => format!("{what} {}", told(time)),
        };
        match rule.why.as_str() {
            "DECIDED" => format!("Banned{}{}.", list_of(&ban), until()),
            "ALSO_MATCHED" => format!(
                "Banned once more{}{}: lifting the first alone changes nothing.",
                list_of(&ban),
                until()
            ),
            "SHADOW" => {
                "Would be banned, but this ban or its list only watches and denies nothing."
                    .to_owned()
            }
            "OVERRIDDEN_BY_EXCEPTION" => format!(
                "Would be banned{}, but an exception spares this customer{}.",
                list_of(&ban),
                self.sparer()
            ),
            "LIST_NOT_ENFORCED_HERE" => self.elsewhere(&ban),
            "OTHER_CHANNEL" if known => format!(
                "Banned on {} only, and this is {}.",
                Channel::told_all(&ban.channels, ", "),
                Channel::told(self.check.channel)
            ),
            "OTHER_CHANNEL" => "Banned on other channels only.".to_owned(),
            "NOT_STARTED" => {
                let start = ban.start_time.as_ref().or(ban.create_time.as_ref());
                format!("{}.", when("Will be banned: it begins", start))
            }
            "EXPIRED" => format!(
                "{}.",
                when("Was banned: it ended", ban.expire_time.as_ref())
            ),
            "DEACTIVATED" => {
                let lifted = when("Was banned: it was lifted", ban.deactivate_time.as_ref());
                let by = match clean(&ban.deactivated_by) {
                    by if by.is_empty() => String::new(),
                    by => format!(" by {by}"),
                };
                let because = match clean(&ban.deactivate_reason) {
                    reason if reason.is_empty() => String::new(),
                    reason => format!(": \u{201c}{reason}\u{201d}"),
                };
                format!("{lifted}{by}{because}.")
            }
            "NOT_KNOWN_YET" => {
                "Banned, but what was judged on had not heard of it; ask again.".to_owned()
            }
            other => format!("{other}."),
        }
    }

    /// Where a ban holds that does not hold here.
    fn elsewhere(&self, ban: &Ban) -> String {
        let list = match clean(&ban.list_id) {
            list if list.is_empty() => "a list".to_owned(),
            list => format!("list {list}"),
        };
        match self.stage() {
            CheckStage::QueueEntry => format!(
                "Banned in {list}, which queue {} does not check.",
                clean(&self.check.queue)
            ),
            CheckStage::Outbound => format!("Banned in {list}, which does not hold outbound."),
            CheckStage::Connect | CheckStage::Unspecified => {
                format!("Banned in {list}, which holds at queues that check it, not at the door.")
            }
        }
    }

    /// What a rule is called, why and by whom it was made.
    fn source(&self, rule: &Rule) -> String {
        let kind = match rule.rule {
            Some(rule::Rule::ExceptionId(_)) => "exception",
            Some(rule::Rule::BanId(_)) | None => "ban",
        };
        let reason = match clean(&rule.reason) {
            reason if reason.is_empty() => String::new(),
            reason => format!("\u{201c}{reason}\u{201d}, "),
        };
        let by = match self.bans.get(id(rule)) {
            Some(ban) if !ban.created_by.is_empty() => format!(
                "by {} {}, ",
                clean(&ban.created_by),
                moment::told(ban.create_time.as_ref(), self.now)
            ),
            _ => String::new(),
        };
        format!("{reason}{by}{kind} {}", id(rule))
    }
}

/// Where a ban is recorded.
fn list_of(ban: &Ban) -> String {
    match (ban.ban_id.as_str(), clean(&ban.list_id)) {
        ("", _) => String::new(),
        (_, list) if list.is_empty() => " in the whole tenant".to_owned(),
        (_, list) => format!(" in list {list}"),
    }
}

/// The rules, for programs.
fn sheet(rules: &[Rule]) -> Sheet {
    let row = |rule: &Rule| {
        let exception = ban_id(rule).is_none();
        [
            ban_id(rule).unwrap_or_default().to_owned(),
            if exception { id(rule) } else { "" }.to_owned(),
            rule.why.clone(),
            if rule.applied { "yes" } else { "no" }.to_owned(),
            rule.reason.clone(),
        ]
    };
    let header = ["ban_id", "exception_id", "why", "applied", "reason"];
    Sheet::new(header, rules.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::v1::{Decision, Identity};

    fn story(decision: Decision, rules: Vec<Rule>, bans: &[Ban], queue: &str) -> String {
        let check = CheckInteractionRequest {
            channel: Channel::Call.into(),
            queue: queue.to_owned(),
            identities: vec![Identity {
                value: "+420601123456".to_owned(),
                ..Identity::default()
            }],
            ..CheckInteractionRequest::default()
        };
        let response = CheckInteractionResponse {
            decision: decision.into(),
            basis: DecisionBasis::Fresh.into(),
            ..CheckInteractionResponse::default()
        };
        let answer = ExplainInteractionResponse {
            response: Some(response),
            rules,
            ..ExplainInteractionResponse::default()
        };
        let bans = bans.iter().map(|ban| (ban.ban_id.clone(), ban.clone()));
        let story = Story {
            check: &check,
            answer: &answer,
            bans: &bans.collect(),
            now: DateTime::UNIX_EPOCH,
            most: TOLD,
        };
        story.told("VERDICT", None)
    }

    fn rule(id: &str, why: &str) -> Rule {
        Rule {
            rule: Some(rule::Rule::BanId(id.to_owned())),
            reason: "threats".to_owned(),
            applied: false,
            why: why.to_owned(),
        }
    }

    #[test]
    fn of_a_customer_whom_nobody_banned_there_is_one_sentence() {
        let told = story(Decision::Allow, Vec::new(), &[], "");
        assert_eq!(
            told,
            "VERDICT: +420601123456 by call, at the door, before any queue\n\n\
             Nobody has ever banned this customer.\n"
        );
    }

    #[test]
    fn the_story_says_where_a_ban_holds_that_does_not_hold_here() {
        let ban = Ban {
            ban_id: "b".to_owned(),
            list_id: "debtors".to_owned(),
            ..Ban::default()
        };
        let rules = vec![rule("b", "LIST_NOT_ENFORCED_HERE")];
        let told = story(Decision::Allow, rules, &[ban], "sales");
        assert!(
            told.contains("Banned in list debtors, which queue sales does not check."),
            "{told}"
        );
        assert!(told.contains("\u{201c}threats\u{201d}, ban b"), "{told}");
    }

    #[test]
    fn what_may_not_be_looked_up_is_told_all_the_same_and_what_is_too_much_is_counted() {
        let rules = (0..9).map(|at| rule(&at.to_string(), "EXPIRED")).collect();
        let told = story(Decision::Allow, rules, &[], "");
        assert!(told.contains("Was banned: it ended."), "{told}");
        assert!(
            told.ends_with("and 3 more; --all tells of them\n"),
            "{told}"
        );
    }

    #[test]
    fn a_word_of_a_newer_server_is_passed_on() {
        let told = story(Decision::Deny, vec![rule("b", "FROM_TOMORROW")], &[], "");
        assert!(told.contains("FROM_TOMORROW"), "{told}");
    }
}
