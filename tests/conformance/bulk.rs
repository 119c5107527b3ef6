//! Very many bans at once: read in one snapshot, changed and lifted together.

use std::sync::Arc;

use async_trait::async_trait;
use bancheck::{
    domain::{
        ban::{Ban, State},
        ids::{BanId, TenantId},
        record::Change,
        revision::Anchor,
    },
    store::{Answer, BanFilter, BanSink, Lifting, MAX_CHUNK, Renewal, Store},
};

use crate::house::{House, NOW, SECOND, event, intent, opened, token_ban};

on_both_stores!(
    s1_an_export_is_one_snapshot_whatever_is_written_meanwhile,
    s11_bans_changed_and_lifted_together_are_told_as_they_stand,
    the_ids_of_bans_are_found_from_one_on,
    what_happened_in_a_transaction_is_found_by_its_mark,
);

/// Takes bans, and lifts all of them once the first have come.
struct Meddler {
    store: Arc<dyn Store>,
    tenant: TenantId,
    all: Vec<BanId>,
    head: Option<Anchor>,
    bans: Vec<Ban>,
}

#[async_trait]
impl BanSink for Meddler {
    fn open(&mut self, head: Anchor) {
        self.head = Some(head);
    }

    async fn take(&mut self, bans: Vec<Ban>) -> bool {
        if self.bans.is_empty() {
            let begun = self.store.begin(&intent(&self.tenant)).await;
            let mut work = opened(begun.expect("a write begun"));
            for some in self.all.chunks(MAX_CHUNK) {
                let lifting = Lifting {
                    bans: some.to_vec(),
                    by: "meddler".to_owned(),
                    reason: String::new(),
                };
                work.lift_bans(&lifting).await.expect("bans lifted");
            }
            work.commit(&Answer::default()).await.expect("a commit");
        }
        self.bans.extend(bans);
        true
    }
}

async fn s1_an_export_is_one_snapshot_whatever_is_written_meanwhile(house: House) {
    let tenant = house.tenant("one").await;
    let mut all = Vec::new();
    for chunk in 0..3 {
        let bans: Vec<_> = (0..1_000)
            .map(|at| token_ban(&tenant, chunk * 1_000 + at))
            .collect();
        house.add(&intent(&tenant), &bans).await;
        all.extend(bans.iter().map(|new| new.ban.ban_id));
    }
    let head = house.last_news().await.anchor;
    let mut sink = Meddler {
        store: Arc::clone(&house.store),
        tenant: tenant.clone(),
        all,
        head: None,
        bans: Vec::new(),
    };
    let filter = BanFilter {
        now: Some(NOW),
        ..BanFilter::default()
    };
    let there = house.store.export(&tenant, &filter, &mut sink).await;
    assert!(there.expect("an export"));
    assert_eq!(sink.head, Some(head));
    assert_eq!(sink.bans.len(), 3_000);
    assert!(sink.bans.is_sorted_by_key(|ban| ban.ban_id));
    let as_before = |ban: &Ban| ban.state(NOW) == State::Active && ban.targets.len() == 1;
    assert!(sink.bans.iter().all(as_before), "as they were");
    let whole = house.kept(&sink.bans[0]).await;
    assert_eq!(whole.targets, sink.bans[0].targets, "keys and all");

    let nobody = crate::house::tenant_id("nobody");
    let there = house.store.export(&nobody, &filter, &mut sink).await;
    assert!(!there.expect("a look"));
}

async fn s11_bans_changed_and_lifted_together_are_told_as_they_stand(house: House) {
    let tenant = house.tenant("one").await;
    let bans: Vec<_> = (0..5).map(|at| token_ban(&tenant, at)).collect();
    house.add(&intent(&tenant), &bans).await;
    let ids: Vec<_> = bans.iter().map(|new| new.ban.ban_id).collect();
    let end = NOW.plus_micros(SECOND);
    let renewal = |at: usize, reason: &str| Renewal {
        ban: ids[at],
        reason: reason.to_owned(),
        reason_code: String::new(),
        start: None,
        expire: Some(end),
    };
    let mut work = house.begin(&intent(&tenant)).await;
    let renewals = [renewal(0, "another"), renewal(1, "")];
    work.renew_bans(&renewals).await.expect("bans changed");
    let lifting = Lifting {
        bans: ids[2..4].to_vec(),
        by: "somebody".to_owned(),
        reason: "enough".to_owned(),
    };
    let lifted = work.lift_bans(&lifting).await.expect("bans lifted");
    assert_eq!(lifted.len(), 2);
    assert!(work.lift_bans(&lifting).await.expect("again").is_empty());
    work.commit(&Answer::default()).await.expect("a commit");

    let Change::Bans(told) = house.last_news().await.change else {
        panic!("news of bans");
    };
    let mut told: Vec<_> = told
        .iter()
        .map(|record| (record.ban, record.expire, record.ended))
        .collect();
    told.sort_by_key(|(ban, ..)| *ban);
    let expected = [
        (ids[0], Some(end), false),
        (ids[1], Some(end), false),
        (ids[2], None, true),
        (ids[3], None, true),
    ];
    assert_eq!(told, expected);
    let now = house.store.bans_of(&tenant, &ids).await.expect("bans");
    assert_eq!(now.iter().map(|ban| ban.ban_id).collect::<Vec<_>>(), ids);
    assert_eq!((now[0].reason.as_str(), now[0].version), ("another", 2));
    assert_eq!(now[1].reason, bans[1].ban.reason, "no words, no change");
    assert_eq!(now[2].deactivated_by, "somebody");
    assert_eq!(now[2].state(NOW), State::Deactivated);
    assert_eq!(now[4], bans[4].ban);
}

async fn the_ids_of_bans_are_found_from_one_on(house: House) {
    let tenant = house.tenant("one").await;
    let bans: Vec<_> = (0..7).map(|at| token_ban(&tenant, at)).collect();
    house.add(&intent(&tenant), &bans).await;
    let mut ids: Vec<_> = bans.iter().map(|new| new.ban.ban_id).collect();
    ids.sort_unstable();
    let filter = BanFilter {
        now: Some(NOW),
        ..BanFilter::default()
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = house.store.ban_ids(&tenant, &filter, after, 3).await;
        let page = page.expect("ids");
        after = page.last().copied();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, ids);
}

async fn what_happened_in_a_transaction_is_found_by_its_mark(house: House) {
    let tenant = house.tenant("one").await;
    let mut marks = Vec::new();
    for at in 0..3 {
        let intent = intent(&tenant);
        let mut work = house.begin(&intent).await;
        let new = token_ban(&tenant, at);
        work.add_bans(std::slice::from_ref(&new))
            .await
            .expect("a ban");
        let number = u8::try_from(at).expect("a small number") * 2;
        let one = event(number + 1, Some(new.ban.ban_id), "ONE");
        let two = event(number + 2, Some(new.ban.ban_id), "TWO");
        let events = [one, two];
        work.note_all(&events).await.expect("events noted");
        work.commit(&Answer::default()).await.expect("a commit");
        marks.push((intent.nonce, events));
    }
    let asked = [marks[0].0, marks[2].0];
    let mut found = house
        .store
        .events_of(&tenant, &asked)
        .await
        .expect("events");
    found.sort_by_key(|(_, event)| event.event_id);
    let of = |at: usize| marks[at].1.clone().map(|event| (marks[at].0, event));
    assert_eq!(found, [of(0), of(2)].concat());
}
