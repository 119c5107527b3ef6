//! What there is on some keys: the bans in every state, with all that explains them.

use bancheck::{
    domain::{ids::BanId, view::index::Key},
    store::NewBan,
};

use crate::house::{House, lifted, tenant_id, token_ban};

on_both_stores!(
    s1_the_bans_of_a_key_are_told_in_every_state_those_in_being_first,
    s1_the_bans_of_a_key_come_with_the_lists_and_the_head_of_their_snapshot,
    s2_of_no_tenant_nothing_concerns_anybody,
);

fn keys(new: &NewBan) -> Vec<Key> {
    new.keys.iter().map(|(_, key, _)| key.key).collect()
}

async fn s1_the_bans_of_a_key_are_told_in_every_state_those_in_being_first(house: House) {
    let (tenant, other) = (house.tenant("one").await, house.tenant("two").await);
    let first = token_ban(&tenant, 1);
    let (likeness, keys) = (first.likeness, keys(&first));
    let gone = house.place(&tenant, first).await;
    house.change(&lifted(&gone), likeness).await;
    let gone_too = house.place(&tenant, token_ban(&tenant, 1)).await;
    house.change(&lifted(&gone_too), likeness).await;
    let standing = house.place(&tenant, token_ban(&tenant, 1)).await;
    house.place(&tenant, token_ban(&tenant, 2)).await;
    house.place(&other, token_ban(&other, 1)).await;

    let told = async |keys: &[Key], limit| -> Vec<BanId> {
        let found = house.store.concerning(&tenant, keys, limit).await;
        let found = found.expect("an answer").expect("the tenant").bans;
        for (ban, record) in &found {
            assert_eq!(ban.ban_id, record.ban);
            assert_eq!(ban.ended, record.ended);
            assert_eq!(
                record.keys.iter().map(|key| key.key).collect::<Vec<_>>(),
                keys
            );
        }
        found.iter().map(|(ban, _)| ban.ban_id).collect()
    };
    // Of one instant: by their ids.
    let mut ended = [gone_too.ban_id, gone.ban_id];
    ended.sort_by(|one, other| other.cmp(one));
    assert_eq!(told(&keys, 10).await, [standing.ban_id, ended[0], ended[1]]);
    assert_eq!(told(&keys, 2).await, [standing.ban_id, ended[0]]);
    assert_eq!(told(&[], 10).await, []);
    assert_eq!(told(&[Key::from(1)], 10).await, []);
}

async fn s1_the_bans_of_a_key_come_with_the_lists_and_the_head_of_their_snapshot(house: House) {
    let tenant = house.tenant("one").await;
    house.list(&tenant, "trolls").await;
    let found = house.store.concerning(&tenant, &[], 1).await;
    let told = found.expect("an answer").expect("the tenant").tenant;
    let feed = house.feed().await;
    assert_eq!(Some(told.head), feed.last().map(|news| news.anchor));
    let lists: Vec<_> = told
        .lists
        .iter()
        .map(|list| list.list_id.as_str())
        .collect();
    assert_eq!(lists, ["trolls"]);
}

async fn s2_of_no_tenant_nothing_concerns_anybody(house: House) {
    let nobody = house.store.concerning(&tenant_id("nobody"), &[], 1).await;
    assert!(nobody.expect("an answer").is_none());
}
