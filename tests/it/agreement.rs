//! Worlds that nobody thought out: a check, its explanation and the previews of its bans agree (V-4).

use std::collections::HashMap;

use bancheck::api::v1::{
    BanList, Channel, CheckInteractionRequest, CheckInteractionResponse, CheckStage, Consistency,
    CreateBanRequest, ExplainInteractionRequest, Identity, IdentityKind, MatchKind,
    PreviewBanRequest, PreviewBanResponse, ban::Enforcement, consistency::Requirement,
    create_ban_request::Expiry, explain_interaction_response::rule,
};

use crate::{
    requests::{add, after, connect, denies, identity, list},
    server::Client,
};

on_both_stores!(v4_check_explanation_and_preview_agree_in_any_world);

/// Numbers that are random enough, and the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const QUEUES: [&str; 3] = ["sales", "support", "billing"];
const LISTS: [&str; 3] = ["trolls", "debtors", "trial"];

/// Somebody, and the channels he may come by.
fn somebody(dice: &mut Dice) -> (Identity, &'static [Channel]) {
    use IdentityKind as Kind;
    let at = dice.below(4);
    match dice.below(4) {
        0 => (
            identity(Kind::PhoneNumber, &format!("+42060112345{at}")),
            &[Channel::Call, Channel::Sms, Channel::Whatsapp],
        ),
        1 => (
            identity(Kind::VisitorToken, &format!("visitor-token-000{at}")),
            &[Channel::WebChat],
        ),
        2 => (
            identity(Kind::IpAddress, &format!("203.0.113.{}", at * 64)),
            &[Channel::WebChat],
        ),
        _ => (
            identity(Kind::EmailAddress, &format!("a.lice+{at}@gmail.com")),
            &[Channel::Email],
        ),
    }
}

async fn some_ban(client: &Client, dice: &mut Dice) -> CreateBanRequest {
    let (who, channels) = somebody(dice);
    let mut ban = add(who);
    if dice.below(3) == 0 {
        ban.channels = vec![*dice.pick(channels) as i32];
    }
    if dice.below(2) == 0 {
        (*dice.pick(&LISTS)).clone_into(&mut ban.list_id);
    }
    let target = &mut ban.targets[0];
    if target.kind() == IdentityKind::IpAddress && dice.below(2) == 0 {
        target.value += "/25";
        ban.match_kind = MatchKind::Cidr as i32;
    }
    if dice.below(5) == 0 {
        ban.enforcement = Enforcement::Shadow as i32;
    }
    let now = client.clock().await;
    if dice.below(6) == 0 {
        ban.start_time = Some(after(now, 3_600));
    }
    if dice.below(2) == 0 {
        let hours = i64::try_from(dice.below(5)).unwrap() + 2;
        ban.expiry = Some(Expiry::ExpireTime(after(now, hours * 3_600)));
    }
    ban
}

fn some_check(dice: &mut Dice) -> CheckInteractionRequest {
    let (who, channels) = somebody(dice);
    let mut check = connect(*dice.pick(channels), who);
    if dice.below(2) == 0 {
        // Somebody comes with a second name now and then, which may be none on this channel.
        check.identities.push(somebody(dice).0);
    }
    match dice.below(3) {
        0 => {}
        1 => check.stage = CheckStage::Outbound as i32,
        _ => {
            check.stage = CheckStage::QueueEntry as i32;
            (*dice.pick(&QUEUES)).clone_into(&mut check.queue);
        }
    }
    let requirement = Some(Requirement::FullyConsistent(true));
    CheckInteractionRequest {
        consistency: Some(Consistency { requirement }),
        ..check
    }
}

/// Whether a ban that was previewed so is enforced where a check is made, times and channels apart.
fn foretold(
    ban: &CreateBanRequest,
    preview: &PreviewBanResponse,
    check: &CheckInteractionRequest,
) -> bool {
    let on_token = ban.targets[0].kind() == IdentityKind::VisitorToken;
    let everywhere = ban.list_id.is_empty() || on_token;
    assert_eq!(
        everywhere,
        preview.breadth.ends_with("at every queue and at none"),
        "{preview:?}"
    );
    everywhere
        || match check.stage() {
            CheckStage::QueueEntry => preview.enforcing_queues.contains(&check.queue),
            CheckStage::Outbound => preview.breadth.contains("outwards"),
            CheckStage::Connect | CheckStage::Unspecified => false,
        }
}

/// What of an answer is not its own.
fn plain(answer: &CheckInteractionResponse) -> CheckInteractionResponse {
    CheckInteractionResponse {
        decision_id: String::new(),
        reuse_until: None,
        ..answer.clone()
    }
}

async fn v4_check_explanation_and_preview_agree_in_any_world(client: Client) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (at, list_id) in LISTS.into_iter().enumerate() {
        let shadow = if list_id == "trial" {
            Enforcement::Shadow
        } else {
            Enforcement::Enforced
        };
        let made = BanList {
            enforce_outbound: at == 1,
            enforcement: shadow as i32,
            ..list(list_id)
        };
        client.make_list(made).await;
        client.relate(list_id, &QUEUES[at..]).await;
    }
    let mut bans = HashMap::new();
    for _ in 0..60 {
        let ban = some_ban(&client, &mut dice).await;
        let request = PreviewBanRequest {
            ban: Some(ban.clone()),
        };
        let preview = client.admin().preview_ban(request).await;
        let made = client.admin().create_ban(ban.clone()).await;
        let (preview, made) = match (preview, made) {
            (Ok(preview), Ok(made)) => (preview.into_inner(), made.into_inner()),
            (Err(preview), Err(made)) => {
                assert_eq!(preview.code(), made.code(), "{preview:?}");
                continue;
            }
            (preview, made) => panic!("they do not agree: {preview:?} {made:?}"),
        };
        assert_eq!(preview.warnings, made.warnings);
        let made = made.ban.unwrap();
        if dice.below(6) == 0 {
            client.lift(&made).await;
        }
        bans.insert(made.ban_id, (ban, preview));
    }
    let (mut denied, mut whys) = (0, HashMap::new());
    for _ in 0..200 {
        let check = some_check(&mut dice);
        let request = ExplainInteractionRequest {
            check: Some(check.clone()),
            evaluate_time: None,
        };
        let explained = client.diagnostics().explain_interaction(request).await;
        let explained = explained.expect("an explanation").into_inner();
        let answer = client.ask(check.clone()).await;
        assert_eq!(plain(&explained.response.unwrap()), plain(&answer));
        denied += usize::from(denies(&answer));
        let decided = answer.r#match.map(|found| found.ban_id);
        let mut shadows: Vec<_> = answer
            .shadow_matches
            .iter()
            .map(|one| &one.ban_id)
            .collect();
        for rule in &explained.rules {
            let Some(rule::Rule::BanId(id)) = &rule.rule else {
                panic!("no ban: {rule:?}")
            };
            *whys.entry(rule.why.clone()).or_insert(0) += 1;
            assert_eq!(decided.as_ref() == Some(id), rule.why == "DECIDED");
            assert_eq!(shadows.contains(&id), rule.why == "SHADOW");
            shadows.retain(|shadow| *shadow != id);
            let (ban, preview) = &bans[id];
            assert_eq!(rule.reason, ban.reason);
            let here = foretold(ban, preview, &check);
            match rule.why.as_str() {
                "DECIDED" | "ALSO_MATCHED" | "SHADOW" => assert!(here, "{check:?} {rule:?}"),
                "LIST_NOT_ENFORCED_HERE" => assert!(!here, "{check:?} {rule:?}"),
                _ => {}
            }
        }
        assert_eq!(shadows, Vec::<&String>::new(), "every shadow is explained");
    }
    assert!(
        denied > 20 && whys.len() >= 6,
        "too tame a world: {denied} denied, {whys:?}"
    );
}
