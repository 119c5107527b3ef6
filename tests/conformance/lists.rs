//! Lists: their titles, their queues, and what is left of deleted ones.

use bancheck::{
    domain::{
        ban::Enforcement,
        ids::TenantId,
        list::{BanList, Treatment, WebchatBanType},
    },
    store::{Answer, StoreError},
};

use crate::{
    house::{House, intent, list, list_id},
    replica::Replica,
};

on_both_stores!(
    a_list_comes_out_as_it_went_in,
    a_title_is_used_once_whatever_the_case_of_its_letters,
    a_list_cannot_be_given_the_title_of_another,
    a_title_is_free_again_once_its_list_is_deleted_but_the_id_is_not,
    a_deleted_list_is_seen_by_nobody,
    queues_are_set_whole_and_a_change_of_the_list_leaves_them,
    lists_come_in_the_order_of_their_ids_page_by_page,
    generations_and_counts_are_the_tenants_own,
);

async fn keep(house: &House, tenant: &TenantId, list: &BanList) -> Result<(), StoreError> {
    let mut work = house.begin(&intent(tenant)).await;
    work.add_list(list).await?;
    work.commit(&Answer::default()).await?;
    Ok(())
}

async fn change(house: &House, tenant: &TenantId, list: &BanList) -> Result<(), StoreError> {
    let mut work = house.begin(&intent(tenant)).await;
    work.set_list(list).await?;
    work.commit(&Answer::default()).await?;
    Ok(())
}

fn titled(name: &str, title: &str) -> BanList {
    BanList {
        title: title.to_owned(),
        ..list(name, 1)
    }
}

async fn kept(house: &House, tenant: &TenantId, name: &str) -> Option<BanList> {
    house
        .store
        .list(tenant, &list_id(name))
        .await
        .expect("a look")
}

fn whole() -> BanList {
    BanList {
        list_id: list_id("vip"),
        generation: 7,
        title: "Řvoucí \"volající\" 'x' 🦀".to_owned(),
        description: "více\nřádků\t\\".to_owned(),
        default_timeout_text: "+6 days".to_owned(),
        webchat_ban_type: WebchatBanType::Ip,
        ban_contact_phones: true,
        treatment: Some(Treatment::PlayAnnouncement),
        enforcement: Enforcement::Shadow,
        enforce_outbound: true,
        repeat_ladder: ["1 day", "19 months", "1 year, 2 weeks"]
            .map(|step| step.parse().expect("a period"))
            .into(),
        queues: std::collections::BTreeSet::new(),
        version: 3,
    }
}

async fn a_list_comes_out_as_it_went_in(house: House) {
    let tenant = house.tenant("one").await;
    let mut list = whole();
    keep(&house, &tenant, &list).await.expect("a list kept");
    assert_eq!(kept(&house, &tenant, "vip").await.as_ref(), Some(&list));
    list.treatment = None;
    list.repeat_ladder = Vec::new();
    list.default_timeout_text = String::new();
    list.version = 4;
    change(&house, &tenant, &list)
        .await
        .expect("a list changed");
    assert_eq!(kept(&house, &tenant, "vip").await.as_ref(), Some(&list));
    let mut work = house.begin(&intent(&tenant)).await;
    assert_eq!(work.list(&list.list_id).await.expect("a look"), Some(list));
    work.abandon().await.expect("undone");
}

async fn a_title_is_used_once_whatever_the_case_of_its_letters(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    for (number, (title, twin)) in [
        ("Callers", "cALLERS"),
        ("ŽALOBY", "žaloby"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ]
    .into_iter()
    .enumerate()
    {
        let first = titled(&format!("a{number}"), title);
        keep(&house, &one, &first).await.expect("a list kept");
        let second = titled(&format!("b{number}"), twin);
        let refused = keep(&house, &one, &second).await;
        assert!(matches!(refused, Err(StoreError::Taken)), "{twin}");
        keep(&house, &two, &second)
            .await
            .expect("another tenant's title");
    }
    let same_id = titled("a0", "another title");
    assert!(matches!(
        keep(&house, &one, &same_id).await,
        Err(StoreError::Taken)
    ));
    assert_eq!(
        house.store.lists(&one, "", 10).await.expect("lists").len(),
        3
    );
}

async fn a_list_cannot_be_given_the_title_of_another(house: House) {
    let tenant = house.tenant("one").await;
    keep(&house, &tenant, &titled("a", "first"))
        .await
        .expect("a list kept");
    keep(&house, &tenant, &titled("b", "second"))
        .await
        .expect("a list kept");
    let refused = change(&house, &tenant, &titled("b", "FIRST")).await;
    assert!(matches!(refused, Err(StoreError::Taken)));
    assert_eq!(
        kept(&house, &tenant, "b").await.expect("the list").title,
        "second"
    );
    change(&house, &tenant, &titled("b", "SECOND"))
        .await
        .expect("its own title in capitals");
    assert_eq!(
        kept(&house, &tenant, "b").await.expect("the list").title,
        "SECOND"
    );
}

async fn a_title_is_free_again_once_its_list_is_deleted_but_the_id_is_not(house: House) {
    let tenant = house.tenant("one").await;
    keep(&house, &tenant, &titled("a", "callers"))
        .await
        .expect("a list kept");
    house.run("UPDATE ban_lists SET deleted = 1").await;
    let same_id = keep(&house, &tenant, &titled("a", "others")).await;
    assert!(matches!(same_id, Err(StoreError::Taken)));
    keep(&house, &tenant, &titled("b", "Callers"))
        .await
        .expect("the title is free");
}

async fn a_deleted_list_is_seen_by_nobody(house: House) {
    let tenant = house.tenant("one").await;
    house.list(&tenant, "gone").await;
    house.run("UPDATE ban_lists SET deleted = 1").await;
    house.list(&tenant, "here").await;
    assert_eq!(kept(&house, &tenant, "gone").await, None);
    let lists = house.store.lists(&tenant, "", 10).await.expect("lists");
    let names: Vec<_> = lists.iter().map(|list| list.list_id.as_str()).collect();
    assert_eq!(names, ["here"]);
    let loaded = Replica::load(&*house.store, &tenant)
        .await
        .expect("the tenant");
    assert_eq!(loaded.lists.keys().collect::<Vec<_>>(), [&list_id("here")]);
    let mut work = house.begin(&intent(&tenant)).await;
    assert_eq!(work.list(&list_id("gone")).await.expect("a look"), None);
    assert_eq!(work.list_counts().await.expect("counts").0, 1);
    work.abandon().await.expect("undone");
}

async fn queues_are_set_whole_and_a_change_of_the_list_leaves_them(house: House) {
    let tenant = house.tenant("one").await;
    let mut list = house.list(&tenant, "vip").await;
    let others = house.list(&tenant, "other").await;
    for queues in [&["q1", "ž \"2\"", "q'3"][..], &["q1", "q4"], &[], &["q5"]] {
        list.queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
        list.version += 1;
        let mut work = house.begin(&intent(&tenant)).await;
        work.set_list_queues(&list).await.expect("queues set");
        let (_, relations) = work.list_counts().await.expect("counts");
        assert_eq!(usize::try_from(relations).expect("a count"), queues.len());
        work.commit(&Answer::default()).await.expect("a commit");
        assert_eq!(kept(&house, &tenant, "vip").await.as_ref(), Some(&list));
    }
    let renamed = BanList {
        title: "renamed".to_owned(),
        version: 9,
        ..list.clone()
    };
    let without = BanList {
        queues: std::collections::BTreeSet::new(),
        ..renamed.clone()
    };
    change(&house, &tenant, &without)
        .await
        .expect("a list changed");
    assert_eq!(kept(&house, &tenant, "vip").await, Some(renamed));
    assert_eq!(kept(&house, &tenant, "other").await, Some(others));
}

async fn lists_come_in_the_order_of_their_ids_page_by_page(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let mut names: Vec<_> = (0..12)
        .map(|number| format!("l{}", number * 5 % 12))
        .collect();
    for name in &names {
        house.list(&one, name).await;
    }
    house.list(&two, "l3").await;
    names.sort_unstable();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = house.store.lists(&one, &after, 5).await.expect("a page");
        let Some(last) = page.last() else { break };
        last.list_id.as_str().clone_into(&mut after);
        seen.extend(page.iter().map(|list| list.list_id.as_str().to_owned()));
    }
    assert_eq!(seen, names);
}

async fn generations_and_counts_are_the_tenants_own(house: House) {
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let generations = [
        house.list(&one, "a").await.generation,
        house.list(&one, "b").await.generation,
        house.list(&two, "a").await.generation,
    ];
    assert_eq!(generations, [1, 2, 1], "0 is for bans without a list");
    let mut work = house.begin(&intent(&one)).await;
    assert_eq!(work.list_counts().await.expect("counts"), (2, 0));
    assert_eq!(work.next_generation().await.expect("a generation"), 3);
    work.abandon().await.expect("undone");
}
