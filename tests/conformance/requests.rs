//! S-9: the same request twice is one effect and one answer.

use std::sync::Arc;

use bancheck::{
    domain::{
        access::{ApiKey, KeyId, Principal},
        caller::{Grant, Scope},
        channel::Channel,
        clock::Timestamp,
        erasure::Erased,
        exception::Protection,
        import::Tally,
        policy::{RecordTo, TenantSettings},
        queue::{QueuePolicy, WithheldPolicy},
        revision::Nonce,
    },
    store::{Added, Answer, Begun, Intent, StoreError},
};
use tokio::task::JoinSet;

use crate::house::{
    House, NOW, exception_on, intent, lifted_protection, list, opened, tenant_id, token, token_ban,
    within,
};

on_both_stores!(
    s9_the_same_request_again_gets_the_same_answer_and_does_nothing,
    s9_the_same_request_id_with_another_body_is_refused,
    s9_the_same_request_id_is_another_request_elsewhere,
    s9_the_same_request_made_at_once_is_done_once,
    s9_a_tenant_made_twice_by_the_same_request_is_made_once,
    s9_a_tenant_made_by_two_requests_is_taken,
    s9_an_outcome_is_known_once_it_is_committed_and_not_before,
);

/// A second try at the same request, as the desk makes one: later and under a mark of its own.
fn again(first: &Intent) -> Intent {
    let Intent {
        tenant,
        rpc,
        request_id,
        body,
        body_elsewhere,
        nonce,
        now,
    } = first.clone();
    let nonce = Nonce(nonce.0 + 1_000_000);
    Intent {
        tenant,
        rpc,
        request_id,
        body,
        body_elsewhere,
        nonce,
        now: now.plus_micros(5),
    }
}

/// An answer in which nothing is left at its default.
fn rich_answer(house: &House, tenant: &bancheck::domain::ids::TenantId) -> Answer {
    let mut ban = token_ban(tenant, 1).ban;
    ban.start = Some(Timestamp::from_micros(-1));
    ban.expire = Some(NOW.plus_micros(1));
    ban.parent = Some(token_ban(tenant, 2).ban.ban_id);
    ban.deactivated = Some(NOW);
    "„Irrtum“ \\ 'x'".clone_into(&mut ban.deactivate_reason);
    let mut list = list("vip", 3);
    list.queues = ["ž\"1", "2"].map(str::to_owned).into();
    list.treatment = Some(bancheck::domain::list::Treatment::DropSilently);
    list.repeat_ladder = ["1 day", "1 year, 2 weeks"]
        .map(|step| step.parse().expect("a period"))
        .into();
    let settings = TenantSettings {
        display_name: format!("{:?} 🦀", house.kind),
        time_zone: chrono_tz::Europe::Prague,
        ended_ban_retention_days: 90,
        ..TenantSettings::default()
    };
    Answer {
        others: vec![ban.ban_id, token_ban(tenant, 3).ban.ban_id],
        cascade: vec![token_ban(tenant, 4).ban, token_ban(tenant, 5).ban],
        treatment: Some(bancheck::domain::list::Treatment::DisableWidget),
        queue: Some(QueuePolicy {
            queue: "fronta \"1\" 🦀".to_owned(),
            channel: Some(Channel::WebChat),
            campaign: true,
            record_to: Some(RecordTo::BanList),
            list_id: Some(list.list_id.clone()),
            enforced: vec![list.list_id.clone()],
            withheld: WithheldPolicy::Deny,
        }),
        ban: Some(ban),
        list: Some(list),
        settings: Some(settings),
        warnings: vec![(0, "OVERLAPS_BAN".to_owned()), (2, "HOMOGLYPH".to_owned())],
        added: vec!["q1".to_owned(), "čtyři".to_owned()],
        removed: vec!["q\"2".to_owned()],
        tally: Some(Tally {
            import_id: "i".to_owned(),
            rows: 7,
            created: 1,
            updated: 2,
            duplicates: 3,
            excepted: 4,
            failed: 5,
            failures: vec![(-1, vec![0, 255])],
            trail: [9; 16],
        }),
        count: u64::from(u32::MAX),
        exception: Some(exception_on(tenant, &token(4)).exception),
        protection: Some(Protection {
            name: "private-10".to_owned(),
            lifted: Some(lifted_protection("private-10")),
        }),
        overridden: 7,
        skipped: vec![(token_ban(tenant, 5).ban.ban_id, "BECAUSE".to_owned())],
        principal: Some(Principal {
            name: "bäckend".to_owned(),
            grants: vec![Grant {
                tenant: Some(tenant.clone()),
                scopes: [Scope::Operator].into_iter().collect(),
                queues: vec!["q1".to_owned()],
                may_act_for: true,
                rights_profile: "agents".to_owned(),
            }],
            version: 3,
        }),
        api_key: Some(ApiKey {
            id: KeyId::from_bytes([1; 8]),
            principal: "bäckend".to_owned(),
            display_name: "the dialler's".to_owned(),
            created: NOW,
            created_by: "root".to_owned(),
            expire: Some(NOW.plus_micros(1)),
            revoked: Some(NOW.plus_micros(2)),
        }),
        replaced_key: None,
        erased: Some(Erased {
            bans: 1,
            kept: 2,
            events: 3,
        }),
    }
}

async fn replayed(house: &House, intent: &Intent) -> Option<Answer> {
    match house.store.begin(intent).await.expect("a look") {
        Begun::Replay(answer) => Some(*answer),
        Begun::Open(_) | Begun::Reused | Begun::NoTenant => None,
    }
}

async fn s9_the_same_request_again_gets_the_same_answer_and_does_nothing(house: House) {
    let tenant = house.tenant("one").await;
    let answer = rich_answer(&house, &tenant);
    let first = intent(&tenant);
    let mut work = house.begin(&first).await;
    work.add_bans(&[token_ban(&tenant, 1)])
        .await
        .expect("a ban added");
    work.commit(&answer).await.expect("a commit");
    let before = house.census().await;
    for second in [first.clone(), again(&first)] {
        assert_eq!(replayed(&house, &second).await.as_ref(), Some(&answer));
    }
    assert_eq!(
        house.store.outcome(&again(&first)).await.expect("a look"),
        Some(answer)
    );
    assert_eq!(house.census().await, before);
}

async fn s9_the_same_request_id_with_another_body_is_refused(house: House) {
    let tenant = house.tenant("one").await;
    let first = intent(&tenant);
    house.add(&first, &[token_ban(&tenant, 1)]).await;
    let other = Intent {
        body: [9; 16],
        ..again(&first)
    };
    let before = house.census().await;
    assert!(matches!(house.store.begin(&other).await, Ok(Begun::Reused)));
    assert_eq!(house.census().await, before);
    assert!(
        replayed(&house, &first).await.is_some(),
        "the first one stays as it was"
    );

    let settings = TenantSettings::default();
    let made = intent(&tenant_id("two"));
    let begun = house
        .store
        .begin_tenant(&made, &settings)
        .await
        .expect("a tenant begun");
    opened(begun)
        .commit(&Answer::default())
        .await
        .expect("a tenant made");
    let other = Intent {
        body: [9; 16],
        ..again(&made)
    };
    assert!(matches!(
        house.store.begin_tenant(&other, &settings).await,
        Ok(Begun::Reused)
    ));
}

async fn s9_the_same_request_id_is_another_request_elsewhere(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let first = intent(&one);
    house.add(&first, &[token_ban(&one, 1)]).await;
    let of_another_tenant = Intent {
        tenant: two.clone(),
        ..again(&first)
    };
    let of_another_kind = Intent {
        rpc: "Other",
        ..again(&first)
    };
    for (intent, tenant) in [(of_another_tenant, two), (of_another_kind, one)] {
        assert_eq!(house.store.outcome(&intent).await.expect("a look"), None);
        assert_eq!(
            house.add(&intent, &[token_ban(&tenant, 2)]).await,
            [Added::Made]
        );
    }
}

async fn s9_the_same_request_made_at_once_is_done_once(house: House) {
    let house = Arc::new(house);
    let tenant = house.tenant("one").await;
    let before = house.tail(1).await.head;
    let first = intent(&tenant);
    let mut tries = JoinSet::new();
    for attempt in 0..8 {
        let (house, tenant) = (Arc::clone(&house), tenant.clone());
        let intent = Intent {
            nonce: Nonce(2_000_000 + attempt),
            ..first.clone()
        };
        tries.spawn(async move {
            match house.store.begin(&intent).await.expect("a write begun") {
                Begun::Open(mut work) => {
                    let new = token_ban(&tenant, 1);
                    let ban = new.ban.clone();
                    work.add_bans(&[new]).await.expect("a ban added");
                    let answer = Answer {
                        ban: Some(ban),
                        ..Answer::default()
                    };
                    work.commit(&answer).await.expect("a commit");
                    (true, answer)
                }
                Begun::Replay(answer) => (false, *answer),
                Begun::Reused | Begun::NoTenant => panic!("it is the same request"),
            }
        });
    }
    let mut outcomes = Vec::new();
    while let Some(one) = within("eight tries", tries.join_next()).await {
        outcomes.push(one.expect("a try"));
    }
    assert_eq!(outcomes.iter().filter(|(done, _)| *done).count(), 1);
    assert!(
        outcomes.iter().all(|(_, answer)| *answer == outcomes[0].1),
        "one answer for all"
    );
    assert_eq!(house.tail(1).await.head.0, before.0 + 1);
    assert_eq!(house.number("SELECT count(*) FROM bans").await, 1);
}

async fn s9_a_tenant_made_twice_by_the_same_request_is_made_once(house: House) {
    let house = Arc::new(house);
    let settings = TenantSettings::default();
    let first = intent(&tenant_id("one"));
    let begun = house
        .store
        .begin_tenant(&first, &settings)
        .await
        .expect("a tenant begun");
    let work = opened(begun);
    let mut second = JoinSet::new();
    let (other, again) = (Arc::clone(&house), again(&first));
    second.spawn(async move {
        let begun = other
            .store
            .begin_tenant(&again, &TenantSettings::default())
            .await;
        match begun.expect("the same request, seen through") {
            Begun::Replay(answer) => *answer,
            Begun::Open(_) => panic!("it was made twice"),
            Begun::Reused | Begun::NoTenant => panic!("it is the same request"),
        }
    });
    house.until_somebody_waits().await;
    let answer = Answer {
        settings: Some(settings),
        ..Answer::default()
    };
    work.commit(&answer).await.expect("a tenant made");
    let replayed = within("the second try", second.join_next())
        .await
        .expect("a try");
    assert_eq!(replayed.expect("a try that ended well"), answer);
    assert_eq!(house.number("SELECT count(*) FROM tenants").await, 1);
}

async fn s9_a_tenant_made_by_two_requests_is_taken(house: House) {
    let tenant = house.tenant("one").await;
    let settings = TenantSettings::default();
    let begun = house.store.begin_tenant(&intent(&tenant), &settings).await;
    assert!(matches!(begun, Err(StoreError::Taken)));
    house.run("UPDATE tenants SET deleted = 1").await;
    let begun = house.store.begin_tenant(&intent(&tenant), &settings).await;
    assert!(
        matches!(begun, Err(StoreError::Taken)),
        "an id is never used again"
    );
}

async fn s9_an_outcome_is_known_once_it_is_committed_and_not_before(house: House) {
    let tenant = house.tenant("one").await;
    let answer = rich_answer(&house, &tenant);
    let intent = intent(&tenant);
    let outcome = async || house.store.outcome(&intent).await.expect("a look");
    assert_eq!(outcome().await, None);
    let mut work = house.begin(&intent).await;
    work.add_bans(&[token_ban(&tenant, 1)])
        .await
        .expect("a ban added");
    work.abandon().await.expect("undone");
    assert_eq!(outcome().await, None);
    house
        .begin(&intent)
        .await
        .commit(&answer)
        .await
        .expect("a commit");
    assert_eq!(outcome().await, Some(answer.clone()));
    assert_eq!(
        outcome().await,
        Some(answer),
        "and asking leaves it as it is"
    );
}
