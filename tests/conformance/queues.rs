//! Queues' policies, rights, and how often somebody was banned in a list.

use bancheck::{
    domain::{
        channel::Channel,
        ids::TenantId,
        policy::RecordTo,
        queue::{AtQueue, BanRights, QueuePolicy, WithheldPolicy},
        record::{Change, QueueRecord},
    },
    store::{Answer, NewBan},
};

use crate::{
    house::{House, asked, intent, lifted, list_id, made, target, token},
    replica::Replica,
};

on_both_stores!(
    a_policy_comes_out_as_it_went_in,
    s11_a_policy_is_told_as_it_is_kept,
    of_a_list_that_is_gone_no_policy_tells,
    queues_are_told_in_the_order_in_which_they_are_asked_for,
    rights_are_kept_whole_and_the_feed_is_told_nothing,
    what_is_counted_is_the_tenants_own,
    every_ban_there_ever_was_in_a_list_is_counted,
);

async fn set(house: &House, tenant: &TenantId, policy: &QueuePolicy) {
    let mut work = house.begin(&intent(tenant)).await;
    work.set_queue_policy(policy).await.expect("a policy set");
    work.commit(&Answer::default()).await.expect("a commit");
}

async fn allow(house: &House, tenant: &TenantId, profile: &str, queues: &[&str]) {
    let rights = BanRights {
        rights_profile: profile.to_owned(),
        queues: queues.iter().map(ToString::to_string).collect(),
    };
    let mut work = house.begin(&intent(tenant)).await;
    work.set_ban_rights(&rights).await.expect("rights set");
    work.commit(&Answer::default()).await.expect("a commit");
}

async fn at(house: &House, tenant: &TenantId, queues: &[&str], profile: &str) -> Vec<AtQueue> {
    let queues: Vec<String> = queues.iter().map(ToString::to_string).collect();
    let found = house.store.at_queues(tenant, &queues, profile).await;
    let found = found.expect("a look");
    let mut work = house.begin(&intent(tenant)).await;
    let inside = work.at_queues(&queues, profile).await.expect("a look");
    work.abandon().await.expect("undone");
    assert_eq!(found, inside, "a transaction sees the same");
    found
}

fn whole() -> QueuePolicy {
    QueuePolicy {
        queue: "fronta \"1\" 'x' 🦀".to_owned(),
        channel: Some(Channel::Vk),
        campaign: true,
        record_to: Some(RecordTo::BanList),
        list_id: Some(list_id("vip")),
        enforced: vec![list_id("also"), list_id("vip")],
        withheld: WithheldPolicy::Deny,
    }
}

async fn set_up(house: &House) -> TenantId {
    let tenant = house.tenant("one").await;
    for name in ["vip", "also", "another"] {
        let mut list = house.list(&tenant, name).await;
        list.version += 1;
        if name != "another" {
            list.queues = [whole().queue].into();
        }
        let mut work = house.begin(&intent(&tenant)).await;
        work.set_list_queues(&list).await.expect("queues set");
        work.commit(&Answer::default()).await.expect("a commit");
    }
    tenant
}

async fn a_policy_comes_out_as_it_went_in(house: House) {
    let tenant = set_up(&house).await;
    let mut policy = whole();
    set(&house, &tenant, &policy).await;
    let found = at(&house, &tenant, &[&policy.queue], "").await;
    assert_eq!(found[0].policy, policy);
    policy.channel = Some(Channel::Call);
    policy.campaign = false;
    policy.record_to = None;
    policy.list_id = None;
    policy.withheld = WithheldPolicy::Allow;
    set(&house, &tenant, &policy).await;
    let listed = house.store.queue_policies(&tenant, "", 10).await;
    assert_eq!(listed.expect("policies"), [policy]);
}

async fn s11_a_policy_is_told_as_it_is_kept(house: House) {
    let tenant = set_up(&house).await;
    for (channel, withheld) in [
        (Channel::Call, WithheldPolicy::Deny),
        (Channel::Sms, WithheldPolicy::Allow),
    ] {
        let policy = QueuePolicy {
            channel: Some(channel),
            withheld,
            ..whole()
        };
        set(&house, &tenant, &policy).await;
        let told = house.last_news().await.change;
        let expected = QueueRecord {
            queue: policy.queue,
            channel,
            withheld,
        };
        assert_eq!(told, Change::Queue(expected));
        let loaded = Replica::load(&*house.store, &tenant).await.expect("one");
        let heard = Replica::hear(&house.feed().await, &tenant, loaded.head);
        assert_eq!(loaded, heard);
        assert_eq!(loaded.queues.len(), 1);
    }
}

async fn of_a_list_that_is_gone_no_policy_tells(house: House) {
    let tenant = set_up(&house).await;
    set(&house, &tenant, &whole()).await;
    house
        .run("UPDATE ban_lists SET deleted = 1 WHERE list_id = 'vip'")
        .await;
    let found = at(&house, &tenant, &[&whole().queue], "").await;
    let expected = QueuePolicy {
        list_id: None,
        enforced: vec![list_id("also")],
        ..whole()
    };
    assert_eq!(found[0].policy, expected);
}

async fn queues_are_told_in_the_order_in_which_they_are_asked_for(house: House) {
    let tenant = set_up(&house).await;
    let other = house.tenant("two").await;
    set(&house, &tenant, &whole()).await;
    allow(&house, &tenant, "p", &["b", "c"]).await;
    allow(&house, &other, "p", &["a"]).await;
    let queue = whole().queue;
    let asked = ["c", &queue, "a", "c", "b"];
    let found = at(&house, &tenant, &asked, "p").await;
    let told: Vec<_> = found
        .iter()
        .map(|at| {
            (
                at.policy.queue.as_str(),
                at.policy.channel.is_some(),
                at.allowed,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("c", false, true),
            (queue.as_str(), true, false),
            ("a", false, false),
            ("c", false, true),
            ("b", false, true),
        ]
    );
    assert!(
        at(&house, &tenant, &["b"], "")
            .await
            .iter()
            .all(|at| !at.allowed)
    );
    assert_eq!(at(&house, &tenant, &[], "p").await, []);
}

async fn rights_are_kept_whole_and_the_feed_is_told_nothing(house: House) {
    let tenant = house.tenant("one").await;
    let before = house.last_news().await;
    allow(&house, &tenant, "ž \"1\"", &["ž", "Z", "'"]).await;
    allow(&house, &tenant, "a", &["q"]).await;
    allow(&house, &tenant, "b", &["q"]).await;
    allow(&house, &tenant, "b", &[]).await;
    let rights = house.store.ban_rights(&tenant, "", 10).await.expect("all");
    let of = |profile: &str, queues: &[&str]| BanRights {
        rights_profile: profile.to_owned(),
        queues: queues.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(rights, [of("a", &["q"]), of("ž \"1\"", &["'", "Z", "ž"])]);
    let rest = house
        .store
        .ban_rights(&tenant, "a", 10)
        .await
        .expect("rest");
    assert_eq!(rest, rights[1..]);
    assert_eq!(house.last_news().await, before);
}

async fn what_is_counted_is_the_tenants_own(house: House) {
    let tenant = set_up(&house).await;
    let other = house.tenant("two").await;
    set(&house, &tenant, &whole()).await;
    allow(&house, &tenant, "p", &["a", "b"]).await;
    allow(&house, &tenant, "q", &["a"]).await;
    for (tenant, but_of, counts) in [
        (&tenant, "", (1, 3)),
        (&tenant, "p", (1, 1)),
        (&other, "", (0, 0)),
    ] {
        let mut work = house.begin(&intent(tenant)).await;
        assert_eq!(work.queue_counts(but_of).await.expect("counts"), counts);
        work.abandon().await.expect("undone");
    }
}

/// How often any of a ban's targets was banned in a list.
async fn times(house: &House, tenant: &TenantId, list: &str, new: &NewBan) -> usize {
    let keys: Vec<_> = new
        .keys
        .iter()
        .map(|(at, key, _)| (*at, key.clone()))
        .collect();
    let mut work = house.begin(&intent(tenant)).await;
    let times = work.times_banned(&list_id(list), &keys).await;
    work.abandon().await.expect("undone");
    times.expect("a count")
}

async fn every_ban_there_ever_was_in_a_list_is_counted(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    for tenant in [&one, &two] {
        house.list(tenant, "vip").await;
        house.list(tenant, "also").await;
    }
    let ban = |tenant: &TenantId, list: &str, numbers: &[usize]| {
        let mut asked = asked("");
        asked.list_id = Some(list_id(list));
        asked.targets = numbers
            .iter()
            .map(|n| {
                target(
                    bancheck::domain::identity::IdentityKind::VisitorToken,
                    &token(*n),
                )
            })
            .collect();
        made(tenant, &asked)
    };
    let probe = ban(&one, "vip", &[1]);
    assert_eq!(times(&house, &one, "vip", &probe).await, 0);
    for expected in 1..=3 {
        let new = ban(&one, "vip", &[1]);
        let likeness = new.likeness;
        let made = house.place(&one, new).await;
        house.change(&lifted(&made), likeness).await;
        assert_eq!(times(&house, &one, "vip", &probe).await, expected);
    }
    house.place(&one, ban(&one, "also", &[1])).await;
    house.place(&two, ban(&two, "vip", &[1])).await;
    assert_eq!(times(&house, &one, "vip", &probe).await, 3);
    house.place(&one, ban(&one, "vip", &[2, 3])).await;
    for (numbers, expected) in [
        (&[2][..], 1),
        (&[3], 1),
        (&[2, 3], 1),
        (&[3, 1], 3),
        (&[4], 0),
    ] {
        let probe = ban(&one, "vip", numbers);
        assert_eq!(
            times(&house, &one, "vip", &probe).await,
            expected,
            "{numbers:?}"
        );
    }
}
