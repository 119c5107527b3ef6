//! How often bans have matched, kept beside what they are.

use bancheck::{
    domain::{ban::Ban, ids::BanId},
    store::Matched,
};

use crate::house::{House, NOW, SECOND, token_ban};

on_both_stores!(
    matches_add_up_and_the_last_instant_stays,
    counting_changes_neither_the_etag_nor_the_feed,
    matches_of_a_ban_that_is_not_there_are_nobodys,
);

fn matched(ban: &Ban, count: u64, second: i64) -> Matched {
    Matched {
        tenant: ban.tenant.clone(),
        ban: ban.ban_id,
        count,
        last: NOW.plus_micros(second * SECOND),
    }
}

async fn count(house: &House, matched: &[Matched]) {
    house.store.count_matches(matched).await.expect("a count");
}

async fn matches_add_up_and_the_last_instant_stays(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let a = house.place(&one, token_ban(&one, 1)).await;
    let b = house.place(&two, token_ban(&two, 1)).await;
    assert_eq!((a.match_count, a.last_match), (0, None));
    assert_eq!(house.kept(&a).await, a);
    count(&house, &[matched(&b, 1, 9), matched(&a, 3, 5)]).await;
    // Of two pods, the one that writes later may have looked earlier.
    count(&house, &[matched(&a, 4, 2)]).await;
    let told = async |ban: &Ban| {
        let kept = house.kept(ban).await;
        (kept.match_count, kept.last_match)
    };
    assert_eq!(told(&a).await, (7, Some(NOW.plus_micros(5 * SECOND))));
    assert_eq!(told(&b).await, (1, Some(NOW.plus_micros(9 * SECOND))));
    let listed = house.store.bans(&one, &crate::filters::all()).await;
    assert_eq!(listed.expect("a page").bans[0].match_count, 7);
}

async fn counting_changes_neither_the_etag_nor_the_feed(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house.place(&tenant, token_ban(&tenant, 1)).await;
    let feed = house.feed().await;
    count(&house, &[matched(&ban, 3, 5)]).await;
    let kept = house.kept(&ban).await;
    assert_eq!((kept.version, kept.updated), (ban.version, ban.updated));
    assert_eq!(house.feed().await, feed);
}

async fn matches_of_a_ban_that_is_not_there_are_nobodys(house: House) {
    let tenant = house.tenant("one").await;
    let ban = house.place(&tenant, token_ban(&tenant, 1)).await;
    let gone = Matched {
        ban: BanId::from_bytes([9; 16]),
        ..matched(&ban, 1, 1)
    };
    count(&house, &[gone, matched(&ban, 2, 1)]).await;
    assert_eq!(house.kept(&ban).await.match_count, 2);
    assert_eq!(house.number("SELECT count(*) FROM ban_matches").await, 1);
}
