//! Making a ban (M6, M7, D7, D22, D39).

use async_trait::async_trait;

use super::{
    Circumstances, Failure, Job,
    lists::no_list,
    overlaps,
    spared::Spared,
    targets::{self, TargetGiven},
    times::{self, End},
};
use crate::{
    domain::{
        ban::{Ban, BanId, Enforcement, MAX_REASON, MAX_REASON_CODE, Origin, Target},
        channel::Channels,
        clock::Timestamp,
        fields,
        identity::{CANONICALISER_VERSION, Identity, IdentityKind, MatchKind},
        ids::ListId,
        keys::{MatchKey, TenantKey},
        list::BanList,
        policy::{IPV6_PREFIX, TenantSettings},
        refusal::{Reason, Refusal},
    },
    store::{Added, Alike, Answer, Elsewhere, NewBan, Work, new_ban_id},
};

/// The administrator's Add.
#[derive(Clone, Debug)]
pub struct CreateBan {
    /// The list; `None` = the whole tenant.
    pub list_id: Option<ListId>,
    /// The channels; none = all that carry the targets' kinds.
    pub channels: Channels,
    /// On whom.
    pub targets: Vec<TargetGiven>,
    /// How targets are matched; `None` = exactly.
    pub match_kind: Option<MatchKind>,
    /// Why.
    pub reason: String,
    /// Why, as a code.
    pub reason_code: String,
    /// Until when.
    pub end: End,
    /// From when; `None` = at once.
    pub start: Option<Timestamp>,
    /// Whether it holds or only watches.
    pub enforcement: Enforcement,
    /// Whether what is merely unwise is done all the same.
    pub override_warnings: bool,
    /// How it comes about.
    pub origin: Origin,
}

#[async_trait]
impl Job for CreateBan {
    const RPC: &'static str = "CreateBan";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let Made { new, warnings, .. } = self.make(work, about).await?;
        work.note(&about.event(Some(new.ban.ban_id), "CREATED", &new.ban.reason))
            .await?;
        Ok(Answer {
            ban: Some(new.ban),
            warnings,
            ..Answer::default()
        })
    }
}

/// A ban made, nothing noted yet.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) new: NewBan,
    pub(super) list: Option<BanList>,
    pub(super) warnings: Vec<(u32, String)>,
    /// The bans in force that it overlaps.
    pub(super) overlaps: Vec<BanId>,
    /// The exceptions and built-in protections that it meets.
    pub(super) exceptions: Vec<String>,
}

impl CreateBan {
    /// All of it but the note in the history.
    pub(super) async fn make(
        &self,
        work: &mut dyn Work,
        about: &Circumstances,
    ) -> Result<Made, Failure> {
        let list = match &self.list_id {
            None => None,
            Some(list_id) => Some(work.list(list_id).await?.ok_or_else(no_list)?),
        };
        let (mut new, mut warnings) = prepare(self, work.settings(), list.as_ref(), about)?;
        let spared = Spared::read(work, about, &[&new.ban]).await?;
        warnings.extend(spared.judge(&new.ban)?);
        let exceptions = spared.met_by(&new.ban);
        climb(&mut new, self.end, list.as_ref(), work).await?;
        let added = work.add_bans(std::slice::from_ref(&new)).await?;
        if let Some(Added::Alike(standing)) = added.first() {
            return Err(duplicate(Some(*standing)).into());
        }
        let key = about.keys.tenant(&about.tenant);
        let overlaps = overlaps::of(work, &new.ban, &key, overlaps::MOST).await?;
        if !overlaps.is_empty() {
            warnings.push((0, "OVERLAPS_BAN".to_owned()));
        }
        Ok(Made {
            new,
            list,
            warnings,
            overlaps,
            exceptions,
        })
    }
}

/// The refusal of a ban that is there already.
pub(super) fn duplicate(standing: Option<BanId>) -> Refusal {
    let message = "a ban just like this one has not ended yet";
    let refusal = Refusal::new(Reason::DuplicateActiveBan, message);
    match standing {
        Some(ban) => refusal.with_fact("ban_id", ban.to_string()),
        None => refusal,
    }
}

/// Lets a ban last as its list's ladder has it, where nobody said how long.
///
/// Before it come all bans that were ever recorded in the list on the same identity, in whatever
/// other name of it, ended and lifted ones too; of several identities the one banned most often
/// counts.
pub(super) async fn climb(
    new: &mut NewBan,
    end: End,
    list: Option<&BanList>,
    work: &mut dyn Work,
) -> Result<(), Failure> {
    let ladder = |list: &&BanList| end == End::Default && !list.repeat_ladder.is_empty();
    let Some(list) = list.filter(ladder) else {
        return Ok(());
    };
    let folds = work.settings().email_fold;
    let own = |key: &MatchKey| {
        folds || key.matches != MatchKind::Alias || key.kind != IdentityKind::EmailAddress
    };
    let keys = new.keys.iter().filter(|(_, key, _)| own(key));
    let keys = keys.map(|(at, key, _)| (*at, key.clone()));
    let elsewhere = new.elsewhere.keys.iter().filter(|(_, key)| own(key));
    let keys: Vec<_> = keys.chain(elsewhere.cloned()).collect();
    let before = work.times_banned(&list.list_id, &keys).await?;
    let from = new.ban.start.unwrap_or(new.ban.created);
    new.ban.expire = times::by_list(list, before, from, work.settings())?;
    Ok(())
}

/// Reads and judges a ban to be made, without a store; with it the warnings it calls for.
///
/// A warning is about the target before whose number it stands, counted from one; 0 = about all.
pub fn prepare(
    asked: &CreateBan,
    settings: &TenantSettings,
    list: Option<&BanList>,
    about: &Circumstances,
) -> Result<(NewBan, Vec<(u32, String)>), Refusal> {
    prepare_with(
        &about.keys.tenant(&about.tenant),
        asked,
        settings,
        list,
        about,
    )
}

/// The same with the tenant's key at hand, which costs more to make than all the rest.
pub(super) fn prepare_with(
    key: &TenantKey,
    asked: &CreateBan,
    settings: &TenantSettings,
    list: Option<&BanList>,
    about: &Circumstances,
) -> Result<(NewBan, Vec<(u32, String)>), Refusal> {
    // An operator has the customer on the line, and in a file only the number is mandatory (P1); who
    // enters a ban by hand has the time to say why.
    if asked.origin == Origin::AdminEntry && asked.reason.trim().is_empty() {
        let message = "a ban needs a reason, for those who have to explain it later";
        return Err(Refusal::of_field(Reason::ReasonRequired, "reason", message));
    }
    fields::text("reason", &asked.reason, MAX_REASON)?;
    fields::bytes("reason_code", &asked.reason_code, MAX_REASON_CODE)?;

    let match_kind = asked.match_kind.unwrap_or(MatchKind::Exact);
    let identities = targets::read(
        &asked.targets,
        asked.channels,
        match_kind,
        settings,
        asked.override_warnings,
    )?;
    let channels = channels(asked.channels, &identities)?;
    let (start, expire) = times::of_new_ban(asked.start, asked.end, settings, list, about.now)?;

    let (mut keys, mut targets, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (identity, given)) in (0u8..).zip(identities.iter().zip(&asked.targets)) {
        let its_keys = key.keys(identity, settings.ipv6_prefix);
        targets.push(Target {
            kind: identity.kind,
            input: given.value.clone(),
            canonical: identity.canonical.clone(),
            issuer: identity.issuer.clone(),
            canonicaliser_version: CANONICALISER_VERSION,
            match_keys: its_keys.iter().map(|(_, text)| text.clone()).collect(),
        });
        keys.extend(its_keys.into_iter().map(|(key, text)| (at, key, text)));
        let codes = identity
            .cautions
            .iter()
            .map(|caution| caution.code().to_owned());
        warnings.extend(codes.map(|code| (u32::from(at) + 1, code)));
    }
    only_once(&mut keys);
    let on_token = identities
        .iter()
        .any(|one| one.kind == IdentityKind::VisitorToken);
    if list.is_some_and(BanList::enforced_nowhere) && !on_token {
        warnings.push((0, "LIST_NOT_ENFORCED_ANYWHERE".to_owned()));
    }

    let ban = Ban {
        ban_id: new_ban_id(about.now),
        tenant: about.tenant.clone(),
        list_id: asked.list_id.clone(),
        channels,
        targets,
        match_kind,
        reason: asked.reason.clone(),
        reason_code: asked.reason_code.clone(),
        enforcement: asked.enforcement,
        origin: asked.origin,
        start,
        expire,
        ended: false,
        created: about.now,
        updated: about.now,
        created_by: about.actor.clone(),
        deactivated: None,
        deactivated_by: String::new(),
        deactivate_reason: String::new(),
        source_interaction: String::new(),
        source_queue: String::new(),
        parent: None,
        import_id: String::new(),
        match_count: 0,
        last_match: None,
        version: 1,
    };
    let elsewhere = elsewhere(&ban, &identities, key, settings);
    let likeness = likeness(&ban, key);
    let generation = list.map_or(0, |list| list.generation);
    Ok((
        NewBan {
            ban,
            generation,
            likeness,
            keys,
            elsewhere,
        },
        warnings,
    ))
}

/// Where a ban holds: where it was asked for, if its targets can be met there, or wherever they can.
fn channels(asked: Channels, identities: &[Identity]) -> Result<Channels, Refusal> {
    let carried = identities.iter().fold(Channels::NONE, |channels, one| {
        channels.or(one.kind.channels())
    });
    if asked.and(carried) != asked {
        let message = "none of the targets can be met on one of these channels";
        let reason = Reason::KindChannelMismatch;
        return Err(Refusal::of_field(reason, "channels", message));
    }
    Ok(if asked.is_empty() { carried } else { asked })
}

/// Leaves out other names of a target that are another target's own, or another name of it too.
pub(super) fn only_once(keys: &mut Vec<(u8, MatchKey, String)>) {
    let all: Vec<_> = keys
        .iter()
        .map(|(_, key, _)| (key.space, key.key, key.matches))
        .collect();
    let mut at = 0;
    keys.retain(|(_, key, _)| {
        let same = |(space, other, _): &&(_, _, _)| (*space, *other) == (key.space, key.key);
        let earlier = all[..at].iter().any(|one| same(&one));
        let own = all
            .iter()
            .filter(same)
            .any(|(_, _, matches)| *matches != MatchKind::Alias);
        at += 1;
        key.matches != MatchKind::Alias || !(earlier || own)
    });
}

/// What a new ban would be known by under the other keys of the ring.
fn elsewhere(
    ban: &Ban,
    identities: &[Identity],
    key: &TenantKey,
    settings: &TenantSettings,
) -> Elsewhere {
    let mut keys = Vec::new();
    for (at, identity) in (0u8..).zip(identities) {
        let its_keys = key.keys_elsewhere(identity, settings.ipv6_prefix);
        keys.extend(its_keys.into_iter().map(|key| (at, key)));
    }
    Elsewhere {
        likenesses: digested(ban, |parts| key.digests_elsewhere(parts)),
        keys,
    }
}

/// What makes two bans the same: list, match kind, enforcement, channels and set of targets, of an IPv6
/// address with the network that it stands for.
pub(super) fn likeness(ban: &Ban, key: &TenantKey) -> [u8; 16] {
    digested(ban, |parts| key.digest_of(parts))
}

/// By what one is known that is like a ban as it is going to be.
pub(super) fn alike(ban: &Ban, key: &TenantKey, settings: &TenantSettings) -> Alike {
    let own_keys = |target: &Target| {
        let ipv6_prefix = target.ipv6_prefix().unwrap_or(settings.ipv6_prefix);
        Some(key.own_keys(&ban.identity(target)?, ipv6_prefix))
    };
    Alike {
        current: likeness(ban, key),
        others: digested(ban, |parts| key.digests_elsewhere(parts)),
        keys: ban.targets.iter().filter_map(own_keys).flatten().collect(),
    }
}

fn digested<T>(ban: &Ban, digest: impl FnOnce(&[&[u8]]) -> T) -> T {
    let mut targets: Vec<_> = ban
        .targets
        .iter()
        .map(|target| {
            (
                target.kind as u8,
                target.issuer.as_str(),
                target.canonical.as_str(),
                target.ipv6_prefix(),
            )
        })
        .collect();
    targets.sort_unstable();
    targets.dedup();
    let head = [ban.match_kind as u8, ban.enforcement as u8];
    let channels = ban.channels.bits().to_be_bytes();
    let list = ban.list_id.as_ref().map_or("", |list| list.as_str());
    let kinds: Vec<u8> = targets.iter().map(|(kind, ..)| *kind).collect();
    let mut parts: Vec<&[u8]> = vec![b"ban", list.as_bytes(), &head, &channels, &kinds];
    // Whom it was on is not known any more: it is like no other.
    if ban.targets.iter().any(Target::is_erased) {
        parts.push(ban.ban_id.bytes());
    }
    for (_, issuer, canonical, _) in &targets {
        parts.push(issuer.as_bytes());
        parts.push(canonical.as_bytes());
    }
    // Of one address a wider network is not the same; of a network its own name says how wide it is.
    let prefixes: Vec<u8> = { targets.iter() }.filter_map(|(.., bits)| *bits).collect();
    let usual = prefixes.iter().all(|bits| *bits == IPV6_PREFIX);
    if ban.match_kind == MatchKind::Exact && !usual {
        parts.push(&prefixes);
    }
    digest(&parts)
}
