//! Writes of every kind, by the front door, as chance would have them.

use bancheck::api::v1::{
    Ban, BanList, Channel, CreateBanRequest, DeactivateBanRequest, Identity, MatchKind,
    QueuePolicy, TenantSettings, Treatment, UpdateBanListRequest, UpdateQueuePolicyRequest,
    UpdateTenantSettingsRequest, ban::Enforcement, create_ban_request::Expiry,
    queue_policy::WithheldPolicy, tenant_settings::FailureMode,
};
use prost_types::{FieldMask, Timestamp};

use crate::{
    requests::{add, address, after, change, list, phone, visitor},
    server::{Client, TENANT},
};

/// Marsaglia's xorshift: the same surprises on every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.below(all.len().max(1) as u64)).expect("a place");
        all.get(at)
    }
}

/// Somebody who writes, and remembers what has been written.
pub(crate) struct Writer {
    pub(crate) dice: Dice,
    bans: Vec<Ban>,
    lists: Vec<BanList>,
    now: Timestamp,
}

const QUEUES: [&str; 4] = ["sales", "support", "billing", "night"];

impl Writer {
    pub(crate) async fn new(seed: u64, client: &Client) -> Self {
        Self {
            dice: Dice(seed | 1),
            bans: Vec::new(),
            lists: Vec::new(),
            now: client.clock().await,
        }
    }

    /// Writes one thing.
    pub(crate) async fn write(&mut self, client: &Client) {
        match self.dice.below(21) {
            0..9 => self.ban(client).await,
            9..12 => self.change_ban(client).await,
            12..15 => self.deactivate(client).await,
            15 => self.make_list(client).await,
            16 | 17 => self.change_list(client).await,
            18 => self.relate(client).await,
            19 => self.set_queue(client).await,
            _ => self.settle(client).await,
        }
    }

    fn instant(&mut self) -> Timestamp {
        let hours = i64::try_from(self.dice.below(1_000)).expect("hours");
        after(self.now, 3_600 * (hours + 1))
    }

    /// Whom a ban is on, so few that many are on the same.
    fn targets(&mut self) -> (Vec<Identity>, MatchKind) {
        let who = self.dice.below(40);
        match self.dice.below(4) {
            0 => (
                vec![address(&format!("203.0.{}.0/24", who % 8))],
                MatchKind::Cidr,
            ),
            1 => (
                vec![visitor(&format!("visitor-token-{who:06}"))],
                MatchKind::Exact,
            ),
            2 => {
                let both = [0, 1].map(|at| address(&format!("2001:db8:0:{who}::{at}")));
                (both.to_vec(), MatchKind::Exact)
            }
            _ => {
                let count = 1 + self.dice.below(3);
                let numbers = (0..count).map(|at| phone(&format!("+420601{:06}", who + at)));
                (numbers.collect(), MatchKind::Exact)
            }
        }
    }

    async fn ban(&mut self, client: &Client) {
        let (targets, match_kind) = self.targets();
        let list_id = if self.dice.coin() {
            self.dice
                .one_of(&self.lists)
                .map(|list| list.list_id.clone())
        } else {
            None
        };
        let expiry = self
            .dice
            .coin()
            .then(|| Expiry::ExpireTime(after(self.instant(), 3_600_000)));
        let start_time = self.dice.coin().then(|| self.instant());
        let enforcement = if self.dice.below(4) == 0 {
            Enforcement::Shadow
        } else {
            Enforcement::Enforced
        };
        let request = CreateBanRequest {
            targets: targets.clone(),
            match_kind: match_kind as i32,
            list_id: list_id.unwrap_or_default(),
            expiry,
            start_time,
            enforcement: enforcement as i32,
            override_warnings: true,
            ..add(targets[0].clone())
        };
        // One just like it may stand: then nothing is written, which is a write as well.
        if let Ok(made) = client.admin().create_ban(request).await {
            self.bans.extend(made.into_inner().ban);
        }
    }

    async fn change_ban(&mut self, client: &Client) {
        let end = self.instant();
        let which = self.dice.below(4);
        let Some(at) = self.one_ban() else { return };
        let mut ban = self.bans[at].clone();
        let field = match which {
            0 => {
                ban.expire_time = Some(after(end, 3_600_000));
                "expire_time"
            }
            1 => {
                ban.enforcement = match ban.enforcement() {
                    Enforcement::Shadow => Enforcement::Enforced,
                    _ => Enforcement::Shadow,
                } as i32;
                "enforcement"
            }
            2 => {
                let one = ban.channels.first().copied();
                ban.channels = vec![one.unwrap_or(Channel::Call as i32)];
                "channels"
            }
            _ => {
                ban.reason.push('!');
                "reason"
            }
        };
        if let Ok(changed) = client.admin().update_ban(change(ban, field)).await {
            self.bans[at] = changed.into_inner().ban.expect("a ban");
        }
    }

    async fn deactivate(&mut self, client: &Client) {
        let Some(at) = self.one_ban() else { return };
        let request = DeactivateBanRequest {
            tenant: TENANT.to_owned(),
            ban_id: self.bans.swap_remove(at).ban_id,
            reason: "lifted".to_owned(),
            ..Default::default()
        };
        let lifted = client.admin().deactivate_ban(request).await;
        lifted.expect("a lifted ban");
    }

    async fn set_queue(&mut self, client: &Client) {
        let queue = self.dice.one_of(&QUEUES).expect("a queue");
        let policy = QueuePolicy {
            queue: (*queue).to_owned(),
            channel: if self.dice.coin() {
                Channel::Call
            } else {
                Channel::WebChat
            } as i32,
            withheld_policy: if self.dice.coin() {
                WithheldPolicy::Deny
            } else {
                WithheldPolicy::Allow
            } as i32,
            ..Default::default()
        };
        let request = UpdateQueuePolicyRequest {
            tenant: TENANT.to_owned(),
            queue_policy: Some(policy),
            ..Default::default()
        };
        let set = client.config().update_queue_policy(request).await;
        set.expect("a policy");
    }

    fn one_ban(&mut self) -> Option<usize> {
        let bans = self.bans.len() as u64;
        (bans > 0).then(|| usize::try_from(self.dice.below(bans)).expect("a place"))
    }

    async fn make_list(&mut self, client: &Client) {
        if self.lists.len() < 5 {
            let made = client
                .make_list(list(&format!("list-{}", self.lists.len())))
                .await;
            self.lists.push(made);
        }
    }

    async fn change_list(&mut self, client: &Client) {
        let outbound = self.dice.coin();
        let treatment = if self.dice.coin() {
            Treatment::DropSilently
        } else {
            Treatment::EndInteraction
        };
        let Some(list) = self.dice.one_of(&self.lists).cloned() else {
            return;
        };
        let list_id = list.list_id.clone();
        let edited = BanList {
            treatment: treatment as i32,
            enforce_outbound: outbound,
            etag: String::new(),
            ..list
        };
        let request = UpdateBanListRequest {
            tenant: TENANT.to_owned(),
            ban_list: Some(edited),
            update_mask: Some(FieldMask {
                paths: vec!["treatment".to_owned(), "enforce_outbound".to_owned()],
            }),
            ..Default::default()
        };
        let changed = client
            .config()
            .update_ban_list(request)
            .await
            .expect("a list");
        let changed = changed.into_inner().ban_list.expect("the list");
        let known = self.lists.iter_mut().find(|list| list.list_id == list_id);
        *known.expect("a list that is known") = changed;
    }

    async fn relate(&mut self, client: &Client) {
        let queues: Vec<_> = QUEUES.into_iter().filter(|_| self.dice.coin()).collect();
        let Some(list) = self.dice.one_of(&self.lists) else {
            return;
        };
        client.relate(&list.list_id, &queues).await;
    }

    async fn settle(&mut self, client: &Client) {
        let (mode, region) = if self.dice.coin() {
            (FailureMode::Closed, "CZ")
        } else {
            (FailureMode::Open, "SK")
        };
        let request = UpdateTenantSettingsRequest {
            tenant_settings: Some(TenantSettings {
                tenant: TENANT.to_owned(),
                failure_mode: Some(mode as i32),
                default_region: region.to_owned(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["failure_mode".to_owned(), "default_region".to_owned()],
            }),
            ..Default::default()
        };
        let settled = client.config().update_tenant_settings(request).await;
        settled.expect("settings");
    }
}
