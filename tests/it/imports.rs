//! Many bans at once: from a file, and lifted together (P8).

use bancheck::api::v1::{
    Channel, DeactivateBansRequest, Identity, ImportBansRequest, ImportBansResponse,
    ListBanEventsRequest, ListBansRequest, OnDuplicate,
    ban::{Origin, State},
    import_bans_request::{Header, Part, Row, row::Expiry},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{iter, wrappers::ReceiverStream};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    refused::Refused,
    requests::{
        NUMBER, OTHER_NUMBER, add, add_on, after, denies, enter, making, micros, phone, when,
    },
    server::{Client, TENANT},
};

on_both_stores!(
    p8_a_file_of_bans_is_imported_and_every_one_holds,
    p8_a_dry_run_counts_what_the_import_then_does_and_writes_nothing,
    p8_an_import_sent_again_does_nothing_twice,
    p8_rows_that_fail_are_told_by_number_and_spoil_no_other,
    p8_a_row_may_change_the_ban_that_stands,
    p8_a_wrong_import_is_undone_by_its_id,
    p8_a_list_is_replaced_in_one_moment,
    p1_in_a_file_only_the_number_is_mandatory,
    p3_p5_a_number_is_taken_once_however_it_is_written,
    p4_after_its_expiry_an_imported_number_is_let_through_and_stays_listed,
    p6_p7_an_imported_number_is_found_by_its_end_with_who_and_when,
    p9_a_ban_can_be_the_template_of_another,
    an_import_begins_with_its_header_and_has_no_other,
    lifting_together_takes_what_a_list_of_bans_would_show,
);

/// The header of an import that is like no other.
pub(crate) fn header() -> Header {
    Header {
        tenant: TENANT.to_owned(),
        ..Default::default()
    }
}

fn row(number: usize, value: &str) -> Row {
    Row {
        row_number: i32::try_from(number).expect("a small number"),
        targets: vec![phone(value)],
        channels: vec![Channel::Call as i32],
        reason: "from the old system".to_owned(),
        ..Default::default()
    }
}

/// Rows of so many numbers.
pub(crate) fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|at| row(at + 1, &number(at))).collect()
}

fn number(at: usize) -> String {
    format!("+42060{at:07}")
}

/// An import as it is sent.
pub(crate) fn parts(header: Header, rows: Vec<Row>) -> impl Iterator<Item = ImportBansRequest> {
    let rows = rows.into_iter().map(Part::Row);
    std::iter::once(Part::Header(header))
        .chain(rows)
        .map(|part| ImportBansRequest { part: Some(part) })
}

impl Client {
    async fn try_import(
        &self,
        header: Header,
        rows: Vec<Row>,
    ) -> Result<ImportBansResponse, Status> {
        let stream = iter(parts(header, rows).collect::<Vec<_>>());
        let answer = self.admin().import_bans(stream).await;
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) async fn import(&self, header: Header, rows: Vec<Row>) -> ImportBansResponse {
        self.try_import(header, rows).await.expect("an import")
    }

    /// How many bans an import has that are in one of these states.
    pub(crate) async fn imported(&self, import_id: &str, states: &[State]) -> i32 {
        let filter = ListBansRequest {
            import_id: import_id.to_owned(),
            states: states.iter().map(|state| *state as i32).collect(),
            ..Default::default()
        };
        self.found(filter).await.1
    }
}

/// What became of the rows, without ids and tokens.
pub(crate) fn counts(answer: &ImportBansResponse) -> [i32; 5] {
    [
        answer.created_count,
        answer.updated_count,
        answer.duplicate_count,
        answer.excepted_count,
        answer.failed_count,
    ]
}

async fn p8_a_file_of_bans_is_imported_and_every_one_holds(client: Client) {
    let done = client.import(header(), rows(2_500)).await;
    assert_eq!(counts(&done), [2_500, 0, 0, 0, 0]);
    assert!(done.written_at.is_some());
    for at in [0, 999, 1_000, 2_499] {
        assert!(
            client.turns_away(Channel::Call, phone(&number(at))).await,
            "{at}"
        );
    }
    assert!(
        !client
            .turns_away(Channel::Call, phone(&number(2_500)))
            .await
    );
    assert_eq!(client.imported(&done.import_id, &[]).await, 2_500);
    let of_imports = ListBansRequest {
        origins: vec![Origin::Import as i32],
        ..Default::default()
    };
    assert_eq!(client.found(of_imports).await.1, 2_500);

    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    let events = client
        .admin()
        .list_ban_events(request)
        .await
        .expect("a history");
    let events = events.into_inner().events;
    let imported = events.iter().filter(|event| event.action == "IMPORTED");
    assert_eq!(imported.count(), 3, "one entry a thousand rows: {events:?}");
}

async fn p8_a_dry_run_counts_what_the_import_then_does_and_writes_nothing(client: Client) {
    client.ban(add_on(Channel::Call, phone(&number(3)))).await;
    client.ban(add_on(Channel::Call, phone(&number(4)))).await;
    for (round, on_duplicate) in [OnDuplicate::Skip, OnDuplicate::Update, OnDuplicate::Fail]
        .into_iter()
        .enumerate()
    {
        // Of each round's own, but for two that stand; with some that repeat a row of the same
        // chunk, of an earlier one, in another spelling, and some that cannot be read.
        let from = round * 5_000;
        let mut file = rows(5);
        file.extend((from..from + 1_200).map(|at| row(at, &number(at + 10))));
        file.extend((from + 1_195..from + 1_205).map(|at| row(at, &number(at + 10))));
        file.push(row(7, &number(from + 10).replace("+420", "00420 ")));
        file.push(row(8, "not a number"));
        file.extend((from..from + 1_100).map(|at| row(at, &number(at + 10))));
        let header = Header {
            on_duplicate: on_duplicate as i32,
            ..header()
        };
        let (_, before) = client.found(ListBansRequest::default()).await;
        let tried = client
            .import(
                Header {
                    validate_only: true,
                    ..header.clone()
                },
                file.clone(),
            )
            .await;
        assert!(tried.written_at.is_none() && tried.import_id.is_empty());
        let (_, unchanged) = client.found(ListBansRequest::default()).await;
        assert_eq!(before, unchanged, "{on_duplicate:?}");

        let size = file.len();
        let done = client.import(header, file).await;
        assert_eq!(counts(&tried), counts(&done), "{on_duplicate:?}");
        let all: i32 = counts(&done).iter().sum();
        assert_eq!(usize::try_from(all), Ok(size), "every row is counted once");
        let (_, now) = client.found(ListBansRequest::default()).await;
        assert_eq!(now - before, done.created_count, "{on_duplicate:?}");
        assert!(done.created_count > 1_200, "{done:?}");
    }
}

async fn p8_an_import_sent_again_does_nothing_twice(client: Client) {
    let header = Header {
        request_id: "moving in".to_owned(),
        ..header()
    };
    let mut file = rows(1_100);
    file.push(row(9_999, "not a number"));
    let first = client.import(header.clone(), file.clone()).await;
    let lifted = DeactivateBansRequest {
        tenant: TENANT.to_owned(),
        import_id: first.import_id.clone(),
        ..Default::default()
    };
    client
        .admin()
        .deactivate_bans(lifted)
        .await
        .expect("lifted");
    let again = client.import(header.clone(), file.clone()).await;
    assert_eq!(counts(&first), counts(&again));
    assert_eq!(first.errors, again.errors);
    assert_eq!(first.import_id, again.import_id);
    assert_eq!(
        client.imported(&first.import_id, &[]).await,
        0,
        "not even then"
    );

    file.pop();
    for other in [file, rows(1_200)] {
        let answer = client.try_import(header.clone(), other).await;
        let refused = Refused::read(answer.map(tonic::Response::new));
        refused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let other = Header {
        on_duplicate: OnDuplicate::Fail as i32,
        ..header
    };
    let answer = client.try_import(other, rows(1)).await;
    Refused::read(answer.map(tonic::Response::new)).is(Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn p8_rows_that_fail_are_told_by_number_and_spoil_no_other(client: Client) {
    let mut file = rows(10);
    file[3].targets = vec![phone("nobody at all")];
    file[5].targets.clear();
    file[7].expiry = Some(Expiry::ExpireTime(prost_types::Timestamp {
        seconds: 1,
        nanos: 0,
    }));
    file[8].channels = vec![99];
    let done = client.import(header(), file).await;
    assert_eq!(counts(&done), [6, 0, 0, 0, 4]);
    let told: Vec<_> = done
        .errors
        .iter()
        .map(|error| {
            let status = error.status.clone().expect("a status");
            let code = status.code;
            let status = Status::with_details(
                Code::from(code),
                status.message.clone(),
                prost::Message::encode_to_vec(&status).into(),
            );
            let info = status.get_details_error_info().expect("a reason");
            (error.row_number, info.reason)
        })
        .collect();
    let expected = [
        (4, "INVALID_IDENTIFIER"),
        (6, "FIELD_REQUIRED"),
        (8, "EXPIRE_TIME_IN_PAST"),
        (9, "FIELD_INVALID"),
    ];
    assert_eq!(told, expected.map(|(row, reason)| (row, reason.to_owned())));
    assert!(!format!("{done:?}").contains("nobody at all"));

    let hopeless = (0..1_300).map(|at| row(at, "nobody at all")).collect();
    let done = client.import(header(), hopeless).await;
    assert_eq!(counts(&done), [0, 0, 0, 0, 1_300]);
    assert_eq!(done.errors.len(), 1_000, "the first thousand are told");
    assert_eq!(done.errors[999].row_number, 999);
}

async fn p8_a_row_may_change_the_ban_that_stands(client: Client) {
    let standing = client.ban(add_on(Channel::Call, phone(NUMBER))).await;
    let end = after(client.clock().await, 3_600);
    let mut changed = row(1, NUMBER);
    "once more".clone_into(&mut changed.reason);
    changed.expiry = Some(Expiry::ExpireTime(end));
    let header = Header {
        on_duplicate: OnDuplicate::Update as i32,
        ..header()
    };
    let mut again = changed.clone();
    again.reason = String::new();
    let done = client.import(header, vec![changed, again]).await;
    assert_eq!(counts(&done), [0, 2, 0, 0, 0]);
    let now = client.look(&standing).await;
    assert_eq!(
        now.reason, "threatened the operator",
        "the last row has none of its own"
    );
    assert_eq!(when(now.expire_time), micros(end));
    assert_ne!(now.etag, standing.etag);
    assert_eq!(now.import_id, "", "the import did not make it");
}

async fn p8_a_wrong_import_is_undone_by_its_id(client: Client) {
    let kept = client.ban(add_on(Channel::Call, phone(OTHER_NUMBER))).await;
    let wrong = client.import(header(), rows(2_100)).await;
    let undo = DeactivateBansRequest {
        tenant: TENANT.to_owned(),
        import_id: wrong.import_id.clone(),
        reason: "the wrong file".to_owned(),
        request_id: "undo".to_owned(),
        ..Default::default()
    };
    let tried = DeactivateBansRequest {
        validate_only: true,
        ..undo.clone()
    };
    let tried = client.admin().deactivate_bans(tried).await.expect("a try");
    assert_eq!(tried.into_inner().deactivated_count, 2_100);
    assert_eq!(client.imported(&wrong.import_id, &[]).await, 2_100);

    let undone = client.admin().deactivate_bans(undo.clone()).await;
    let undone = undone.expect("an undoing").into_inner();
    assert_eq!(undone.deactivated_count, 2_100);
    assert!(undone.written_at.is_some());
    assert!(!client.turns_away(Channel::Call, phone(&number(0))).await);
    assert!(
        !client
            .turns_away(Channel::Call, phone(&number(2_099)))
            .await
    );
    assert!(client.turns_away(Channel::Call, phone(OTHER_NUMBER)).await);
    let lifted = client
        .imported(&wrong.import_id, &[State::Deactivated])
        .await;
    assert_eq!(lifted, 2_100, "they stay listed");

    // The same file may come again, and the same undoing is not meant for it.
    let right = client.import(header(), rows(5)).await;
    assert_eq!(counts(&right), [5, 0, 0, 0, 0]);
    let again = client.admin().deactivate_bans(undo).await.expect("again");
    assert_eq!(again.into_inner().deactivated_count, 2_100);
    assert_eq!(client.imported(&right.import_id, &[]).await, 5);
    assert_eq!(client.look(&kept).await.state(), State::Active);
}

async fn p8_a_list_is_replaced_in_one_moment(client: Client) {
    client.make_list(crate::requests::list("rude")).await;
    client.relate("rude", &["sales"]).await;
    let stopped = async |at: usize| {
        let question = enter("sales", Channel::Call, phone(&number(at)));
        denies(&client.ask(question).await)
    };
    let into_list = Header {
        list_id: "rude".to_owned(),
        ..header()
    };
    client.import(into_list.clone(), rows(1_500)).await;
    let active = || ListBansRequest {
        list_ids: vec!["rude".to_owned()],
        ..Default::default()
    };

    // New ones, some that stand, and one of them twice.
    let mut file = rows(2_600).split_off(1_000);
    file.push(row(9, &number(1_200)));
    let replacing = Header {
        replace: true,
        request_id: "replaced".to_owned(),
        ..into_list.clone()
    };
    let tried = Header {
        validate_only: true,
        ..replacing.clone()
    };
    let tried = client.import(tried, file.clone()).await;
    let (send, arriving) = mpsc::channel(1);
    let mut admin = client.admin();
    let mut import = JoinSet::new();
    import.spawn(async move { admin.import_bans(ReceiverStream::new(arriving)).await });
    let mut all = parts(replacing.clone(), file.clone());
    for part in all.by_ref().take(1_500) {
        send.send(part).await.expect("the server takes it");
    }
    // A good part of it is there by now, and nobody sees it.
    assert!(stopped(0).await && stopped(1_499).await && !stopped(1_600).await);
    assert_eq!(client.found(active()).await.1, 1_500);
    for part in all {
        send.send(part).await.expect("the server takes it");
    }
    drop(send);
    let done = import.join_next().await.expect("a task");
    let done = done.expect("its end").expect("a replacement");
    let done = done.into_inner();
    assert_eq!(counts(&done), [1_600, 0, 1, 0, 0]);
    assert_eq!(counts(&tried), counts(&done));

    assert!(!stopped(0).await && !stopped(999).await);
    assert!(stopped(1_000).await && stopped(1_499).await && stopped(2_599).await);
    assert_eq!(client.found(active()).await.1, 1_600);
    let lifted = ListBansRequest {
        states: vec![State::Deactivated as i32],
        ..active()
    };
    assert_eq!(client.found(lifted).await.1, 1_500, "old ones stay listed");
    // What stands there now is met by whoever adds it again.
    // While a thousand old ones at a time are marked, a slow machine may say: try again.
    let again = loop {
        let one = rows(1_001).split_off(1_000);
        match client.try_import(into_list.clone(), one).await {
            Ok(done) => break done,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    };
    assert_eq!(counts(&again), [0, 0, 1, 0, 0]);
    let again = client.import(replacing, file).await;
    assert_eq!(
        (counts(&again), again.import_id),
        (counts(&done), done.import_id)
    );

    let nowhere = Header {
        replace: true,
        ..header()
    };
    let answer = client.try_import(nowhere, rows(1)).await;
    Refused::read(answer.map(tonic::Response::new)).is(Code::InvalidArgument, "FIELD_REQUIRED");
}

async fn p1_in_a_file_only_the_number_is_mandatory(client: Client) {
    let bare = Row {
        targets: vec![phone(NUMBER)],
        ..Default::default()
    };
    let done = client.import(header(), vec![bare]).await;
    assert_eq!(counts(&done), [1, 0, 0, 0, 0]);
    for channel in [Channel::Call, Channel::Sms, Channel::Whatsapp] {
        assert!(client.turns_away(channel, phone(NUMBER)).await);
    }
}

async fn p3_p5_a_number_is_taken_once_however_it_is_written(client: Client) {
    let spellings = ["+420 601 123 456", "00420601123456", "601123456"];
    let file = (1..).zip(spellings).map(|(at, one)| row(at, one)).collect();
    let done = client.import(header(), file).await;
    assert_eq!(counts(&done), [1, 0, 2, 0, 0]);
    let bans = client.all_bans(ListBansRequest::default()).await;
    let target = &bans[0].targets[0];
    assert_eq!(target.canonical, NUMBER, "filled in");
    let input = target.input.as_ref().expect("as received");
    assert_eq!(input.value, spellings[0]);
}

async fn p4_after_its_expiry_an_imported_number_is_let_through_and_stays_listed(client: Client) {
    let mut short = row(1, NUMBER);
    let end = after(client.clock().await, 1);
    short.expiry = Some(Expiry::ExpireTime(end));
    let done = client.import(header(), vec![short]).await;
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    while client.turns_away(Channel::Call, phone(NUMBER)).await {
        tokio::task::yield_now().await;
    }
    assert!(micros(client.clock().await) >= micros(end));
    assert_eq!(client.imported(&done.import_id, &[State::Expired]).await, 1);
}

async fn p6_p7_an_imported_number_is_found_by_its_end_with_who_and_when(client: Client) {
    let before = client.clock().await;
    let named = Header {
        actor: "alice".to_owned(),
        ..header()
    };
    client.import(named, rows(1_500)).await;
    let filter = ListBansRequest {
        target_ends_with: "0001234".to_owned(),
        ..Default::default()
    };
    let found = client.all_bans(filter).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].targets[0].canonical, number(1_234));
    assert_eq!(found[0].created_by, "alice");
    assert!(when(found[0].create_time) >= micros(before));
}

async fn p9_a_ban_can_be_the_template_of_another(client: Client) {
    client.import(header(), rows(1)).await;
    let template = client.all_bans(ListBansRequest::default()).await.remove(0);
    let copy = bancheck::api::v1::CreateBanRequest {
        tenant: template.tenant.clone(),
        list_id: template.list_id.clone(),
        channels: template.channels.clone(),
        targets: vec![phone(OTHER_NUMBER)],
        match_kind: template.match_kind,
        reason: template.reason.clone(),
        reason_code: template.reason_code.clone(),
        enforcement: template.enforcement,
        ..Default::default()
    };
    let made = client.ban(copy).await;
    assert_eq!(
        (made.channels, made.reason, made.expire_time),
        (template.channels, template.reason, template.expire_time)
    );
}

async fn an_import_begins_with_its_header_and_has_no_other(client: Client) {
    let headless = parts(header(), rows(1)).skip(1).collect::<Vec<_>>();
    let answer = client.admin().import_bans(iter(headless)).await;
    Refused::read(answer).is(Code::InvalidArgument, "FIELD_REQUIRED");
    let twice = parts(header(), rows(1)).chain(parts(header(), vec![]));
    let twice = iter(twice.collect::<Vec<_>>());
    let answer = client.admin().import_bans(twice).await;
    Refused::read(answer).is(Code::InvalidArgument, "FIELD_INVALID");
    let nowhere = Header {
        list_id: "nowhere".to_owned(),
        ..header()
    };
    let answer = client.try_import(nowhere, rows(1)).await;
    Refused::read(answer.map(tonic::Response::new)).is(Code::NotFound, "BAN_LIST_NOT_FOUND");
    let stranger = Header {
        tenant: "nobody".to_owned(),
        ..header()
    };
    let answer = client.try_import(stranger, rows(1)).await;
    Refused::read(answer.map(tonic::Response::new)).is(Code::NotFound, "TENANT_NOT_FOUND");
    assert_eq!(client.found(ListBansRequest::default()).await.1, 0);
}

async fn lifting_together_takes_what_a_list_of_bans_would_show(client: Client) {
    client
        .make_list(
            making(crate::requests::list("rude"))
                .ban_list
                .expect("a list"),
        )
        .await;
    let in_list = client
        .ban(crate::requests::add_to("rude", phone(NUMBER)))
        .await;
    let elsewhere = client.ban(add(phone(NUMBER))).await;
    let mut later = crate::requests::add_to("rude", phone(OTHER_NUMBER));
    later.start_time = Some(after(client.clock().await, 3_600));
    let later = client.ban(later).await;
    let lift = |states: Vec<i32>, identity: Option<Identity>| DeactivateBansRequest {
        tenant: TENANT.to_owned(),
        list_ids: vec!["rude".to_owned()],
        states,
        identity,
        ..Default::default()
    };
    let count = async |request| {
        let lifted = client
            .admin()
            .deactivate_bans(request)
            .await
            .expect("lifted");
        lifted.into_inner().deactivated_count
    };
    assert_eq!(count(lift(vec![], Some(phone(OTHER_NUMBER)))).await, 0);
    assert_eq!(count(lift(vec![State::Deactivated as i32], None)).await, 0);
    assert_eq!(count(lift(vec![], None)).await, 1);
    assert_eq!(client.look(&in_list).await.state(), State::Deactivated);
    assert_eq!(client.look(&later).await.state(), State::Scheduled);
    assert_eq!(count(lift(vec![State::Scheduled as i32], None)).await, 1);
    assert_eq!(client.look(&elsewhere).await.state(), State::Active);
    let request = ListBanEventsRequest {
        tenant: TENANT.to_owned(),
        ban_id: in_list.ban_id.clone(),
        ..Default::default()
    };
    let events = client
        .admin()
        .list_ban_events(request)
        .await
        .expect("a history");
    let last = events.into_inner().events.pop().expect("an entry");
    assert_eq!(last.action, "DEACTIVATED");
}
