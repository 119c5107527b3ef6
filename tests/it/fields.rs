//! Fields that hold too much, or what cannot be.

use bancheck::api::v1::{
    BanList, Channel, CheckInteractionRequest, CreateBanRequest, Identity, ListBansRequest,
};

use crate::{
    refusals::{ban_refused, calls, check_refused, judge, unharmed},
    refused::Refused,
    requests::{NUMBER, TOKEN, add, connect, list, making, phone, visitor},
    server::{Client, TENANT},
};

on_both_stores!(
    one_to_eight_identities_are_judged,
    one_to_eight_identities_are_banned,
    a_value_of_one_kilobyte_is_read_and_no_more,
    ids_and_texts_have_their_lengths,
    control_characters_are_refused_in_ids_and_texts,
    an_unknown_number_of_an_enum_is_refused,
);

async fn one_to_eight_identities_are_judged(client: Client) {
    let of = |identities| CheckInteractionRequest {
        identities,
        ..calls()
    };
    check_refused(&client, of(vec![]), ["FIELD_REQUIRED", "identities"]).await;
    check_refused(
        &client,
        of(vec![phone(NUMBER); 9]),
        ["TOO_MANY_ITEMS", "identities"],
    )
    .await;
    check_refused(
        &client,
        of(vec![phone(NUMBER); 999]),
        ["TOO_MANY_ITEMS", "identities"],
    )
    .await;
    client.ask(of(vec![phone(NUMBER); 8])).await;
    unharmed(&client).await;
}

async fn one_to_eight_identities_are_banned(client: Client) {
    let of = |targets| CreateBanRequest {
        targets,
        validate_only: true,
        ..add(phone(NUMBER))
    };
    ban_refused(&client, of(vec![]), ["FIELD_REQUIRED", "targets"]).await;
    ban_refused(
        &client,
        of(vec![phone(NUMBER); 9]),
        ["TOO_MANY_ITEMS", "targets"],
    )
    .await;
    client
        .ban(of((0..8)
            .map(|n| phone(&format!("+42060155566{n}")))
            .collect()))
        .await;
    unharmed(&client).await;
}

async fn a_value_of_one_kilobyte_is_read_and_no_more(client: Client) {
    let of = |value: usize, issuer: usize| Identity {
        issuer: "i".repeat(issuer),
        ..visitor(&"v".repeat(value))
    };
    for (identity, part) in [(of(1025, 0), "value"), (of(1024, 1025), "issuer")] {
        let question = CheckInteractionRequest {
            identities: vec![visitor(TOKEN), identity.clone()],
            ..connect(Channel::WebChat, visitor(TOKEN))
        };
        let field = format!("identities[1].{part}");
        check_refused(&client, question, ["VALUE_TOO_LONG", &field]).await;
        let field = format!("targets[0].{part}");
        ban_refused(&client, add(identity), ["VALUE_TOO_LONG", &field]).await;
    }
    client.ask(connect(Channel::WebChat, of(1024, 1024))).await;
    unharmed(&client).await;
}

async fn ids_and_texts_have_their_lengths(client: Client) {
    let x = |length| "x".repeat(length);
    let too_long = |field| ["VALUE_TOO_LONG", field];
    let question = CheckInteractionRequest {
        queue: x(129),
        ..calls()
    };
    check_refused(&client, question, too_long("queue")).await;
    let question = CheckInteractionRequest {
        interaction_id: x(129),
        ..calls()
    };
    check_refused(&client, question, too_long("interaction_id")).await;
    client
        .ask(CheckInteractionRequest {
            queue: x(128),
            interaction_id: x(128),
            ..calls()
        })
        .await;

    let dry = || CreateBanRequest {
        validate_only: true,
        ..add(phone(NUMBER))
    };
    for (request, field) in [
        (
            CreateBanRequest {
                actor: x(129),
                ..dry()
            },
            "actor",
        ),
        (
            CreateBanRequest {
                request_id: x(65),
                ..dry()
            },
            "request_id",
        ),
        (
            CreateBanRequest {
                reason: "é".repeat(501),
                ..dry()
            },
            "reason",
        ),
        (
            CreateBanRequest {
                reason_code: x(65),
                ..dry()
            },
            "reason_code",
        ),
    ] {
        ban_refused(&client, request, too_long(field)).await;
    }
    client
        .ban(CreateBanRequest {
            actor: x(128),
            request_id: x(64),
            reason: "é".repeat(500),
            reason_code: x(64),
            ..dry()
        })
        .await;
    unharmed(&client).await;
}

async fn control_characters_are_refused_in_ids_and_texts(client: Client) {
    let invalid = |field| ["FIELD_INVALID", field];
    for bad in ["a\u{0}b", "a\u{7f}", "\u{1b}[31m", "a\u{85}b"] {
        let bad = bad.to_owned();
        let question = CheckInteractionRequest {
            queue: bad.clone(),
            ..calls()
        };
        check_refused(&client, question, invalid("queue")).await;
        let question = CheckInteractionRequest {
            interaction_id: bad.clone(),
            ..calls()
        };
        check_refused(&client, question, invalid("interaction_id")).await;
        for (request, field) in [
            (
                CreateBanRequest {
                    actor: bad.clone(),
                    ..add(phone(NUMBER))
                },
                "actor",
            ),
            (
                CreateBanRequest {
                    request_id: bad.clone(),
                    ..add(phone(NUMBER))
                },
                "request_id",
            ),
            (
                CreateBanRequest {
                    reason: bad.clone(),
                    ..add(phone(NUMBER))
                },
                "reason",
            ),
            (
                CreateBanRequest {
                    reason_code: bad.clone(),
                    ..add(phone(NUMBER))
                },
                "reason_code",
            ),
        ] {
            ban_refused(&client, request, invalid(field)).await;
        }
        for (ban_list, field) in [
            (
                BanList {
                    title: bad.clone(),
                    ..list("l")
                },
                "ban_list.title",
            ),
            (
                BanList {
                    description: bad.clone(),
                    ..list("l")
                },
                "ban_list.description",
            ),
        ] {
            let request = making(ban_list);
            let refused = Refused::read(client.config().create_ban_list(request).await);
            judge(&refused, invalid(field));
        }
        let request = ListBansRequest {
            tenant: TENANT.to_owned(),
            text: bad,
            ..Default::default()
        };
        judge(
            &Refused::read(client.admin().list_bans(request).await),
            invalid("text"),
        );
    }
    unharmed(&client).await;
}

async fn an_unknown_number_of_an_enum_is_refused(client: Client) {
    for number in [99, -1, i32::MAX] {
        unknown_numbers_of_bans(&client, number).await;
        unknown_numbers_of_lists(&client, number).await;
    }
    unharmed(&client).await;
}

async fn unknown_numbers_of_bans(client: &Client, number: i32) {
    let invalid = |field| ["FIELD_INVALID", field];
    let of_kind = Identity {
        kind: number,
        ..phone(NUMBER)
    };
    let identities = vec![of_kind.clone()];
    for (question, field) in [
        (
            CheckInteractionRequest {
                channel: number,
                ..calls()
            },
            "channel",
        ),
        (
            CheckInteractionRequest {
                stage: number,
                ..calls()
            },
            "stage",
        ),
        (
            CheckInteractionRequest {
                identities,
                ..calls()
            },
            "identities[0].kind",
        ),
    ] {
        check_refused(client, question, invalid(field)).await;
    }
    let channels = vec![Channel::Call as i32, number];
    for (request, field) in [
        (
            CreateBanRequest {
                channels,
                ..add(phone(NUMBER))
            },
            "channels[1]",
        ),
        (
            CreateBanRequest {
                match_kind: number,
                ..add(phone(NUMBER))
            },
            "match_kind",
        ),
        (
            CreateBanRequest {
                enforcement: number,
                ..add(phone(NUMBER))
            },
            "enforcement",
        ),
        (add(of_kind), "targets[0].kind"),
    ] {
        ban_refused(client, request, invalid(field)).await;
    }
}

async fn unknown_numbers_of_lists(client: &Client, number: i32) {
    let invalid = |field| ["FIELD_INVALID", field];
    let of = || ListBansRequest {
        tenant: TENANT.to_owned(),
        ..Default::default()
    };
    for (request, field) in [
        (
            ListBansRequest {
                states: vec![number],
                ..of()
            },
            "states[0]",
        ),
        (
            ListBansRequest {
                origins: vec![number],
                ..of()
            },
            "origins[0]",
        ),
        (
            ListBansRequest {
                channels: vec![number],
                ..of()
            },
            "channels[0]",
        ),
    ] {
        judge(
            &Refused::read(client.admin().list_bans(request).await),
            invalid(field),
        );
    }
    for (ban_list, field) in [
        (
            BanList {
                treatment: number,
                ..list("l")
            },
            "ban_list.treatment",
        ),
        (
            BanList {
                enforcement: number,
                ..list("l")
            },
            "ban_list.enforcement",
        ),
        (
            BanList {
                webchat_ban_type: number,
                ..list("l")
            },
            "ban_list.webchat_ban_type",
        ),
    ] {
        let refused = Refused::read(client.config().create_ban_list(making(ban_list)).await);
        judge(&refused, invalid(field));
    }
}
