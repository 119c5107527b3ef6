//! The channels a customer can come through, and sets of them.

/// One channel of a contact centre; the numbers are those of the wire and of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// A chat widget on a web page.
    WebChat = 1,
    /// Electronic mail.
    Email = 2,
    /// A telephone call.
    Call = 3,
    /// A text message over the telephone network.
    Sms = 4,
    /// WhatsApp.
    Whatsapp = 5,
    /// Apple Messages for Business.
    AppleMessages = 6,
    /// Facebook Messenger.
    Messenger = 7,
    /// `VKontakte`.
    Vk = 8,
}

impl Channel {
    /// Every channel, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::WebChat,
        Self::Email,
        Self::Call,
        Self::Sms,
        Self::Whatsapp,
        Self::AppleMessages,
        Self::Messenger,
        Self::Vk,
    ];

    /// The channel with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|channel| *channel as i32 == number)
    }

    /// The name used on the wire, without its prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebChat => "WEB_CHAT",
            Self::Email => "EMAIL",
            Self::Call => "CALL",
            Self::Sms => "SMS",
            Self::Whatsapp => "WHATSAPP",
            Self::AppleMessages => "APPLE_MESSAGES",
            Self::Messenger => "MESSENGER",
            Self::Vk => "VK",
        }
    }
}

/// A set of channels, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Channels(u16);

impl Channels {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of these channels.
    pub const fn of(channels: &[Channel]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < channels.len() {
            bits |= 1 << channels[i] as u16;
            i += 1;
        }
        Self(bits)
    }

    /// The set stored as these bits; bits that name no channel are dropped.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits & Self::of(&Channel::ALL).0)
    }

    /// One bit a channel.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether the set holds no channel.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `channel` is in the set.
    pub const fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel as u16) != 0
    }

    /// The channels in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The channels in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The only channel of the set, where it holds exactly one.
    pub fn only(self) -> Option<Channel> {
        let mut all = self.iter();
        all.next().filter(|_| all.next().is_none())
    }

    /// The channels in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Channel> {
        Channel::ALL
            .into_iter()
            .filter(move |channel| self.contains(*channel))
    }
}

impl FromIterator<Channel> for Channels {
    fn from_iter<I: IntoIterator<Item = Channel>>(channels: I) -> Self {
        Self(
            channels
                .into_iter()
                .fold(0, |bits, channel| bits | 1 << channel as u16),
        )
    }
}
