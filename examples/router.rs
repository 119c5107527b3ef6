//! A router: asks before an interaction enters a queue, and bans from one.
//!
//! With a server running: `cargo run --example router`. Each line of standard input is
//! `route QUEUE CHANNEL IDENTITY…` or `ban QUEUE CHANNEL IDENTITY REASON…`.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, BufRead, Write},
    time::{Duration, SystemTime},
};

use bancheck::api::v1::{
    BanInteractionRequest, Channel, CheckInteractionRequest, CheckInteractionResponse, CheckStage,
    Consistency, ConsistencyToken, Decision, Identity, admin_service_client::AdminServiceClient,
    check_service_client::CheckServiceClient, consistency::Requirement,
};
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel as Connection, ClientTlsConfig, Endpoint},
};

/// The most answers kept to be used again.
const MOST_ANSWERS: usize = 10_000;

/// Whom to ask, and what to do without an answer.
pub(crate) struct Setting {
    pub(crate) endpoint: String,
    pub(crate) admin_endpoint: String,
    pub(crate) tenant: String,
    pub(crate) token: Option<String>,
    /// File of the roots that vouch for the server, where it speaks TLS.
    pub(crate) ca: Option<String>,
    /// Longer than this nobody lets a customer wait; then the failure mode answers.
    pub(crate) deadline: Duration,
    /// The tenant's failure mode, as its settings have it: whether to turn away.
    pub(crate) closed: bool,
}

impl Setting {
    #[expect(
        clippy::disallowed_methods,
        reason = "an example has no settings but these"
    )]
    fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok();
        let or = |name: &str, default: &str| set(name).unwrap_or_else(|| default.to_owned());
        Self {
            endpoint: or("BANCHECK_ENDPOINT", "http://127.0.0.1:50051"),
            admin_endpoint: or("BANCHECK_ADMIN_ENDPOINT", "http://127.0.0.1:50052"),
            tenant: or("BANCHECK_TENANT", "default"),
            token: set("BANCHECK_TOKEN"),
            ca: set("BANCHECK_CA"),
            deadline: Duration::from_millis(or("DEADLINE_MS", "250").parse().unwrap_or(250)),
            closed: or("FAILURE_MODE", "OPEN").eq_ignore_ascii_case("CLOSED"),
        }
    }
}

/// An interaction at the door of a queue.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Arrival {
    queue: String,
    channel: Channel,
    identities: Vec<String>,
}

struct Router {
    setting: Setting,
    checks: CheckServiceClient<Connection>,
    desk: AdminServiceClient<Connection>,
    /// The newest of our own writes: checks see it, whichever pod answers them.
    written: String,
    /// Answers that may be used again, each until its `reuse_until`.
    answers: HashMap<Arrival, (CheckInteractionResponse, SystemTime)>,
}

impl Router {
    fn new(setting: Setting) -> Result<Self, Box<dyn Error>> {
        let connect = |url: &str| -> Result<Connection, Box<dyn Error>> {
            let mut endpoint = Endpoint::from_shared(url.to_owned())?;
            if let (Some(ca), "https") = (&setting.ca, endpoint.uri().scheme_str().unwrap_or("")) {
                let roots = Certificate::from_pem(std::fs::read(ca)?);
                endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(roots))?;
            }
            // Connects when it is first asked, and again whenever the connection is lost.
            Ok(endpoint.connect_timeout(setting.deadline).connect_lazy())
        };
        Ok(Self {
            checks: CheckServiceClient::new(connect(&setting.endpoint)?),
            desk: AdminServiceClient::new(connect(&setting.admin_endpoint)?),
            setting,
            written: String::new(),
            answers: HashMap::new(),
        })
    }

    fn request<T>(&self, message: T, deadline: Duration) -> Result<Request<T>, Box<dyn Error>> {
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        if let Some(token) = &self.setting.token {
            let credential = format!("Bearer {token}").parse()?;
            request.metadata_mut().insert("authorization", credential);
        }
        Ok(request)
    }

    /// Whether an interaction may enter, what to do if not, and what that rests on.
    async fn route(&mut self, arrival: Arrival) -> Result<String, Box<dyn Error>> {
        if let Some((answer, until)) = self.answers.get(&arrival)
            && now() < *until
        {
            return Ok(told(answer, "reused"));
        }
        let written = (!self.written.is_empty()).then(|| Consistency {
            requirement: Some(Requirement::AtLeastAsFresh(ConsistencyToken {
                token: self.written.clone(),
            })),
        });
        let question = CheckInteractionRequest {
            tenant: self.setting.tenant.clone(),
            channel: arrival.channel.into(),
            stage: CheckStage::QueueEntry.into(),
            queue: arrival.queue.clone(),
            identities: arrival.identities.iter().map(|one| identity(one)).collect(),
            consistency: written,
            ..CheckInteractionRequest::default()
        };
        let deadline = self.setting.deadline;
        let request = self.request(question, deadline)?;
        let asked = tokio::time::timeout(deadline, self.checks.check_interaction(request));
        let late = |_| Err(Status::deadline_exceeded("no answer in time"));
        match asked.await.unwrap_or_else(late) {
            Ok(answer) => {
                let answer = answer.into_inner();
                let basis = answer.basis().as_str_name();
                let told = told(&answer, basis.trim_start_matches("DECISION_BASIS_"));
                self.keep(arrival, answer);
                Ok(told)
            }
            Err(status) => {
                if is_a_mistake(status.code()) {
                    eprintln!("the check was refused: {}", status.message());
                }
                let word = if self.setting.closed { "DENY" } else { "ALLOW" };
                Ok(format!("{word} no answer ({:?})", status.code()))
            }
        }
    }

    fn keep(&mut self, arrival: Arrival, answer: CheckInteractionResponse) {
        let Some(until) = answer.reuse_until.and_then(|until| until.try_into().ok()) else {
            return;
        };
        if self.answers.len() >= MOST_ANSWERS {
            let now = now();
            self.answers.retain(|_, (_, until)| now < *until);
        }
        if self.answers.len() < MOST_ANSWERS {
            self.answers.insert(arrival, (answer, until));
        }
    }

    /// The operator's button: the queue's settings decide where the ban goes and how long it lasts.
    async fn ban(&mut self, arrival: Arrival, reason: String) -> Result<String, Box<dyn Error>> {
        let order = BanInteractionRequest {
            tenant: self.setting.tenant.clone(),
            queue: arrival.queue,
            channel: arrival.channel.into(),
            interaction_id: "example".to_owned(),
            live: true,
            identities: arrival.identities.iter().map(|one| identity(one)).collect(),
            reason,
            ..BanInteractionRequest::default()
        };
        let request = self.request(order, Duration::from_secs(10))?;
        let made = self.desk.ban_interaction(request).await?.into_inner();
        // Tokens compare as they are: the greater is the newer.
        let token = made.written_at.map(|written| written.token);
        self.written = self.written.clone().max(token.unwrap_or_default());
        self.answers.clear();
        let first = made.bans.first();
        let id = first.map(|ban| ban.ban_id.clone()).unwrap_or_default();
        Ok(format!("BANNED {id}"))
    }
}

/// What no other answer can mend: something about this router is wrong, and somebody must know.
fn is_a_mistake(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
    )
}

fn identity(value: &str) -> Identity {
    Identity {
        value: value.to_owned(),
        ..Identity::default()
    }
}

fn told(answer: &CheckInteractionResponse, basis: &str) -> String {
    if answer.decision() != Decision::Deny {
        return format!("ALLOW {basis}");
    }
    let ban = answer.r#match.as_ref().map_or("", |ban| &ban.ban_id);
    format!("DENY {basis} {} {ban}", answer.treatment().as_str_name())
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example has no clock but this"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Does what each line says, and says on a line what came of it.
pub(crate) fn run(
    setting: Setting,
    lines: impl BufRead,
    out: impl Write,
) -> Result<(), Box<dyn Error>> {
    // The connections have a thread of their own: this one waits for lines.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(follow(setting, lines, out))
}

async fn follow(
    setting: Setting,
    lines: impl BufRead,
    mut out: impl Write,
) -> Result<(), Box<dyn Error>> {
    let mut router = Router::new(setting)?;
    for line in lines.lines() {
        let line = line?;
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let mut word = || words.next().ok_or("route|ban QUEUE CHANNEL IDENTITY…");
        let (what, queue, channel) = (word()?, word()?, word()?);
        let channel = format!("CHANNEL_{}", channel.to_uppercase());
        let mut arrival = Arrival {
            queue,
            channel: Channel::from_str_name(&channel).ok_or("there is no such channel")?,
            identities: vec![word()?],
        };
        let said = if what == "ban" {
            let reason: Vec<_> = words.collect();
            router.ban(arrival, reason.join(" ")).await
        } else {
            arrival.identities.extend(words);
            router.route(arrival).await
        };
        writeln!(
            out,
            "{}",
            said.unwrap_or_else(|error| format!("ERROR {error}"))
        )?;
        out.flush()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    run(
        Setting::from_environment(),
        io::stdin().lock(),
        io::stdout(),
    )
}
