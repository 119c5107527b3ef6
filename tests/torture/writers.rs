//! Those who write: bans, lifted and changed, and the queues of lists; tried again with the same
//! request id until somebody knows what became of it. Some hang up midway.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bancheck::{
    api::v1::{
        self, Ban, CreateBanRequest, DeactivateBanRequest, SetBanListQueuesRequest,
        UpdateBanRequest, admin_service_client::AdminServiceClient, ban::Enforcement,
        config_service_client::ConfigServiceClient, create_ban_request::Expiry,
    },
    domain::ids::BanId,
};
use prost_types::{FieldMask, Timestamp};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, transport::Channel};

use crate::{
    cast::{self, Dice, LISTS, QUEUES, Reader, boot, to_wall},
    load::{note, trouble},
    record::{Deed, End, Trouble, Write},
    world::World,
};

/// How long one try is waited for.
const ONE_TRY: Duration = Duration::from_secs(8);
/// How long a write is tried at all.
const ALL_TRIES: Duration = Duration::from_secs(25);
/// The most bans that are remembered as standing.
const STANDING: usize = 400;

/// A request of any kind.
#[derive(Clone, Debug)]
enum Request {
    Ban(CreateBanRequest),
    Lift(DeactivateBanRequest),
    Change(Box<UpdateBanRequest>),
    Queues(SetBanListQueuesRequest),
}

/// What an acknowledgement tells: the ban, if it is about one, and the token.
type Said = (Option<String>, Option<v1::ConsistencyToken>);

/// One who writes.
pub(crate) struct Writer {
    world: Arc<World>,
    number: u64,
    count: u64,
    dice: Dice,
    reader: Reader,
    writes: Vec<Write>,
}

/// An instant so far from now, as the wire has it.
fn soon(micros: i64) -> Timestamp {
    let at = boot() + to_wall() + micros;
    Timestamp {
        seconds: at.div_euclid(1_000_000),
        nanos: i32::try_from(at.rem_euclid(1_000_000) * 1_000).expect("nanoseconds"),
    }
}

impl Writer {
    /// One of several.
    pub(crate) fn new(world: Arc<World>, number: u64) -> Self {
        let dice = Dice::new(world.plan.seed, 500 + number);
        Self {
            world,
            number,
            count: 0,
            dice,
            reader: Reader::new(),
            writes: Vec::new(),
        }
    }

    /// Writes until nobody is to write any more, no faster than this.
    pub(crate) async fn write_on(mut self, pace: Duration) -> Vec<Write> {
        // Not all at once.
        let mut next = Instant::now() + pace * u32::try_from(self.dice.below(10)).expect("few");
        sleep_until(next).await;
        while self.world.writing.load(Ordering::SeqCst) {
            self.count += 1;
            let number = self.number * 1_000_000 + self.count;
            let (tenant, deed, request) = self.any_request(number);
            self.carry_out(number, tenant, deed, request).await;
            next = (next + pace).max(Instant::now());
            // Time itself: this is how fast one writes.
            sleep_until(next).await;
        }
        self.writes
    }

    fn any_request(&mut self, number: u64) -> (u8, Deed, Request) {
        let request_id = format!("w{number}");
        match self.dice.below(100) {
            0..3 => self.queues(request_id),
            3..35 => {
                let Some((tenant, ban)) = self.take_standing() else {
                    return self.ban(number, request_id);
                };
                let request = DeactivateBanRequest {
                    tenant: cast::tenant(tenant),
                    request_id,
                    ban_id: ban.to_string(),
                    reason: format!("w{number}"),
                    ..DeactivateBanRequest::default()
                };
                (tenant, Deed::Lift(ban), Request::Lift(request))
            }
            35..45 => {
                let Some((tenant, ban)) = self.take_standing() else {
                    return self.ban(number, request_id);
                };
                self.keep_standing(tenant, ban);
                (
                    tenant,
                    Deed::Change(ban),
                    self.change(tenant, ban, request_id),
                )
            }
            _ => self.ban(number, request_id),
        }
    }

    fn take_standing(&mut self) -> Option<(u8, BanId)> {
        let mut standing = self.world.standing.lock().expect("the bans that stand");
        if standing.is_empty() {
            return None;
        }
        let at = self.dice.place(standing.len());
        Some(standing.swap_remove(at))
    }

    fn keep_standing(&self, tenant: u8, ban: BanId) {
        let mut standing = self.world.standing.lock().expect("the bans that stand");
        if standing.len() < STANDING {
            standing.push((tenant, ban));
        }
    }

    fn queues(&mut self, request_id: String) -> (u8, Deed, Request) {
        let tenant = self.dice.tenant() & !1;
        let list = u8::try_from(self.dice.below(u64::from(LISTS))).expect("a list");
        let queues = (1..=QUEUES).filter(|_| self.dice.chance(50));
        let request = SetBanListQueuesRequest {
            tenant: cast::tenant(tenant),
            request_id,
            list_id: cast::list(list),
            queues: queues.map(cast::queue).collect(),
            ..SetBanListQueuesRequest::default()
        };
        (tenant, Deed::Queues(list), Request::Queues(request))
    }

    fn ban(&mut self, number: u64, request_id: String) -> (u8, Deed, Request) {
        let dice = &mut self.dice;
        let (tenant, caller) = (dice.tenant(), dice.caller());
        let mut callers = vec![caller];
        if dice.chance(10) {
            callers.push((caller + 1) % cast::CALLERS);
        }
        for caller in &callers {
            note(&self.world.lately, dice.below(64), tenant, *caller);
        }
        let mut channels = vec![v1::Channel::Call as i32];
        if dice.chance(30) {
            channels.push(v1::Channel::Sms as i32);
        }
        let in_list = cast::has_lists(tenant) && dice.chance(40);
        let list = u8::try_from(dice.below(u64::from(LISTS))).expect("a list");
        let start = dice.chance(8).then(|| dice.within(300_000, 3_000_000));
        let expiry = if dice.chance(45) {
            let from = start.unwrap_or_default();
            Expiry::ExpireTime(soon(from + dice.within(400_000, 6_000_000)))
        } else {
            Expiry::Permanent(true)
        };
        let request = CreateBanRequest {
            tenant: cast::tenant(tenant),
            request_id,
            list_id: if in_list {
                cast::list(list)
            } else {
                String::new()
            },
            channels,
            targets: callers
                .into_iter()
                .map(|caller| v1::Identity {
                    kind: v1::IdentityKind::PhoneNumber as i32,
                    value: cast::caller(caller),
                    ..v1::Identity::default()
                })
                .collect(),
            reason: "made in a test".to_owned(),
            reason_code: format!("w{number}"),
            expiry: Some(expiry),
            start_time: start.map(soon),
            enforcement: if dice.chance(8) {
                Enforcement::Shadow as i32
            } else {
                0
            },
            ..CreateBanRequest::default()
        };
        (tenant, Deed::Ban, Request::Ban(request))
    }

    fn change(&mut self, tenant: u8, ban: BanId, request_id: String) -> Request {
        let mut changed = Ban {
            ban_id: ban.to_string(),
            tenant: cast::tenant(tenant),
            ..Ban::default()
        };
        let (mut permanent, dice) = (false, &mut self.dice);
        let path = match dice.below(4) {
            0 => {
                permanent = true;
                "expire_time"
            }
            1 => {
                changed.expire_time = Some(soon(dice.within(200_000, 6_000_000)));
                "expire_time"
            }
            2 => {
                changed.channels = vec![v1::Channel::Sms as i32];
                "channels"
            }
            _ => {
                changed.enforcement = 1 + i32::from(dice.chance(50));
                "enforcement"
            }
        };
        Request::Change(Box::new(UpdateBanRequest {
            ban: Some(changed),
            request_id,
            permanent,
            update_mask: Some(FieldMask {
                paths: vec![path.to_owned()],
            }),
            ..UpdateBanRequest::default()
        }))
    }

    async fn carry_out(&mut self, number: u64, tenant: u8, deed: Deed, request: Request) {
        let begun = Instant::now();
        let mut write = Write {
            number,
            deed,
            pod: 0,
            tries: 0,
            sent: 0,
            received: 0,
            end: End::Unknown,
        };
        let hangs_up = self.dice.chance(4);
        while begun.elapsed() < ALL_TRIES {
            let seat = &self.world.seats[self.dice.place(self.world.seats.len())];
            write.pod = seat.number;
            let life = seat.life().borrow().clone();
            if let Some(life) = life {
                write.tries += 1;
                write.sent = boot();
                let patience = if hangs_up && write.tries == 1 {
                    Duration::from_micros(self.dice.below(6_000))
                } else {
                    ONE_TRY
                };
                let said = timeout(patience, send(life.admin, request.clone())).await;
                write.received = boot();
                match said {
                    Ok(Ok(said)) => {
                        write.end = self.acknowledged(tenant, deed, said);
                        break;
                    }
                    Ok(Err(status)) => {
                        if let Some(reason) = final_reason(&status) {
                            write.end = End::Refused(reason);
                            break;
                        }
                    }
                    // Half of those who hung up never come back.
                    Err(_) if hangs_up && self.dice.chance(50) => break,
                    Err(_) => {}
                }
            }
            let pause = Duration::from_millis(20 + self.dice.below(80));
            // Time itself: as a caller told to try again would.
            sleep_until(Instant::now() + pause).await;
        }
        self.writes.push(write);
    }

    fn acknowledged(&mut self, tenant: u8, deed: Deed, (ban, token): Said) -> End {
        let ban = ban.map(|ban| BanId::parse(&ban).expect("a ban's id"));
        if let (Deed::Ban, Some(ban)) = (deed, ban) {
            self.keep_standing(tenant, ban);
        }
        let token = self.reader.read(&token.expect("a token").token);
        *self.world.newest.lock().expect("the newest token") = Some(token);
        End::Acknowledged { ban, token }
    }
}

async fn send(admin: Channel, request: Request) -> Result<Said, Status> {
    let id = |ban: Option<Ban>| ban.map(|ban| ban.ban_id);
    let mut desk = AdminServiceClient::new(admin.clone());
    Ok(match request {
        Request::Ban(request) => {
            let said = desk.create_ban(request).await?.into_inner();
            (id(said.ban), said.written_at)
        }
        Request::Lift(request) => {
            let said = desk.deactivate_ban(request).await?.into_inner();
            (id(said.ban), said.written_at)
        }
        Request::Change(request) => {
            let said = desk.update_ban(*request).await?.into_inner();
            (id(said.ban), said.written_at)
        }
        Request::Queues(request) => {
            let mut config = ConfigServiceClient::new(admin);
            let said = config.set_ban_list_queues(request).await?.into_inner();
            (None, said.written_at)
        }
    })
}

/// The reason of a refusal that trying again does not help against.
pub(crate) fn final_reason(status: &Status) -> Option<String> {
    match trouble(status) {
        Trouble::Refused(reason) => {
            let passing = ["STORE_UNAVAILABLE", "NOT_READY", "COMMIT_OUTCOME_UNKNOWN"];
            (!passing.contains(&reason.as_str())).then_some(reason)
        }
        Trouble::Broken(_) | Trouble::Silent | Trouble::Odd(_) => None,
    }
}
