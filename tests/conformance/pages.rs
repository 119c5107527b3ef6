//! Pages of bans: each ban on one of them, and on one only.

use bancheck::{
    domain::{
        ban::Ban,
        clock::Timestamp,
        ids::{BanId, TenantId},
    },
    store::{BanFilter, BanOrder, new_ban_id, new_id},
};

use crate::{
    filters::{all, numbered},
    house::{House, NOW, SECOND, intent},
};

on_both_stores!(
    pages_newest_first_lose_and_repeat_nothing,
    pages_by_end_lose_and_repeat_nothing,
    bans_with_ids_of_before_are_listed_among_the_others,
    a_page_that_is_not_full_is_the_last,
);

/// Ids of before told the millisecond, and went by a counter within it.
async fn bans_with_ids_of_before_are_listed_among_the_others(house: House) {
    let tenant = house.tenant("one").await;
    let made = |number: u32| NOW.plus_micros(i64::from(number) * 10_000);
    let bans: Vec<_> = (0..60)
        .map(|number| {
            numbered(&tenant, number, |ban| {
                ban.created = made(number);
                ban.ban_id = match number % 2 {
                    0 => BanId::from_bytes(new_id(ban.created)),
                    _ => new_ban_id(ban.created),
                };
            })
        })
        .collect();
    house.add(&intent(&tenant), &bans).await;
    let filter = BanFilter {
        limit: 100,
        created_from: Some(made(7)),
        created_to: Some(made(47)),
        ..all()
    };
    for order in [BanOrder::Creation, BanOrder::Expiry] {
        let filter = BanFilter {
            order,
            ..filter.clone()
        };
        let page = house.store.bans(&tenant, &filter).await.expect("a page");
        assert_eq!((page.bans.len(), page.total), (40, Some(40)));
        let newest_first = page.bans.iter().rev().map(|ban| ban.created);
        assert!(order == BanOrder::Expiry || newest_first.eq((7..47).map(made)));
    }
    let ids = house.store.ban_ids(&tenant, &filter, None, 100).await;
    assert_eq!(ids.expect("ids").len(), 40);
}

/// So many bans, made and ending at few different instants, every fourth one permanent.
async fn many(house: &House, tenant: &TenantId, count: u32) {
    let bans: Vec<_> = (0..count)
        .map(|number| {
            numbered(tenant, number, |ban| {
                ban.created = NOW.plus_micros(i64::from(number % 7));
                ban.ban_id = new_ban_id(ban.created);
                let end = NOW.plus_micros(SECOND + i64::from(number % 5));
                ban.expire = (number % 4 != 0).then_some(end);
            })
        })
        .collect();
    house.add(&intent(tenant), &bans).await;
}

async fn paged(house: &House, tenant: &TenantId, order: BanOrder) -> Vec<Ban> {
    let mut filter = BanFilter {
        order,
        limit: 50,
        ..all()
    };
    let mut seen = Vec::new();
    loop {
        let page = house.store.bans(tenant, &filter).await.expect("a page");
        assert!(page.bans.len() <= 50);
        assert_eq!(page.total, Some(250), "all of them, whatever the page");
        seen.extend(page.bans);
        let Some(next) = page.next else { break };
        filter.after = Some(next);
    }
    seen
}

fn all_different(bans: &[Ban]) {
    let ids: std::collections::BTreeSet<_> = bans.iter().map(|ban| ban.ban_id).collect();
    assert_eq!(ids.len(), 250, "each once");
    assert_eq!(bans.len(), 250, "and none twice");
}

async fn pages_newest_first_lose_and_repeat_nothing(house: House) {
    let tenant = house.tenant("one").await;
    many(&house, &tenant, 250).await;
    let seen = paged(&house, &tenant, BanOrder::Creation).await;
    all_different(&seen);
    assert!(seen.is_sorted_by_key(|ban| std::cmp::Reverse((ban.created, ban.ban_id))));
}

async fn pages_by_end_lose_and_repeat_nothing(house: House) {
    let tenant = house.tenant("one").await;
    many(&house, &tenant, 250).await;
    let seen = paged(&house, &tenant, BanOrder::Expiry).await;
    all_different(&seen);
    let end = |ban: &Ban| (ban.expire.unwrap_or(Timestamp::MAX), ban.ban_id);
    assert!(seen.is_sorted_by_key(end), "permanent ones come last");
}

async fn a_page_that_is_not_full_is_the_last(house: House) {
    let tenant = house.tenant("one").await;
    many(&house, &tenant, 9).await;
    let page = async |filter: BanFilter| house.store.bans(&tenant, &filter).await.expect("bans");
    let short = page(BanFilter { limit: 10, ..all() }).await;
    assert_eq!((short.bans.len(), short.next), (9, None));
    let full = page(BanFilter { limit: 9, ..all() }).await;
    assert_eq!(full.bans.len(), 9);
    if full.next.is_some() {
        let beyond = page(BanFilter {
            limit: 9,
            after: full.next,
            ..all()
        })
        .await;
        assert!(beyond.bans.is_empty() && beyond.next.is_none());
    }
    let nobody = house.tenant("two").await;
    let none = house.store.bans(&nobody, &all()).await.expect("bans");
    assert!(none.bans.is_empty() && none.next.is_none());
    assert_eq!(none.total, Some(0));
}
