//! S-1 and S-2: what a load and the directory tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bancheck::{domain::ids::TenantId, store::Begun};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    house::{House, intent, lifted, list, tenant_id, token_ban, within},
    replica::Replica,
};

on_both_stores!(
    s1_a_load_tells_exactly_what_the_feed_told_up_to_its_head,
    s1_the_directory_and_its_head_belong_together,
    s1_a_load_tells_only_of_its_own_tenant,
    s1_a_load_of_many_tells_each_ban_that_can_hold_with_its_keys,
    s2_a_tenant_without_bans_is_an_empty_view,
    s2_no_tenant_is_none_everywhere,
    s2_a_deleted_tenant_is_no_tenant,
    tenants_come_in_the_order_of_their_ids_page_by_page,
);

const WRITERS: usize = 3;
/// At how many different heads a load must have been taken.
const HEADS: usize = 12;

async fn write(house: Arc<House>, tenant: TenantId, writer: usize, enough: CancellationToken) {
    for round in 0.. {
        if enough.is_cancelled() {
            return;
        }
        let new = token_ban(&tenant, writer * 1_000_000 + round);
        let likeness = new.likeness;
        let ban = house.place(&tenant, new).await;
        if round % 3 == 0 {
            house.change(&lifted(&ban), likeness).await;
        }
        if round % 5 == 0 {
            let name = format!("list-{writer}-{round}");
            house.list(&tenant, &name).await;
        }
    }
}

async fn s1_a_load_tells_exactly_what_the_feed_told_up_to_its_head(house: House) {
    let house = Arc::new(house);
    let tenants = [house.tenant("one").await, house.tenant("two").await];
    let enough = CancellationToken::new();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let tenant = tenants[writer % 2].clone();
        writers.spawn(write(Arc::clone(&house), tenant, writer, enough.clone()));
    }
    let (mut loads, mut heads) = (Vec::new(), BTreeSet::new());
    within("loads at different heads", async {
        while heads.len() < HEADS {
            let loaded = Replica::load(&*house.store, &tenants[0]).await;
            let loaded = loaded.expect("the tenant");
            heads.insert(loaded.head.revision);
            loads.push(loaded);
        }
    })
    .await;
    enough.cancel();
    while let Some(wrote) = within("the writers", writers.join_next()).await {
        wrote.expect("a writer");
    }

    let feed = house.feed().await;
    for loaded in &loads {
        let mut told = feed.iter().map(|news| news.anchor);
        assert!(
            told.any(|anchor| anchor == loaded.head),
            "the head is of the feed"
        );
        assert_eq!(*loaded, Replica::hear(&feed, &tenants[0], loaded.head));
    }
}

async fn s1_the_directory_and_its_head_belong_together(house: House) {
    let house = Arc::new(house);
    let made = Arc::new(AtomicUsize::new(0));
    let mut makers = JoinSet::new();
    for maker in 0..2 {
        let (house, made) = (Arc::clone(&house), Arc::clone(&made));
        makers.spawn(async move {
            for round in 0..20 {
                house.tenant(&format!("t-{maker}-{round}")).await;
                made.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    within("forty tenants", async {
        loop {
            let before = made.load(Ordering::SeqCst);
            let directory = house.store.directory().await.expect("a directory");
            assert!(
                directory.tenants.len() >= before,
                "an acknowledged tenant is in it"
            );
            // Only tenants are made here, so every row but the first is one.
            let told = usize::try_from(directory.head.revision.0).expect("few rows") - 1;
            assert_eq!(directory.tenants.len(), told);
            if told == 40 {
                break;
            }
        }
    })
    .await;
    while let Some(maker) = makers.join_next().await {
        maker.expect("a maker of tenants");
    }
}

async fn s1_a_load_tells_only_of_its_own_tenant(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let ban = house.place(&one, token_ban(&one, 1)).await;
    house.list(&two, "vip").await;
    let one = Replica::load(&*house.store, &one)
        .await
        .expect("the tenant");
    let two = Replica::load(&*house.store, &two)
        .await
        .expect("the tenant");
    assert_eq!(one.bans.keys().collect::<Vec<_>>(), [&ban.ban_id]);
    assert!(one.lists.is_empty());
    assert!(two.bans.is_empty());
    assert_eq!(two.lists.len(), 1);
}

async fn s1_a_load_of_many_tells_each_ban_that_can_hold_with_its_keys(house: House) {
    let tenant = house.tenant("one").await;
    let mut placed = BTreeMap::new();
    // More than come in one page.
    for chunk in 0..5 {
        let bans: Vec<_> = { 0..1_000 }
            .map(|number| token_ban(&tenant, chunk * 1_000 + number))
            .collect();
        house.add(&intent(&tenant), &bans).await;
        placed.extend(bans.iter().map(|new| (new.ban.ban_id, new.keys[0].1.key)));
    }
    let loaded = async || {
        let loaded = Replica::load(&*house.store, &tenant).await;
        let bans = loaded.expect("the tenant").bans.into_iter();
        bans.map(|(id, ban)| match &*ban.keys {
            [key] => (id, key.key),
            keys => panic!("{} keys", keys.len()),
        })
        .collect::<BTreeMap<_, _>>()
    };
    assert!(loaded().await == placed, "each with its key");

    // And more keys between two of them than bans: other names of one that has ended.
    house
        .run(
            "UPDATE bans SET ended = 1 WHERE ban_id IN
                 (SELECT ban_id FROM bans ORDER BY ban_id LIMIT 1 OFFSET 2500);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 17000)
             INSERT INTO ban_keys (tenant, ban_id, ordinal, position, space, width, match_key, kind,
                 matches, canonicaliser_version)
             SELECT k.tenant, k.ban_id, n.i, k.position, k.space, k.width, k.match_key, k.kind,
                 2, k.canonicaliser_version
             FROM n, ban_keys k WHERE k.ban_id IN (SELECT ban_id FROM bans WHERE ended = 1)",
        )
        .await;
    let left = loaded().await;
    assert_eq!(left.len(), 4_999);
    placed.retain(|id, _| left.contains_key(id));
    assert!(left == placed, "each with its key still");
}

async fn s2_a_tenant_without_bans_is_an_empty_view(house: House) {
    let tenant = house.tenant("one").await;
    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    assert!(loaded.bans.is_empty() && loaded.lists.is_empty());
    assert_eq!(
        loaded,
        Replica::hear(&house.feed().await, &tenant, loaded.head)
    );

    let new = token_ban(&tenant, 1);
    let likeness = new.likeness;
    let ban = house.place(&tenant, new).await;
    house.change(&lifted(&ban), likeness).await;
    let emptied = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    assert!(emptied.bans.is_empty(), "ended bans are no part of a view");
}

async fn nothing_is_known_of(house: &House, tenant: &TenantId) {
    let store = &house.store;
    assert_eq!(Replica::load(&**store, tenant).await, None);
    assert_eq!(store.settings(tenant).await.expect("a look"), None);
    let begun = store.begin(&intent(tenant)).await.expect("a look");
    assert!(matches!(begun, Begun::NoTenant));
    let directory = store.directory().await.expect("a directory");
    assert!(directory.tenants.iter().all(|(known, _)| known != tenant));
    let tenants = store.tenants("", 100).await.expect("tenants");
    assert!(tenants.iter().all(|(known, _)| known != tenant));
}

async fn s2_no_tenant_is_none_everywhere(house: House) {
    house.tenant("another").await;
    let nobody = tenant_id("nobody");
    nothing_is_known_of(&house, &nobody).await;
    let ban = token_ban(&nobody, 1);
    let store = &house.store;
    assert_eq!(
        store.ban(&nobody, ban.ban.ban_id).await.expect("a look"),
        None
    );
    assert_eq!(
        store
            .list(&nobody, &list("vip", 1).list_id)
            .await
            .expect("a look"),
        None
    );
    assert!(
        store
            .lists(&nobody, "", 10)
            .await
            .expect("a look")
            .is_empty()
    );
}

async fn s2_a_deleted_tenant_is_no_tenant(house: House) {
    let tenant = house.tenant("one").await;
    house.place(&tenant, token_ban(&tenant, 1)).await;
    house.run("UPDATE tenants SET deleted = 1").await;
    nothing_is_known_of(&house, &tenant).await;
}

async fn tenants_come_in_the_order_of_their_ids_page_by_page(house: House) {
    let mut names: Vec<String> = (0..25)
        .map(|number| format!("t{}", number * 7 % 25))
        .collect();
    for name in &names {
        house.tenant(name).await;
    }
    names.sort_unstable();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = house.store.tenants(&after, 10).await.expect("a page");
        let Some((last, _)) = page.last() else { break };
        last.as_str().clone_into(&mut after);
        seen.extend(page.iter().map(|(tenant, _)| tenant.as_str().to_owned()));
    }
    assert_eq!(seen, names);
}
