//! Too much of everything beneath the messages: resets, header lists, connections, bombs. Whoever does
//! that is cut off or comes to nothing; everybody else is answered meanwhile.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Range,
    path::Path,
    time::Duration,
};

use bancheck::{
    api::v1::{CheckInteractionResponse, grant::Scope},
    auth::Limits,
    config::Config,
};
use http_body_util::Full;
use prost::{Message as _, bytes::Bytes};
use tokio::time::timeout;
use tonic::{Code, Request, Status, body::Body};
use tower::{Service as _, ServiceExt as _};

use crate::{
    database::{Database, Kind},
    guarded::{Guarded, on_tenant},
    process::Process,
    requests::{NUMBER, connect, phone},
    server::{Client, Server, TENANT, config, runtime},
};

const BATCH: &str = "/bancheck.v1.CheckService/BatchCheckInteractions";
const CHECK: &str = "/bancheck.v1.CheckService/CheckInteraction";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The code that says: this is too much.
const CALM: u32 = 11;

/// Within this anything that is awaited here has happened.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test against a server, of which the addresses are checks' and the desk's.
fn run(limits: Limits, test: impl AsyncFnOnce(Client, [SocketAddr; 2])) {
    let database = Database::fresh(Kind::Sqlite);
    let config = Config {
        limits,
        ..config(&database.place)
    };
    let server = Server::start(&config).expect("a server");
    let addresses = [server.check_address(), server.admin_address()];
    runtime().block_on(async {
        let client = server.client();
        client.make_tenant(TENANT).await;
        test(client, addresses).await;
    });
}

/// The other end of a connection, which keeps to the rules as far as it wants to.
struct Rogue(TcpStream);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header list of a check, without a table and without compression.
fn header_list() -> Vec<u8> {
    header_list_by(None)
}

/// The same, under a credential.
fn header_list_by(credential: Option<&str>) -> Vec<u8> {
    // POST and http, by their numbers; the path, the authority, the type of the content.
    let mut list = vec![0x83, 0x86];
    let mut add = |name: &[u8], value: &str| {
        list.extend(name);
        list.push(u8::try_from(value.len()).expect("a short value"));
        list.extend(value.as_bytes());
    };
    add(&[0x04], CHECK);
    add(&[0x01], "x");
    add(&[0x0f, 0x10], "application/grpc");
    add(b"\0\x02te", "trailers");
    if let Some(credential) = credential {
        add(&[0x0f, 0x08], credential);
    }
    list
}

/// A check as a body has it.
fn question() -> Vec<u8> {
    let question = connect(bancheck::api::v1::Channel::Call, phone(NUMBER)).encode_to_vec();
    let length = u32::try_from(question.len()).expect("a length");
    [&[0][..], &length.to_be_bytes(), &question].concat()
}

impl Rogue {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let wait = Some(PATIENCE);
        stream.set_read_timeout(wait).expect("a socket");
        stream.set_write_timeout(wait).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        // Whether it is let in, its reads will tell.
        let _ = stream.write_all(&hello);
        Self(stream)
    }

    /// Whether the server has begun to speak HTTP/2 with it; otherwise it has hung up.
    fn is_let_in(&mut self) -> bool {
        matches!(self.read_frame(), Some((SETTINGS, _)))
    }

    fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[3], payload))
    }

    /// Asks on these streams, whose numbers are odd.
    fn ask(&mut self, streams: Range<u32>, credential: Option<&str>) {
        let (list, message) = (header_list_by(credential), question());
        let frames = streams.step_by(2).flat_map(|stream| {
            let head = frame(HEADERS, END_HEADERS, stream, &list);
            [head, frame(DATA, END_STREAM, stream, &message)]
        });
        let all = frames.collect::<Vec<_>>().concat();
        self.0.write_all(&all).expect("room in the socket");
    }

    /// Which of the pod's decisions the next answer is.
    fn decision(&mut self) -> u64 {
        loop {
            let (kind, payload) = self.read_frame().expect("an answer");
            if kind == DATA {
                let answer = CheckInteractionResponse::decode(&payload[5..]).expect("an answer");
                let (_, number) = answer.decision_id.rsplit_once('-').expect("a decision");
                return u64::from_str_radix(number, 16).expect("a number");
            }
        }
    }

    /// Sends what it is given until that is over or nobody takes it any more; tells how many bytes
    /// were taken, and the code that the server said good-bye with.
    fn flood(mut self, frames: impl Iterator<Item = Vec<u8>>) -> (usize, Option<u32>) {
        let mut reader = Self(self.0.try_clone().expect("a socket"));
        let goodbye = std::thread::spawn(move || {
            while let Some((kind, payload)) = reader.read_frame() {
                if kind == GOAWAY {
                    let code = payload[4..8].try_into().expect("a code");
                    return Some(u32::from_be_bytes(code));
                }
            }
            None
        });
        let mut sent = 0;
        for frame in frames {
            if goodbye.is_finished() || self.0.write_all(&frame).is_err() {
                break;
            }
            sent += frame.len();
        }
        let _ = self.0.shutdown(std::net::Shutdown::Write);
        (sent, goodbye.join().expect("a reader"))
    }
}

/// A process that asks for credentials, with one thread for checks; and its first key.
fn guarded_process(folder: &Path) -> (Process, String) {
    let process = Process::start(folder, &["check_threads=1", "auth=on"]);
    let root = fs::read_to_string(folder.join("data/admin.token")).expect("its first key");
    (process, root.trim().to_owned())
}

/// All that may be done there, with the tenant made.
async fn with_tenant(process: &Process, root: &str) -> Guarded {
    let [check_listener, admin_listener] = process.channels();
    let client = Client {
        check_listener,
        admin_listener,
    };
    let root = root.to_owned();
    let all = Guarded { client, root };
    all.make_tenant(TENANT).await;
    all
}

/// Such a process with the tenant, a connection to it on which nobody has shown a credential yet, and a good one.
fn connected_to_guarded(folder: &Path) -> (Process, Rogue, String) {
    let (process, root) = guarded_process(folder);
    runtime().block_on(with_tenant(&process, &root));
    let address = process.addresses[0].parse().expect("an address");
    let mut connection = Rogue::connect(address);
    assert!(connection.is_let_in());
    (process, connection, format!("Bearer {root}"))
}

async fn check(client: &Client) -> Result<(), Status> {
    let question = connect(bancheck::api::v1::Channel::Call, phone(NUMBER));
    let mut checks = client.check();
    let asked = timeout(PATIENCE, checks.check_interaction(question)).await;
    asked.expect("in time").map(drop)
}

/// Has something done on a thread of its own, and checks answered meanwhile; tells what came of it, and
/// the slowest check.
async fn beside<T: Send + 'static>(
    client: &Client,
    attack: impl FnOnce() -> T + Send + 'static,
) -> (T, Duration) {
    let attack = tokio::task::spawn_blocking(attack);
    let mut slowest = Duration::ZERO;
    loop {
        let asked = tokio::time::Instant::now();
        check(client).await.expect("others are answered");
        slowest = slowest.max(asked.elapsed());
        if attack.is_finished() {
            return (attack.await.expect("the attack is over"), slowest);
        }
    }
}

/// The memory of this process, server and all, in bytes.
fn memory() -> usize {
    let told = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes = kilobytes.expect("a line of it").parse::<usize>();
    kilobytes.expect("a number") << 10
}

#[test]
fn who_opens_and_resets_streams_without_end_is_cut_off() {
    run(Limits::default(), async |client, [address, _]| {
        let attack = move || {
            let list = header_list();
            let pairs = (0..200_000_u32).map(move |at| {
                let stream = 2 * at + 1;
                let mut pair = frame(HEADERS, END_HEADERS, stream, &list);
                pair.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                pair
            });
            Rogue::connect(address).flood(pairs)
        };
        let ((sent, code), slowest) = beside(&client, attack).await;
        println!("{sent} bytes were taken; code {code:?}; the slowest check {slowest:?}");
        assert_eq!(code, Some(CALM));
        assert!(sent < 20_000_000, "{sent}");
    });
}

#[test]
fn a_header_list_without_end_is_cut_off() {
    run(Limits::default(), async |client, [address, _]| {
        // A field of a kilobyte, over and over; and nothing at all, over and over.
        let mut field = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x07];
        field.extend([b'y'; 1_024]);
        for part in [field, Vec::new()] {
            let attack = move || {
                let begin = frame(HEADERS, 0, 1, &header_list());
                let more = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &part), 1_000_000);
                Rogue::connect(address).flood(std::iter::once(begin).chain(more))
            };
            let ((sent, code), slowest) = beside(&client, attack).await;
            println!("{sent} bytes were taken; code {code:?}; the slowest check {slowest:?}");
            assert_eq!(code, Some(CALM));
            assert!(sent < 20_000_000, "{sent}");
        }
    });
}

#[test]
fn a_header_list_that_is_too_long_costs_its_own_request_only() {
    run(Limits::default(), async |client, _| {
        let question = connect(bancheck::api::v1::Channel::Call, phone(NUMBER));
        let mut request = Request::new(question);
        let long = "y".repeat(20 << 10).parse().expect("a header");
        request.metadata_mut().insert("x", long);
        let refused = client.check().check_interaction(request).await;
        refused.expect_err("a list longer than 16 KiB");
        check(&client)
            .await
            .expect("an answer, by the same connection");
    });
}

#[test]
fn who_asks_for_answers_and_reads_none_is_not_answered_without_end() {
    run(Limits::default(), async |client, [address, _]| {
        let before = memory();
        let attack = move || {
            let Rogue(mut stream) = Rogue::connect(address);
            // A socket's worth is taken, and then no more.
            let wait = Some(Duration::from_secs(1));
            stream.set_write_timeout(wait).expect("a socket");
            let pings = frame(PING, 0, 0, &[0; 8]).repeat(1_000);
            let mut sent = 0;
            while sent < 200_000_000 && stream.write_all(&pings).is_ok() {
                sent += pings.len();
            }
            sent
        };
        let (sent, slowest) = beside(&client, attack).await;
        let more = memory().saturating_sub(before);
        println!("{sent} bytes were taken, {more} more of memory; the slowest check {slowest:?}");
        assert!(sent < 200_000_000 && more < 64 << 20, "{sent}, {more}");
    });
}

/// Some hundred megabytes of zeros, as gzip: a zero, then over and over the 258 bytes before.
fn bomb() -> Vec<u8> {
    let mut bits = vec![true, true, false];
    bits.extend([false, false, true, true, false, false, false, false]);
    // Without a table of its own a length of 258 is 11000101, a distance of one 00000.
    let copy = [true, true, false, false, false, true, false, true].iter();
    let copy = copy.chain(&[false; 5]);
    bits.extend(copy.cycle().take(13 * 1_000_000));
    bits.extend([false; 7]);
    let bytes = bits.chunks(8).map(|eight| {
        let one = |(at, bit): (usize, &bool)| u8::from(*bit) << at;
        eight.iter().enumerate().map(one).sum::<u8>()
    });
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    gzip.extend(bytes);
    gzip.extend([0; 8]);
    gzip
}

#[test]
fn a_message_that_is_packed_is_refused_and_not_unpacked() {
    run(Limits::default(), async |mut client, _| {
        let bomb = bomb();
        assert!(bomb.len() < 2 << 20, "it fits a message: {}", bomb.len());
        let before = memory();
        let length = u32::try_from(bomb.len()).expect("a length").to_be_bytes();
        let message = [&[1], &length[..], &bomb].concat();
        for path in [CHECK, "/bancheck.v1.AdminService/CreateBan"] {
            let request = http::Request::post(format!("http://x{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("grpc-encoding", "gzip")
                .body(Body::new(Full::new(Bytes::from(message.clone()))))
                .expect("a request");
            let listener = if path == CHECK {
                &mut client.check_listener
            } else {
                &mut client.admin_listener
            };
            let answered = listener.ready().await.expect("a connection").call(request);
            let answered = answered.await.expect("an answer");
            let status = Status::from_header_map(answered.headers()).expect("a refusal");
            assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        }
        let more = memory().saturating_sub(before);
        println!("{more} bytes more of memory");
        assert!(more < 32 << 20, "{more}");
        check(&client).await.expect("an answer");
    });
}

/// Two bytes each, which would be two hundred in memory.
#[test]
fn a_batch_of_two_million_empty_parts_is_refused_and_not_read() {
    run(Limits::default(), async |mut client, _| {
        let before = memory();
        let items = [0x0a, 0].repeat(2_000_000);
        let identities = [0x2a, 0].repeat(2_000_000);
        // What has a length of 4 000 000 in the first field.
        let of_one_item = [&[0x0a, 0x80, 0x92, 0xf4, 0x01], &identities[..]].concat();
        for (message, most) in [(items, 1_000), (of_one_item, 32_000)] {
            let length = u32::try_from(message.len()).expect("a length");
            let message = [&[0], &length.to_be_bytes()[..], &message].concat();
            let request = http::Request::post(format!("http://x{BATCH}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Body::new(Full::new(Bytes::from(message))))
                .expect("a request");
            let listener = &mut client.check_listener;
            let answered = listener.ready().await.expect("a connection").call(request);
            let answered = answered.await.expect("an answer");
            let status = Status::from_header_map(answered.headers()).expect("a refusal");
            let words = format!(" 2000000 items; at most {most} are taken");
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().ends_with(&words), "{status}");
        }
        let more = memory().saturating_sub(before);
        println!("{more} bytes more of memory");
        assert!(more < 64 << 20, "{more}");
    });
}

#[test]
fn five_hundred_who_say_nothing_or_half_a_word_keep_nobody_waiting() {
    run(Limits::default(), async |client, addresses| {
        let before = memory();
        let attack = move || {
            let connect = |at: usize| {
                let mut rogue = Rogue::connect(addresses[at % 2]);
                assert!(rogue.is_let_in(), "the {at}th");
                let mut said = match at % 3 {
                    0 => Vec::new(),
                    _ => frame(HEADERS, END_HEADERS, 1, &header_list()),
                };
                match at % 3 {
                    1 => said.truncate(said.len() / 2),
                    2 => said.extend(frame(DATA, 0, 1, &[0, 0, 0, 0, 9, 1])),
                    _ => {}
                }
                rogue.0.write_all(&said).expect("half a word");
                rogue
            };
            (0..500).map(connect).collect::<Vec<_>>()
        };
        let (rogues, slowest) = beside(&client, attack).await;
        check(&client).await.expect("an answer beside them");
        let each = memory().saturating_sub(before) / rogues.len();
        println!("{each} bytes a connection; the slowest check {slowest:?}");
        assert!(each < 128 << 10, "{each}");
    });
}

#[test]
fn beyond_the_limit_a_connection_is_closed_at_once_and_the_other_listener_goes_on() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    run(limits, async |client, [address, desk]| {
        check(&client).await.expect("one connection");
        let connected = tokio::task::spawn_blocking(move || {
            let mut let_in: Vec<_> = (0..3).map(|_| Rogue::connect(address)).collect();
            assert!(let_in.iter_mut().all(Rogue::is_let_in));
            assert!(!Rogue::connect(address).is_let_in(), "a fifth");
            assert!(Rogue::connect(desk).is_let_in(), "the desk has its own");
            let_in.pop();
            while !Rogue::connect(address).is_let_in() {}
            let_in
        });
        let _held = connected.await.expect("as expected");
        check(&client).await.expect("who is in goes on");
    });
}

#[test]
fn whoever_floods_is_read_in_rounds_and_another_callers_check_is_answered_in_the_first_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, root) = guarded_process(folder.path());
    let flooding = runtime().block_on(async {
        let all = with_tenant(&server, &root).await;
        all.key("flood", vec![on_tenant(Scope::Check)]).await
    });
    let [flooding, root] = [&flooding, &root].map(|key| format!("Bearer {key}"));
    let (flooding, root) = (Some(flooding.as_str()), Some(root.as_str()));
    let address = server.addresses[0].parse().expect("an address");
    let mut connections = std::iter::repeat_with(|| {
        let mut connection = Rogue::connect(address);
        assert!(connection.is_let_in());
        connection
    });
    let mut flood: Vec<_> = connections.by_ref().take(8).collect();
    let mut other = connections.next().expect("a connection");
    // Who they are is known by what they have asked.
    for one in &mut flood {
        one.ask(1..2, flooding);
        one.decision();
    }
    other.ask(1..2, root);
    let before = other.decision();
    // All of it is there before any of it is read.
    server.freeze();
    for one in &mut flood {
        one.ask(3..515, flooding);
    }
    other.ask(3..4, root);
    server.thaw();
    let first = other.decision() - before;
    println!("of 8 x 256 in the flood, {first} were decided before it");
    assert!(first < 100, "{first}");
    for one in &mut flood {
        for _ in 0..256 {
            one.decision();
        }
    }
}

#[test]
fn a_connection_outlives_fifteen_hundred_refusals_that_overtook_their_questions() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, mut connection, good) = connected_to_guarded(folder.path());
    let (list, question) = (header_list(), question());
    let after = 3_001;
    for stream in (1..after).step_by(2) {
        let head = frame(HEADERS, END_HEADERS, stream, &list);
        connection.0.write_all(&head).expect("room in the socket");
        // The refusal, which needs no more than the headers.
        while connection.read_frame().expect("no good-bye").0 != HEADERS {}
        let body = frame(DATA, END_STREAM, stream, &question);
        connection.0.write_all(&body).expect("room in the socket");
    }
    connection.ask(after..after + 1, Some(&good));
    connection.decision();
}

#[test]
fn bodies_that_never_come_are_given_up_and_leave_room_on_their_connection_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, mut connection, good) = connected_to_guarded(folder.path());
    let after = 511;
    let heads = (1..after).step_by(2);
    let heads = heads.flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &header_list()));
    let heads: Vec<_> = heads.collect();
    connection.0.write_all(&heads).expect("room in the socket");
    connection.ask(after..after + 1, Some(&good));
    // All that is sent until the last stream is given up, the one answer among it.
    let (mut answers, mut given_up) = (0, 0);
    while given_up < 255 {
        match connection.read_frame().expect("no good-bye").0 {
            DATA => answers += 1,
            RST_STREAM => given_up += 1,
            _ => {}
        }
    }
    assert_eq!(answers, 1);
}
