//! A tenant's own settings.

use chrono_tz::Tz;

use super::channel::Channel;

/// How many leading bits of an IPv6 address name one customer, unless a tenant has it otherwise.
pub const IPV6_PREFIX: u8 = 64;

/// What an interaction meets while the tenant's bans cannot be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureMode {
    /// Everybody is let through.
    #[default]
    Open = 1,
    /// Nobody is let through.
    Closed = 2,
}

/// Where a ban made in a queue is recorded (D21–D25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordTo {
    /// Banning is off.
    None = 1,
    /// For the whole tenant.
    Global = 2,
    /// In the queue's list.
    BanList = 3,
}

/// Settings of one tenant, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// A name for people.
    pub display_name: String,
    /// Whether operators have the ban button at all (M18).
    pub operator_banning_enabled: bool,
    /// Two capital letters: where a number without a country code is from; empty = nowhere.
    pub default_region: String,
    /// The zone in which days and months are reckoned.
    pub time_zone: Tz,
    /// What happens while bans cannot be known.
    pub failure_mode: FailureMode,
    /// Where bans are recorded by default, a channel at a time.
    pub default_record_to: Vec<(Channel, RecordTo)>,
    /// Days an ended ban is kept; 0 = for ever.
    pub ended_ban_retention_days: u32,
    /// Whether e-mail tags and provider dots are folded.
    pub email_fold: bool,
    /// How many leading bits of an IPv6 address name one customer; [`IPV6_PREFIX`] if nobody said.
    pub ipv6_prefix: u8,
    /// Counts the edits; the etag is made of it.
    pub version: i64,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            display_name: String::new(),
            operator_banning_enabled: true,
            default_region: String::new(),
            time_zone: Tz::UTC,
            failure_mode: FailureMode::Open,
            default_record_to: Self::record_to_defaults(),
            ended_ban_retention_days: 0,
            email_fold: true,
            ipv6_prefix: IPV6_PREFIX,
            version: 1,
        }
    }
}

impl TenantSettings {
    /// Web chat records nowhere, every other channel tenant-wide (D22, D24).
    pub fn record_to_defaults() -> Vec<(Channel, RecordTo)> {
        Channel::ALL
            .into_iter()
            .map(|channel| match channel {
                Channel::WebChat => (channel, RecordTo::None),
                _ => (channel, RecordTo::Global),
            })
            .collect()
    }

    /// Where a ban made on a channel is recorded unless its queue says otherwise.
    pub fn record_to(&self, channel: Channel) -> RecordTo {
        let known = self.default_record_to.iter();
        known
            .chain(&Self::record_to_defaults())
            .find(|(on, _)| *on == channel)
            .map_or(RecordTo::None, |(_, to)| *to)
    }
}

impl FailureMode {
    /// The mode with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Open, Self::Closed]
            .into_iter()
            .find(|mode| *mode as i32 == number)
    }
}

impl RecordTo {
    /// The place with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::None, Self::Global, Self::BanList]
            .into_iter()
            .find(|to| *to as i32 == number)
    }
}
