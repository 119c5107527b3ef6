//! Bans out: all that a filter finds, of one moment.

use bancheck::api::v1::{
    Ban, Channel, DeactivateBansRequest, ExportBansRequest, ExportBansResponse, ListBansRequest,
    ban::State,
};
use tonic::{Code, Streaming};

use crate::{
    imports::{header, rows},
    refused::Refused,
    requests::{NUMBER, add, add_on, phone},
    server::{Client, TENANT},
};

on_both_stores!(
    an_export_holds_what_a_list_of_bans_would_show,
    an_export_is_of_one_moment_however_slowly_it_is_read,
    an_export_of_nothing_tells_when_there_was_nothing,
    what_an_export_cannot_be_narrowed_by_is_refused,
);

fn everything() -> ExportBansRequest {
    ExportBansRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    }
}

impl Client {
    async fn export(&self, request: ExportBansRequest) -> Streaming<ExportBansResponse> {
        let answers = self.admin().export_bans(request).await;
        answers.expect("an export").into_inner()
    }

    /// All bans of a list, page by page.
    pub(crate) async fn all_bans(&self, filter: ListBansRequest) -> Vec<Ban> {
        let mut request = ListBansRequest {
            tenant: TENANT.to_owned(),
            page_size: 1_000,
            ..filter
        };
        let mut all = Vec::new();
        loop {
            let page = self.admin().list_bans(request.clone()).await;
            let page = page.expect("a page").into_inner();
            all.extend(page.bans);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// All bans of an export, and the tokens it was read at.
async fn all(mut answers: Streaming<ExportBansResponse>) -> (Vec<Ban>, Vec<String>) {
    let (mut bans, mut read_at) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.message().await.expect("an answer") {
        bans.extend(answer.bans);
        read_at.push(answer.read_at.expect("a token").token);
    }
    read_at.dedup();
    (bans, read_at)
}

async fn an_export_holds_what_a_list_of_bans_would_show(client: Client) {
    client.import(header(), rows(2_300)).await;
    let on_two = crate::requests::add(phone(NUMBER));
    let mut on_two = on_two;
    on_two.targets.push(phone("+420777888999"));
    client.ban(on_two).await;
    let lifted = client
        .ban(add_on(Channel::Sms, phone("+420777888111")))
        .await;
    client.lift(&lifted).await;

    let (mut exported, read_at) = all(client.export(everything()).await).await;
    assert_eq!(read_at.len(), 1, "one snapshot");
    let mut shown = client.all_bans(ListBansRequest::default()).await;
    shown.sort_by(|a, b| a.ban_id.cmp(&b.ban_id));
    assert!(exported.is_sorted_by_key(|ban| ban.ban_id.clone()));
    assert_eq!(exported.len(), 2_301);
    exported.sort_by(|a, b| a.ban_id.cmp(&b.ban_id));
    assert_eq!(exported, shown, "ban by ban, field by field");

    let narrowed = ExportBansRequest {
        states: vec![State::Deactivated as i32],
        ..everything()
    };
    let (exported, _) = all(client.export(narrowed).await).await;
    assert_eq!(exported.len(), 1);
    assert_eq!(exported[0].ban_id, lifted.ban_id);
    let narrowed = ExportBansRequest {
        identity: Some(phone("00420 777 888 999")),
        ..everything()
    };
    let (exported, _) = all(client.export(narrowed).await).await;
    assert_eq!(exported[0].targets.len(), 2, "{exported:?}");
}

async fn an_export_is_of_one_moment_however_slowly_it_is_read(client: Client) {
    client.import(header(), rows(3_000)).await;
    let mut answers = client.export(everything()).await;
    let first = answers.message().await.expect("an answer").expect("bans");
    let lift = DeactivateBansRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    client.admin().deactivate_bans(lift).await.expect("lifted");
    assert!(client.found(ListBansRequest::default()).await.0.is_empty());
    let (rest, read_at) = all(answers).await;
    let all: Vec<Ban> = first.bans.into_iter().chain(rest).collect();
    assert_eq!(all.len(), 3_000);
    assert!(all.iter().all(|ban| ban.state() == State::Active));
    assert_eq!(read_at, [first.read_at.expect("a token").token]);
}

async fn an_export_of_nothing_tells_when_there_was_nothing(client: Client) {
    let (bans, read_at) = all(client.export(everything()).await).await;
    assert!(bans.is_empty());
    assert_eq!(read_at.len(), 1);
    let made = client.ban_fully(add(phone(NUMBER))).await;
    assert!(read_at[0] < made.written_at.expect("a token").token);
}

async fn what_an_export_cannot_be_narrowed_by_is_refused(client: Client) {
    let stranger = ExportBansRequest {
        tenant: "nobody".to_owned(),
        ..everything()
    };
    let answer = client.admin().export_bans(stranger).await;
    Refused::read(answer).is(Code::NotFound, "TENANT_NOT_FOUND");
    let unreadable = ExportBansRequest {
        identity: Some(bancheck::api::v1::Identity {
            value: "?".to_owned(),
            ..Default::default()
        }),
        ..everything()
    };
    let answer = client.admin().export_bans(unreadable).await;
    Refused::read(answer).is(Code::InvalidArgument, "INVALID_FILTER");
}
