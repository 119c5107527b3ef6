//! A tenant with made-up bans, built in memory, and questions about them.

use bancheck::domain::{
    ban::Enforcement,
    channel::{Channel, Channels},
    decide::{Query, Stage},
    identity::{Given, Identity, IdentityKind, read, read_network},
    ids::{BanId, TenantId},
    keys::{MasterKey, TenantKey},
    policy::FailureMode,
    record::{BanRecord, TenantRecord},
    revision::Revision,
    view::{Loading, TenantView},
};

/// Ranges beside the numbered bans: a few, of three widths, as a tenant has them.
const RANGES: u8 = 96;
/// Bans filed at a time, as a load does it.
const PAGE: usize = 4_096;

/// A Czech mobile number; those from nought up are banned, `count` and beyond are not.
pub(crate) fn number(at: u32) -> String {
    format!("+420{}", 600_000_000 + at)
}

/// A number, read as a check reads it.
pub(crate) fn caller(number: &str) -> Identity {
    identity(IdentityKind::PhoneNumber, number)
}

/// Anybody, read as a check reads them.
pub(crate) fn identity(kind: IdentityKind, value: &str) -> Identity {
    read(&given(kind, value), Channels::default(), None).expect("a well-formed identity")
}

/// An identity as a connector hands it over.
pub(crate) const fn given(kind: IdentityKind, value: &str) -> Given<'_> {
    Given {
        kind: Some(kind),
        value,
        issuer: "",
        region_hint: "",
    }
}

/// The question whether this one may enter a queue.
pub(crate) fn question(view: &TenantView, channel: Channel, identity: &Identity) -> Query<'static> {
    let mut query = Query::new(channel, Stage::QueueEntry, Some("support"));
    query.ask_for(view, 0, identity);
    query
}

/// The view of a tenant where so many numbers are banned for good, and a few ranges of addresses.
pub(crate) fn view(count: u32) -> TenantView {
    let mut view = without_ranges(count);
    let key = view.key().clone();
    let ranges = (0..RANGES).map(|at| {
        let network = format!("100.{at}.0.0/{}", [16, 20, 24][usize::from(at % 3)]);
        let network = read_network(
            &given(IdentityKind::IpAddress, &network),
            Channels::default(),
        );
        let network = network.expect("a well-formed network");
        ban(&key, u32::MAX - u32::from(at), &network)
    });
    view.file(&ranges.collect::<Vec<_>>());
    view
}

/// The view of a tenant where so many numbers are banned for good, and nothing else.
pub(crate) fn without_ranges(count: u32) -> TenantView {
    let tenant = TenantId::parse("default").expect("a tenant id");
    let key = MasterKey::new(&[7; 32]).tenant(&tenant);
    let settings = TenantRecord {
        failure_mode: FailureMode::Open,
        default_region: String::new(),
        email_fold: true,
        deleted: false,
    };
    let view = TenantView::empty(Revision(1), settings, key.clone());
    let mut loading = Loading::of(view);
    let mut page = Vec::with_capacity(PAGE);
    for at in 0..count {
        page.push(ban(&key, at, &caller(&number(at))));
        if page.len() == PAGE || at + 1 == count {
            loading.add(&page);
            page.clear();
        }
    }
    loading.view()
}

/// A ban on this one, everywhere and for good.
pub(crate) fn ban(key: &TenantKey, at: u32, identity: &Identity) -> BanRecord {
    let keys = key.keys(identity, 64);
    BanRecord {
        ban: BanId::from_bytes(u128::from(at).to_be_bytes()),
        keys: keys.into_iter().map(|(key, _)| key).collect(),
        start: None,
        expire: None,
        generation: 0,
        channels: Channels::of(&[
            Channel::Call,
            Channel::Sms,
            Channel::WebChat,
            Channel::Email,
        ]),
        enforcement: Enforcement::Enforced,
        ended: false,
    }
}
