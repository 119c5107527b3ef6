//! Checks on a stream: answered as they come, bounded, and ended in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bancheck::{
    api::v1::{
        Channel, CheckInteractionRequest, StreamCheckInteractionsRequest,
        StreamCheckInteractionsResponse, stream_check_interactions_response::Outcome,
    },
    domain::{
        keys::MasterKey,
        revision::{Position, Revision},
    },
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt as _, iter, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Streaming};

use crate::{
    batch::{reason, wrong_questions},
    database::{Database, Kind},
    freshness::at_least,
    refused::Refused,
    requests::{NUMBER, OTHER_NUMBER, add, connect, denies, phone},
    server::{Client, MASTER_KEY, Server, TENANT, config, runtime},
};

on_both_stores!(
    each_answer_bears_the_id_of_its_question,
    what_was_asked_before_the_caller_closed_its_side_is_answered,
    what_is_wrong_with_a_question_is_its_own_error_and_the_stream_goes_on,
    an_answer_that_is_there_overtakes_one_that_waits,
    of_a_caller_who_takes_no_answers_no_more_questions_are_read,
    a_question_too_large_ends_the_stream_in_clear_words,
    a_stream_ends_when_its_deadline_has_passed,
    a_caller_who_hangs_up_midway_harms_nobody,
);

mod ending {
    use super::{Kind, a_stream_ends_when_the_server_does};

    #[test]
    fn on_sqlite_a_stream_ends_when_the_server_does() {
        a_stream_ends_when_the_server_does(Kind::Sqlite);
    }

    #[test]
    fn on_postgres_a_stream_ends_when_the_server_does() {
        a_stream_ends_when_the_server_does(Kind::Postgres);
    }
}

/// Within this anything that is awaited here has happened.
const PATIENCE: Duration = Duration::from_secs(20);

fn question(id: &str, request: CheckInteractionRequest) -> StreamCheckInteractionsRequest {
    StreamCheckInteractionsRequest {
        correlation_id: id.to_owned(),
        request: Some(request),
    }
}

/// The answer to a question in which nothing is wrong: whether it denies.
fn denied(answer: &StreamCheckInteractionsResponse) -> bool {
    match answer.outcome.as_ref().expect("an outcome") {
        Outcome::Response(answer) => denies(answer),
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

/// A stream that goes on for as long as its sender lives.
type Line = (
    mpsc::Sender<StreamCheckInteractionsRequest>,
    Streaming<StreamCheckInteractionsResponse>,
);

impl Client {
    async fn line(&self) -> Line {
        let (questions, asked) = mpsc::channel(16);
        let mut client = self.check();
        let answers = client.stream_check_interactions(ReceiverStream::new(asked));
        (questions, answers.await.expect("a stream").into_inner())
    }
}

async fn next(
    answers: &mut Streaming<StreamCheckInteractionsResponse>,
) -> StreamCheckInteractionsResponse {
    let next = timeout(PATIENCE, answers.message()).await.expect("in time");
    next.expect("a stream that goes on").expect("an answer")
}

async fn each_answer_bears_the_id_of_its_question(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let (questions, mut answers) = client.line().await;
    for at in 0..20 {
        let number = if at % 2 == 0 { NUMBER } else { OTHER_NUMBER };
        let asked = question(&at.to_string(), connect(Channel::Call, phone(number)));
        questions.send(asked).await.expect("somebody listens");
        // Each is answered before the next is asked: nothing waits for more to come.
        let answer = next(&mut answers).await;
        assert_eq!(answer.correlation_id, at.to_string());
        assert_eq!(denied(&answer), at % 2 == 0);
    }
}

async fn what_was_asked_before_the_caller_closed_its_side_is_answered(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let asked =
        (0..2_000).map(|at| question(&at.to_string(), connect(Channel::Call, phone(NUMBER))));
    let asked: Vec<_> = asked.collect();
    let answers = client.check().stream_check_interactions(iter(asked)).await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut seen = vec![false; 2_000];
    while let Some(answer) = answers.message().await.expect("a good end") {
        assert!(denied(&answer));
        let at: usize = answer.correlation_id.parse().expect("an id of ours");
        assert!(!std::mem::replace(&mut seen[at], true), "answered once");
    }
    assert!(
        seen.into_iter().all(|seen| seen),
        "every question is answered"
    );
}

async fn what_is_wrong_with_a_question_is_its_own_error_and_the_stream_goes_on(client: Client) {
    client.ban(add(phone(NUMBER))).await;
    let (questions, mut answers) = client.line().await;
    let mut wrong: Vec<_> = wrong_questions()
        .into_iter()
        .map(|(request, code, word)| (question("wrong", request), code, word))
        .collect();
    let right = || connect(Channel::Call, phone(NUMBER));
    let nothing = StreamCheckInteractionsRequest {
        correlation_id: "wrong".to_owned(),
        request: None,
    };
    let long_id = "x".repeat(129);
    wrong.push((nothing, Code::InvalidArgument, "FIELD_REQUIRED"));
    wrong.push((
        question(&long_id, right()),
        Code::InvalidArgument,
        "VALUE_TOO_LONG",
    ));
    for (asked, code, word) in wrong {
        let id = asked.correlation_id.clone();
        questions
            .send(asked.clone())
            .await
            .expect("somebody listens");
        let answer = next(&mut answers).await;
        assert_eq!(answer.correlation_id, id);
        let Some(Outcome::Error(error)) = &answer.outcome else {
            panic!("{asked:?} was answered: {answer:?}");
        };
        assert_eq!(reason(error), (code, word.to_owned()), "{error:?}");
        questions
            .send(question("right", right()))
            .await
            .expect("somebody listens");
        assert!(denied(&next(&mut answers).await), "the stream goes on");
    }
    drop(questions);
    assert!(answers.message().await.expect("a good end").is_none());
}

/// A question for news that nobody has: it waits until the store has been asked for it.
fn of_tomorrow(token: &str) -> CheckInteractionRequest {
    let seal = MasterKey::new(&MASTER_KEY).seal("token");
    let mut position = Position::read(token, &seal).expect("a token of ours");
    position.anchor.revision = Revision(position.anchor.revision.0 + 1_000);
    let token = bancheck::api::v1::ConsistencyToken {
        token: position.token(&seal),
    };
    at_least(Some(token), connect(Channel::Call, phone(NUMBER)))
}

async fn an_answer_that_is_there_overtakes_one_that_waits(client: Client) {
    let made = client.ban_fully(add(phone(NUMBER))).await;
    let waits = of_tomorrow(&made.written_at.expect("a token").token);
    let (questions, mut answers) = client.line().await;
    // Which of two answers is there first is for the threads to say; now and then it is the second.
    let overtaken = async {
        loop {
            questions
                .send(question("waits", waits.clone()))
                .await
                .expect("somebody listens");
            let quick = connect(Channel::Call, phone(NUMBER));
            questions
                .send(question("quick", quick))
                .await
                .expect("somebody listens");
            let (first, second) = (next(&mut answers).await, next(&mut answers).await);
            for answer in [&first, &second] {
                match &answer.outcome {
                    Some(Outcome::Error(error)) => {
                        assert_eq!(answer.correlation_id, "waits");
                        let lost = (Code::FailedPrecondition, "TOKEN_HISTORY_LOST".to_owned());
                        assert_eq!(reason(error), lost);
                    }
                    _ => assert!(denied(answer) && answer.correlation_id == "quick"),
                }
            }
            if first.correlation_id == "quick" {
                return;
            }
        }
    };
    timeout(PATIENCE, overtaken)
        .await
        .expect("an answer that overtakes");
}

async fn of_a_caller_who_takes_no_answers_no_more_questions_are_read(client: Client) {
    const MANY: u64 = 300_000;
    client.ban(add(phone(NUMBER))).await;
    let taken = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&taken);
    let (step, mut steps) = mpsc::channel::<()>(1);
    let asked = iter(0..MANY).map(move |at| {
        counts.store(at + 1, Ordering::SeqCst);
        // One who watches need not see every step.
        let _ = step.try_send(());
        question(&at.to_string(), connect(Channel::Call, phone(NUMBER)))
    });
    let answers = client.check().stream_check_interactions(asked).await;
    let mut answers = answers.expect("a stream").into_inner();
    // It stands still once what lies between the two of them is full.
    while timeout(Duration::from_millis(700), steps.recv())
        .await
        .is_ok()
    {}
    let stood = taken.load(Ordering::SeqCst);
    assert!(stood < MANY / 2, "{stood} questions were read");
    // Others are answered, and it goes on as answers are taken.
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
    while taken.load(Ordering::SeqCst) < stood + 20_000 {
        assert!(denied(&next(&mut answers).await));
    }
}

async fn a_question_too_large_ends_the_stream_in_clear_words(client: Client) {
    let (questions, mut answers) = client.line().await;
    let large = connect(Channel::Call, phone(&"6".repeat(65 << 10)));
    questions
        .send(question("large", large))
        .await
        .expect("somebody listens");
    let end = timeout(PATIENCE, answers.message()).await.expect("in time");
    let refused = Refused::read(end.map(Response::new));
    refused.is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert!(!client.turns_away(Channel::Call, phone(NUMBER)).await);
}

async fn a_stream_ends_when_its_deadline_has_passed(client: Client) {
    let (questions, asked) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(asked));
    // Said by hand, so that this client does not end it itself.
    request
        .metadata_mut()
        .insert("grpc-timeout", "400m".parse().expect("a value"));
    let answers = client.check().stream_check_interactions(request).await;
    let mut answers = answers.expect("a stream").into_inner();
    let asked = question("1", connect(Channel::Call, phone(NUMBER)));
    questions.send(asked).await.expect("somebody listens");
    assert!(!denied(&next(&mut answers).await));
    let end = timeout(PATIENCE, answers.message()).await.expect("in time");
    Refused::read(end.map(Response::new)).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
}

async fn a_caller_who_hangs_up_midway_harms_nobody(client: Client) {
    let made = client.ban_fully(add(phone(NUMBER))).await;
    let waits = of_tomorrow(&made.written_at.expect("a token").token);
    for _ in 0..20 {
        let (questions, answers) = client.line().await;
        for at in 0..16 {
            questions
                .send(question(&at.to_string(), waits.clone()))
                .await
                .expect("somebody listens");
        }
        drop((questions, answers));
    }
    assert!(client.turns_away(Channel::Call, phone(NUMBER)).await);
}

fn a_stream_ends_when_the_server_does(kind: Kind) {
    let database = Database::fresh(kind);
    let server = Server::start(&config(&database.place)).expect("a server");
    let runtime = runtime();
    let (questions, mut answers) = runtime.block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        let (questions, mut answers) = client.line().await;
        let asked = question("1", connect(Channel::Call, phone(NUMBER)));
        questions.send(asked).await.expect("somebody listens");
        assert!(!denied(&next(&mut answers).await));
        (questions, answers)
    });
    let ends = std::thread::spawn(move || drop(server));
    let end =
        runtime.block_on(async { timeout(PATIENCE, answers.message()).await.expect("in time") });
    Refused::read(end.map(Response::new)).is(Code::Unavailable, "NOT_READY");
    drop(questions);
    ends.join().expect("the server's end");
}
