//! An explanation against the answer it explains, and against a clerk's own words.

use bancheck::{
    desk::{Circumstances, CreateBan, End, TargetGiven, prepare},
    domain::{
        decide::explain::{Ruling, Why, explain},
        ids::BanId,
        list::{BanList, WebchatBanType},
        policy::TenantSettings,
    },
    store::NewBan,
};

use super::*;

/// What the product says became of every ban.
fn told(view: &TenantView, asked: &Asked) -> (Verdict, Vec<Ruling>) {
    let queue = format!("queue-{}", asked.queue);
    let queue = (asked.stage == Stage::QueueEntry).then_some(queue.as_str());
    let now = Timestamp::from_micros(asked.now);
    let mut query = Query::new(asked.channel, asked.stage, queue);
    let mut widely = Query::new(asked.channel, asked.stage, queue);
    for (at, who) in (0..).zip(&asked.who) {
        query.ask_for(view, at, &identity(*who));
        widely.ask_widely(view, at, &identity(*who));
    }
    let verdict = decide(view, &query, now);
    assert_eq!(
        verdict,
        decide(view, &widely, now),
        "who looks wider finds no more"
    );
    let rulings = explain(view, &widely, now, &verdict);
    (verdict, rulings)
}

impl World {
    /// What a clerk says became of a ban; `None` = it is none of the customer's.
    fn became(&self, ban: &Ban, asked: &Asked, decided: Option<BanId>) -> Option<Why> {
        if ban.ended || !asked.who.iter().any(|who| ban.is_on(*who)) {
            return None;
        }
        let on_channel = ban.channels & (1 << asked.channel as u16) != 0;
        Some(if ban.expire.is_some_and(|end| end <= asked.now) {
            Why::Expired
        } else if ban.start.is_some_and(|start| asked.now < start) {
            Why::NotStarted
        } else if !on_channel {
            Why::OtherChannel
        } else if !self.holds(ban, asked) {
            Why::ListNotEnforcedHere
        } else if self.first_left(ban, asked).is_none() {
            Why::OverriddenByException
        } else if self.is_shadow(ban) {
            Why::Shadow
        } else if decided == Some(ban_id(ban.id)) {
            Why::Decided
        } else {
            Why::AlsoMatched
        })
    }

    /// A list as the desk knows it.
    fn whole_list(&self, number: u32) -> Option<BanList> {
        let list = self.list(number)?;
        Some(BanList {
            list_id: ListId::parse(&format!("list-{number}")).expect("an id"),
            generation: number,
            title: String::new(),
            description: String::new(),
            default_timeout_text: String::new(),
            webchat_ban_type: WebchatBanType::default(),
            ban_contact_phones: false,
            treatment: None,
            enforcement: enforcement(list.shadow),
            enforce_outbound: list.outbound,
            repeat_ladder: Vec::new(),
            queues: list.queues.iter().map(|q| format!("queue-{q}")).collect(),
            version: 1,
        })
    }
}

impl Ban {
    /// The same ban as it comes out of the function that makes and previews every ban, at instant
    /// nought; `None` = it is refused.
    fn prepared(&self, list: Option<&BanList>) -> Option<NewBan> {
        let (kind, value) = person(self.who);
        let value = if self.is_wide() {
            format!("{value}/25")
        } else {
            value
        };
        let ban = CreateBan {
            list_id: list.map(|list| list.list_id.clone()),
            channels: Channels::from_bits(self.channels),
            targets: vec![TargetGiven {
                kind: Some(kind),
                value,
                issuer: String::new(),
                region_hint: String::new(),
            }],
            match_kind: self.is_wide().then_some(MatchKind::Cidr),
            reason: "a reason".to_owned(),
            reason_code: String::new(),
            end: self
                .expire
                .map_or(End::Never, |at| End::At(Timestamp::from_micros(at))),
            start: self.start.map(Timestamp::from_micros),
            enforcement: enforcement(self.shadow),
            override_warnings: false,
            origin: bancheck::domain::ban::Origin::AdminEntry,
        };
        let about = Circumstances {
            now: Timestamp::from_micros(0),
            tenant: TenantId::parse("t").expect("an id"),
            actor: "somebody".to_owned(),
            keys: MasterKey::new(&[3; 32]),
        };
        let made = prepare(&ban, &TenantSettings::default(), list, &about);
        made.ok().map(|(new, _)| new)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn v4_what_is_explained_is_what_was_decided_and_what_a_clerk_would_say(
        world in worlds(),
        asked in questions(),
    ) {
        let view = world.view();
        let (verdict, rulings) = told(&view, &asked);
        let decided = verdict.deny.as_ref().map(|(found, _)| found.ban);
        let expected: Vec<Ruling> = world
            .bans
            .iter()
            .filter_map(|ban| {
                let why = world.became(ban, &asked, decided)?;
                Some(Ruling { ban: ban_id(ban.id), why })
            })
            .collect();
        prop_assert_eq!(&rulings, &expected);
        prop_assert_eq!(decided.is_some(), rulings.iter().any(|one| one.why.applied()));
        let shadows = rulings.iter().filter(|one| one.why == Why::Shadow);
        prop_assert_eq!(verdict.shadows.len(), shadows.count());
    }

    #[test]
    fn v4_a_ban_does_what_its_preview_foretold(world in worlds(), asked in questions()) {
        let Some((last, others)) = world.bans.split_last() else { return Ok(()) };
        let list = world.whole_list(last.list);
        if last.list > 0 && list.is_none() {
            return Ok(());
        }
        let Some(new) = last.prepared(list.as_ref()) else { return Ok(()) };
        let mut view = World { bans: others.to_vec(), ..world.clone() }.view();
        let previewed = new.ban.ban_id;
        view.file(&[BanRecord {
            ban: previewed,
            keys: new.keys.iter().map(|(_, key, _)| key.clone()).collect(),
            start: new.ban.start,
            expire: new.ban.expire,
            generation: new.generation,
            channels: new.ban.channels,
            enforcement: new.ban.enforcement,
            ended: false,
        }]);
        let asked = Asked { now: asked.now.max(0), ..asked };
        let (_, rulings) = told(&view, &asked);
        let ruling = rulings.iter().find(|one| one.ban == previewed);
        let whom = asked.who.iter().any(|who| last.is_on(*who));
        prop_assert_eq!(ruling.is_some(), whom);
        let Some(ruling) = ruling else { return Ok(()) };
        let everywhere = list.is_none() || last.who % 3 == 1;
        let here = everywhere || list.is_some_and(|list| match asked.stage {
            Stage::QueueEntry => list.queues.contains(&format!("queue-{}", asked.queue)),
            Stage::Outbound => list.enforce_outbound,
            Stage::Connect => false,
        });
        match ruling.why {
            Why::Decided | Why::AlsoMatched | Why::Shadow => prop_assert!(here),
            Why::ListNotEnforcedHere => prop_assert!(!here),
            _ => {}
        }
    }
}
