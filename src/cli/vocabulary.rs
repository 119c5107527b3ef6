//! The contract's enums in words that people type: `CHANNEL_WEB_CHAT` is `web-chat` here.
//!
//! The contract's own names are understood too, with or without their prefix, in either case.

use clap::{ValueEnum, builder::PossibleValue};

use crate::api::v1::{
    Channel, CheckStage, Decision, DecisionBasis, IdentityKind, MatchKind, OnDuplicate, Treatment,
    ban::{Enforcement, Origin, State},
    ban_change::Kind as ChangeKind,
    ban_list::WebchatBanType,
    queue_policy::{RecordTo, WithheldPolicy},
    tenant_settings::FailureMode,
};

/// A value of an enum of the contract that there is a word for.
pub(crate) trait Spoken: Copy + TryFrom<i32> {
    /// The word; `None` for a value that is not set.
    fn word(self) -> Option<&'static str>;

    /// The word for a number from the wire: empty where it is not set, and the number itself where
    /// a newer server knows a value that we do not.
    fn told(number: i32) -> String {
        match (Self::try_from(number), number) {
            (_, 0) => String::new(),
            (Ok(value), _) => value.word().unwrap_or_default().to_owned(),
            (Err(_), _) => format!("#{number}"),
        }
    }

    /// The words for several numbers.
    fn told_all(numbers: &[i32], separator: &str) -> String {
        numbers
            .iter()
            .map(|number| Self::told(*number))
            .collect::<Vec<_>>()
            .join(separator)
    }
}

/// Gives each enum its words; what follows `told` appears in answers only.
macro_rules! words {
    ($($name:ident {
        $($variant:ident = $word:literal),* $(,)?
        $(; told $($answer:ident = $answer_word:literal),+)?
    })+) => {$(
        impl Spoken for $name {
            fn word(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($word),)*
                    $($(Self::$answer => Some($answer_word),)+)?
                    Self::Unspecified => None,
                }
            }
        }

        impl ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),*]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                let (name, unset) = (self.as_str_name(), Self::Unspecified.as_str_name());
                let prefix = unset.trim_end_matches("UNSPECIFIED");
                let short = name.strip_prefix(prefix).unwrap_or(name);
                Some(PossibleValue::new(self.word()?).aliases([short, name]))
            }
        }
    )+};
}

words! {
    Channel {
        WebChat = "web-chat", Email = "email", Call = "call", Sms = "sms", Whatsapp = "whatsapp",
        AppleMessages = "apple-messages", Messenger = "messenger", Vk = "vk",
    }
    IdentityKind {
        VisitorToken = "visitor-token", IpAddress = "ip-address", EmailAddress = "email-address",
        PhoneNumber = "phone-number", SipUri = "sip-uri", WhatsappUserId = "whatsapp-user-id",
        AppleOpaqueId = "apple-opaque-id", MessengerPsid = "messenger-psid",
        VkPeerId = "vk-peer-id", Withheld = "withheld",
    }
    CheckStage { Connect = "connect", QueueEntry = "queue-entry", Outbound = "outbound" }
    MatchKind {
        Exact = "exact", Prefix = "prefix", Cidr = "cidr", Domain = "domain"; told Alias = "alias"
    }
    Treatment {
        EndInteraction = "end-interaction", DisableWidget = "disable-widget",
        DropSilently = "drop-silently", PlayAnnouncement = "play-announcement",
    }
    State {
        Scheduled = "scheduled", Active = "active", Expired = "expired",
        Deactivated = "deactivated",
    }
    Origin {
        LiveInteraction = "live-interaction", PastSession = "past-session",
        AdminEntry = "admin-entry", Import = "import", ContactCascade = "contact-cascade",
    }
    RecordTo { None = "none", Global = "global", BanList = "ban-list" }
    WithheldPolicy { Allow = "allow", Deny = "deny" }
    WebchatBanType { LocalStorage = "local-storage", Ip = "ip" }
    FailureMode { Open = "open", Closed = "closed" }
    Enforcement { Enforced = "enforced", Shadow = "shadow" }
    OnDuplicate { Skip = "skip", Update = "update", Fail = "fail" }
    ChangeKind {
        ; told Created = "created", Updated = "updated", Deactivated = "deactivated",
        Started = "started", Expired = "expired", Erased = "erased"
    }
    Decision { ; told Allow = "allow", Deny = "deny" }
    DecisionBasis { ; told Fresh = "fresh", Stale = "stale", FailureMode = "failure-mode" }
}

/// On or off, as a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// The feature is used
    On,
    /// The feature is not used
    Off,
}

impl Switch {
    /// Whether it is on.
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// The word for a flag of the contract that is always told.
pub(crate) fn on_or_off(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_understood_in_the_words_of_people_and_of_the_contract() {
        for word in [
            "web-chat",
            "WEB-CHAT",
            "web_chat",
            "WEB_CHAT",
            "CHANNEL_WEB_CHAT",
        ] {
            assert_eq!(
                <Channel as ValueEnum>::from_str(word, true),
                Ok(Channel::WebChat),
                "{word}"
            );
        }
        assert!(<Channel as ValueEnum>::from_str("unspecified", true).is_err());
    }

    #[test]
    fn a_value_from_a_newer_server_is_told_by_its_number() {
        assert_eq!(Channel::told(3), "call");
        assert_eq!(Channel::told(0), "");
        assert_eq!(Channel::told(99), "#99");
        assert_eq!(Channel::told_all(&[3, 4], ";"), "call;sms");
    }

    #[test]
    fn alias_is_an_answer_and_never_a_question() {
        assert_eq!(MatchKind::Alias.word(), Some("alias"));
        assert!(<MatchKind as ValueEnum>::from_str("alias", true).is_err());
    }
}
