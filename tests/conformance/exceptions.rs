//! Exceptions and lifted protections: kept, told and found like the rest (S-1, S-3, S-8, S-11).

use bancheck::{
    desk::{Circumstances, CreateException, Failure, Job},
    domain::{
        ban::State,
        channel::Channels,
        exception::{Exception, MAX_EXCEPTIONS},
        identity::{CANONICALISER_VERSION, IdentityKind, MatchKind},
        ids::{ExceptionId, TenantId},
        keys::MasterKey,
        record::Change,
        refusal::Reason,
    },
    store::{Answer, ExceptionFilter, NewException},
};

use crate::{
    house::{
        House, NOW, SECOND, asked, event, exception_on, intent, intent_at, lifted_protection, made,
        target, token, token_ban,
    },
    replica::Replica,
};

on_both_stores!(
    s8_an_exception_comes_back_as_it_was_kept,
    s11_what_is_told_of_exceptions_is_what_a_load_tells,
    s3_an_exception_its_event_and_its_news_are_there_together_or_not_at_all,
    exceptions_whose_time_is_over_stand_no_more_and_are_marked_by_the_next_write,
    exceptions_are_listed_by_their_states_page_by_page,
    a_protection_is_lifted_once_and_put_back,
    what_is_found_by_a_key_is_every_ban_whose_time_is_not_over,
    a_ban_with_one_target_more_is_told_with_all_its_keys,
    more_than_one_row_can_tell_is_loaded_anew,
    s11_exceptions_filed_anew_are_told_without_the_keys_that_are_gone,
    a_tenant_has_no_more_than_so_many_exceptions_that_stand,
);

async fn keep(house: &House, tenant: &TenantId, new: &NewException) {
    let mut work = house.begin(&intent(tenant)).await;
    work.add_exception(new).await.expect("an exception added");
    work.commit(&Answer::default()).await.expect("a commit");
}

async fn agree(house: &House, tenant: &TenantId, after: &str) -> Replica {
    let loaded = Replica::load(&*house.store, tenant).await;
    let loaded = loaded.expect("the tenant");
    let heard = Replica::hear(&house.feed().await, tenant, loaded.head);
    assert_eq!(loaded, heard, "after {after}");
    loaded
}

fn ended(exception: &Exception) -> Exception {
    Exception {
        ended: true,
        deactivated: Some(NOW.plus_micros(7)),
        deactivated_by: "bob".to_owned(),
        deactivate_reason: "no longer ours".to_owned(),
        ..exception.clone()
    }
}

async fn s8_an_exception_comes_back_as_it_was_kept(house: House) {
    let tenant = house.tenant("one").await;
    let mut new = exception_on(&tenant, &token(1));
    new.exception.protected = true;
    keep(&house, &tenant, &new).await;
    let id = new.exception.exception_id;
    let mut work = house.begin(&intent(&tenant)).await;
    let kept = work.exception(id).await.expect("a look");
    assert_eq!(kept.as_ref(), Some(&new.exception));
    let other = exception_on(&tenant, &token(2)).exception.exception_id;
    assert_eq!(work.exception(other).await.expect("a look"), None);
    work.set_exception(&ended(&new.exception))
        .await
        .expect("an end");
    let kept = work.exception(id).await.expect("a look");
    assert_eq!(kept, Some(ended(&new.exception)));
    work.abandon().await.expect("undone");
    // Of another tenant nothing is known.
    let two = house.tenant("two").await;
    let mut work = house.begin(&intent(&two)).await;
    assert_eq!(work.exception(id).await.expect("a look"), None);
    assert_eq!(work.exception_count().await.expect("a count"), 0);
}

async fn s11_what_is_told_of_exceptions_is_what_a_load_tells(house: House) {
    let tenant = house.tenant("one").await;
    let mut new = exception_on(&tenant, &token(1));
    // More than one key, so that a row a key is put together again.
    let number = target(IdentityKind::PhoneNumber, "+5215512345678");
    let mut many = asked("");
    many.targets = vec![number];
    new.keys = made(&tenant, &many).keys;
    assert!(new.keys.len() > 1);
    keep(&house, &tenant, &new).await;
    let loaded = agree(&house, &tenant, "an exception was made").await;
    assert_eq!(loaded.exceptions.len(), 1);

    let mut work = house.begin(&intent(&tenant)).await;
    work.lift(&lifted_protection("private-10"))
        .await
        .expect("a lift");
    work.lift(&lifted_protection("loopback-v4"))
        .await
        .expect("a lift");
    work.commit(&Answer::default()).await.expect("a commit");
    let loaded = agree(&house, &tenant, "two protections were lifted").await;
    assert_eq!(loaded.lifted.len(), 2);

    let mut work = house.begin(&intent(&tenant)).await;
    work.put_back("private-10").await.expect("put back");
    work.set_exception(&ended(&new.exception))
        .await
        .expect("an end");
    work.commit(&Answer::default()).await.expect("a commit");
    let loaded = agree(&house, &tenant, "one was put back, and the exception ended").await;
    assert!(loaded.exceptions.is_empty());
    assert_eq!(
        loaded.lifted.into_iter().collect::<Vec<_>>(),
        ["loopback-v4"]
    );
}

async fn s3_an_exception_its_event_and_its_news_are_there_together_or_not_at_all(house: House) {
    let tenant = house.tenant("one").await;
    let before = house.census().await;
    let new = exception_on(&tenant, &token(1));
    for commits in [false, true] {
        let mut work = house.begin(&intent(&tenant)).await;
        work.add_exception(&new).await.expect("an exception added");
        work.lift(&lifted_protection("private-10"))
            .await
            .expect("a lift");
        work.note(&event(1, None, "EXCEPTION_CREATED"))
            .await
            .expect("an event");
        if commits {
            work.commit(&Answer::default()).await.expect("a commit");
        } else {
            work.abandon().await.expect("undone");
            assert_eq!(house.census().await, before);
        }
    }
    let grown: Vec<_> = { house.census().await }
        .into_iter()
        .zip(before)
        .filter(|(now, then)| now != then)
        .map(|((table, now), (_, then))| (table, now - then))
        .collect();
    let expected = [
        ("ban_events", 1),
        ("exceptions", 1),
        ("exception_keys", 1),
        ("lifted_protections", 1),
        ("requests", 1),
        ("feed", 1),
    ];
    assert_eq!(grown, expected);
}

async fn exceptions_whose_time_is_over_stand_no_more_and_are_marked_by_the_next_write(
    house: House,
) {
    let tenant = house.tenant("one").await;
    let new = exception_on(&tenant, &token(1));
    keep(&house, &tenant, &new).await;
    let keys: Vec<_> = new.keys.iter().map(|(_, key, _)| key.key).collect();
    let last = NOW.plus_micros(SECOND);
    for (at, stands) in [(last.plus_micros(-1), true), (last, false)] {
        let mut work = house.begin(&intent_at(&tenant, at)).await;
        let all = work.standing_exceptions(None).await.expect("a look");
        let found = work.standing_exceptions(Some(&keys)).await.expect("a look");
        assert_eq!(
            (all.len(), found.len()),
            (usize::from(stands), usize::from(stands))
        );
        assert!(
            work.standing_exceptions(Some(&[]))
                .await
                .expect("a look")
                .is_empty()
        );
        assert_eq!(
            work.exception_count().await.expect("a count"),
            i64::from(stands)
        );
        work.abandon().await.expect("undone");
    }
    let mut second = exception_on(&tenant, &token(2));
    second.exception.expire = None;
    let mut work = house.begin(&intent_at(&tenant, last)).await;
    work.add_exception(&second)
        .await
        .expect("an exception added");
    work.commit(&Answer::default()).await.expect("a commit");
    let Change::Exceptions(told) = house.last_news().await.change else {
        panic!("expected news of exceptions");
    };
    let mut told: Vec<_> = { told.exceptions }
        .into_iter()
        .map(|one| (one.exception, one.ended))
        .collect();
    told.sort_unstable();
    let mut expected = [
        (new.exception.exception_id, true),
        (second.exception.exception_id, false),
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let loaded = agree(&house, &tenant, "one was over and another made").await;
    assert_eq!(loaded.exceptions.len(), 1);
}

async fn exceptions_are_listed_by_their_states_page_by_page(house: House) {
    let tenant = house.tenant("one").await;
    let mut made = Vec::new();
    for number in 0..4 {
        let mut new = exception_on(&tenant, &token(number));
        new.exception.expire = (number != 1).then(|| NOW.plus_micros(SECOND));
        keep(&house, &tenant, &new).await;
        made.push(new.exception);
    }
    made.sort_by_key(|one| one.exception_id);
    let ids: Vec<_> = made.iter().map(|one| one.exception_id).collect();
    let lifted = &made[2];
    let mut work = house.begin(&intent(&tenant)).await;
    work.set_exception(&ended(lifted)).await.expect("an end");
    work.commit(&Answer::default()).await.expect("a commit");

    let list = async |states: &[State], seconds: i64, after: Option<usize>, limit: i64| {
        let filter = ExceptionFilter {
            states: states.to_vec(),
            now: Some(NOW.plus_micros(seconds * SECOND)),
            after: after.map(|at| ids[at]),
            limit,
        };
        let found = house.store.exceptions(&tenant, &filter).await;
        let found = { found.expect("a list") }.into_iter();
        found.map(|one| one.exception_id).collect::<Vec<_>>()
    };
    assert_eq!(list(&[], 0, None, 9).await, [ids[0], ids[1], ids[3]]);
    assert_eq!(list(&[], 0, Some(0), 1).await, [ids[1]]);
    assert_eq!(list(&[State::Deactivated], 0, None, 9).await, [ids[2]]);
    let forever = made.iter().filter(|one| one.expire.is_none());
    let forever: Vec<_> = forever.map(|one| one.exception_id).collect();
    let active: Vec<_> = forever
        .iter()
        .filter(|id| **id != ids[2])
        .copied()
        .collect();
    assert_eq!(list(&[], 1, None, 9).await, active);
    let all = [State::Active, State::Expired, State::Deactivated];
    assert_eq!(list(&all, 1, None, 9).await, ids);
}

async fn a_protection_is_lifted_once_and_put_back(house: House) {
    let tenant = house.tenant("one").await;
    let first = lifted_protection("private-10");
    let mut work = house.begin(&intent(&tenant)).await;
    work.lift(&first).await.expect("a lift");
    let mut again = lifted_protection("private-10");
    "carol".clone_into(&mut again.by);
    work.lift(&again).await.expect("a lift");
    assert_eq!(
        work.lifted().await.expect("a look"),
        std::slice::from_ref(&first)
    );
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(house.store.lifted(&tenant).await.expect("a look"), [first]);
    let mut work = house.begin(&intent(&tenant)).await;
    work.put_back("private-10").await.expect("put back");
    work.commit(&Answer::default()).await.expect("a commit");
    assert!(
        house
            .store
            .lifted(&tenant)
            .await
            .expect("a look")
            .is_empty()
    );
}

async fn what_is_found_by_a_key_is_every_ban_whose_time_is_not_over(house: House) {
    let tenant = house.tenant("one").await;
    let new = token_ban(&tenant, 1);
    let (id, key) = (new.ban.ban_id, new.keys[0].1.clone());
    house.place(&tenant, new).await;
    house.place(&tenant, token_ban(&tenant, 2)).await;
    let mut work = house.begin(&intent(&tenant)).await;
    let found = work.found_by(&[key.key]).await.expect("a look");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].ban, &found[0].keys[..]), (id, &[key.clone()][..]));
    assert!(work.found_by(&[]).await.expect("a look").is_empty());
    work.abandon().await.expect("undone");
    let mut ban = house
        .store
        .ban(&tenant, id)
        .await
        .expect("a look")
        .expect("a ban");
    ban.expire = Some(NOW.plus_micros(SECOND));
    house.change(&ban, [9; 16]).await;
    let mut work = house
        .begin(&intent_at(&tenant, NOW.plus_micros(SECOND)))
        .await;
    assert!(work.found_by(&[key.key]).await.expect("a look").is_empty());
}

async fn a_ban_with_one_target_more_is_told_with_all_its_keys(house: House) {
    let tenant = house.tenant("one").await;
    let new = token_ban(&tenant, 1);
    let first = new.keys.clone();
    let mut ban = house.place(&tenant, new).await;
    let other = token_ban(&tenant, 2);
    ban.targets.extend(other.ban.targets.clone());
    ban.version += 1;
    ban.updated = NOW.plus_micros(3);
    let keys: Vec<_> = { other.keys.clone() }
        .into_iter()
        .map(|(_, key, text)| (1, key, text))
        .collect();
    let mut work = house.begin(&intent(&tenant)).await;
    work.extend_ban(&ban, [3; 16], &keys)
        .await
        .expect("a target more");
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(house.kept(&ban).await, ban);
    let loaded = agree(&house, &tenant, "a ban was extended").await;
    assert_eq!(
        loaded.bans[&ban.ban_id].keys.len(),
        first.len() + keys.len()
    );
    // Like another that stands it may not become.
    let mut third = house.place(&tenant, token_ban(&tenant, 3)).await;
    third.targets.extend(other.ban.targets);
    let mut work = house.begin(&intent(&tenant)).await;
    let refused = work.extend_ban(&third, [3; 16], &keys).await;
    assert!(matches!(refused, Err(bancheck::store::StoreError::Alike)));
}

async fn more_than_one_row_can_tell_is_loaded_anew(house: House) {
    let tenant = house.tenant("one").await;
    let mut range = asked("");
    range.targets = vec![target(IdentityKind::IpAddress, "203.0.113.0/24")];
    range.match_kind = Some(MatchKind::Cidr);
    let mut work = house.begin(&intent(&tenant)).await;
    work.add_bans(&[made(&tenant, &range)])
        .await
        .expect("a ban added");
    work.add_exception(&exception_on(&tenant, &token(1)))
        .await
        .expect("an exception added");
    work.commit(&Answer::default()).await.expect("a commit");
    assert_eq!(house.last_news().await.change, Change::Reload);
    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    assert_eq!((loaded.bans.len(), loaded.exceptions.len()), (1, 1));
}

async fn s11_exceptions_filed_anew_are_told_without_the_keys_that_are_gone(house: House) {
    let tenant = house.tenant("one").await;
    let (mut moved, stays) = (
        exception_on(&tenant, &token(1)),
        exception_on(&tenant, &token(2)),
    );
    moved.exception.target.canonicaliser_version = 1;
    keep(&house, &tenant, &moved).await;
    keep(&house, &tenant, &stays).await;
    let first = ExceptionId::from_bytes([0; 16]);
    let aged = async || {
        let aged = { &house.store }
            .aged_exceptions(&tenant, CANONICALISER_VERSION, first)
            .await
            .expect("a look");
        (aged.ids, aged.erased, aged.seen, aged.last)
    };
    let id = moved.exception.exception_id;
    assert_eq!(aged().await, (vec![id], 0, 2, None));

    // One key goes, one stays, one is new.
    let [one, two, three] = [1, 3, 4].map(|at| exception_on(&tenant, &token(at)).keys);
    let former = [one, two.clone()].concat();
    let mut work = house.begin(&intent(&tenant)).await;
    moved.keys.clone_from(&former);
    work.rekey_exceptions(std::slice::from_ref(&moved))
        .await
        .expect("other keys");
    work.commit(&Answer::default()).await.expect("a commit");
    let loaded = agree(&house, &tenant, "an exception got a key more").await;
    assert_eq!(loaded.exceptions[&id].keys.len(), 2);

    moved.keys = [two, three].concat();
    "another form".clone_into(&mut moved.exception.target.canonical);
    moved.exception.target.canonicaliser_version = CANONICALISER_VERSION;
    let mut work = house.begin(&intent(&tenant)).await;
    let named = [id, stays.exception.exception_id, first];
    let named = work.exceptions_named(&named).await.expect("a look");
    assert_eq!(named.len(), 2, "of those that there are");
    work.rekey_exceptions(std::slice::from_ref(&moved))
        .await
        .expect("filed anew");
    work.commit(&Answer::default()).await.expect("a commit");
    agree(&house, &tenant, "an exception was filed anew").await;
    let Change::Exceptions(told) = house.last_news().await.change else {
        panic!("expected news of exceptions");
    };
    let told: Vec<_> = { told.exceptions.iter() }
        .map(|one| {
            let keys: Vec<_> = one.keys.iter().map(|key| key.key).collect();
            (one.exception, one.ended, keys)
        })
        .collect();
    let keys: Vec<_> = moved.keys.iter().map(|(_, key, _)| key.key).collect();
    let gone = vec![former[0].1.key];
    assert_eq!(told, [(id, true, gone), (id, false, keys)]);

    assert_eq!(aged().await, (Vec::new(), 0, 2, None));
    let mut work = house.begin(&intent(&tenant)).await;
    let kept = work.exception(id).await.expect("a look").expect("it");
    assert_eq!(kept.target.canonical, "another form");
    assert_eq!(kept.target.input, moved.exception.target.input);
    let texts: Vec<_> = moved.keys.iter().map(|(_, _, text)| text.clone()).collect();
    assert_eq!(kept.target.match_keys, texts);
    let other = work.exception(stays.exception.exception_id).await;
    assert_eq!(other.expect("a look"), Some(stays.exception));
}

/// Asks for an exception on somebody, as an administrator does.
async fn ask(house: &House, tenant: &TenantId, number: usize) -> Result<Answer, Reason> {
    let job = CreateException {
        target: target(IdentityKind::VisitorToken, &token(number)),
        match_kind: None,
        channels: Channels::NONE,
        comment: String::new(),
        expire: None,
        protected: false,
        override_warnings: false,
    };
    let about = Circumstances {
        now: NOW,
        tenant: tenant.clone(),
        actor: "alice".to_owned(),
        keys: MasterKey::new(&[7; 32]),
    };
    let mut work = house.begin(&intent(tenant)).await;
    match job.run(&mut *work, &about).await {
        Ok(answer) => {
            work.commit(&answer).await.expect("a commit");
            Ok(answer)
        }
        Err(Failure::Refused(refusal)) => Err(refusal.reason),
        Err(Failure::Store(error)) => panic!("{error}"),
    }
}

async fn a_tenant_has_no_more_than_so_many_exceptions_that_stand(house: House) {
    const { assert!(MAX_EXCEPTIONS == 10_000, "as many as are made here") };
    let (tenant, other) = (house.tenant("one").await, house.tenant("two").await);
    // All but one of them; besides, some that are over and some that somebody ended.
    house
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10199)
             INSERT INTO exceptions (tenant, exception_id, kind, input, canonical, issuer,
                 canonicaliser_version, match_kind, channels, comment, expire_at, protected, ended,
                 created_at, created_by, deactivated_by, deactivate_reason)
             SELECT 'one', unhex((10000000 + i) || '000000000000000000000000'), 1, '', '', '', 1, 1, 2, '',
                 CASE WHEN i > 9999 AND i <= 10099 THEN 1 END, 0,
                 CASE WHEN i > 10099 THEN 1 ELSE 0 END, 0, '', '', ''
             FROM n",
        )
        .await;
    let last = ask(&house, &tenant, 1).await.expect("the last one");
    assert_eq!(ask(&house, &tenant, 2).await.err(), Some(Reason::Quota));
    ask(&house, &other, 2).await.expect("another tenant's");
    // One just like it is no new one.
    let again = ask(&house, &tenant, 1).await.expect("the same");
    assert_eq!(again.exception, last.exception);
    let last = last.exception.expect("an exception");
    let mut work = house.begin(&intent(&tenant)).await;
    work.set_exception(&ended(&last)).await.expect("an end");
    work.commit(&Answer::default()).await.expect("a commit");
    ask(&house, &tenant, 2).await.expect("there is room again");
}
