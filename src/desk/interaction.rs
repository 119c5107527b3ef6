//! The operator's button: a ban of whoever is, or was, in an interaction (M4, M5, D3, D10–D18).

use std::collections::HashSet;

use async_trait::async_trait;

use super::{
    Circumstances, Failure, Job,
    create::{CreateBan, climb, duplicate, prepare},
    lists::no_list,
    overlaps,
    queues::at_queue,
    spared::Spared,
    targets::{self, TargetGiven},
    times::End,
};
use crate::{
    domain::{
        ban::{Enforcement, Origin},
        channel::{Channel, Channels},
        identity::IdentityKind,
        list::{BanList, Treatment, WebchatBanType},
        policy::TenantSettings,
        queue::{Recorded, may_ban},
        refusal::{Reason, Refusal},
    },
    store::{Added, Answer, NewBan, Work},
};

/// The most telephone numbers of one contact.
pub const MAX_CONTACT_PHONES: usize = 32;

/// A ban covers calls and text messages together (D22).
const TELEPHONE: Channels = Channels::of(&[Channel::Call, Channel::Sms]);

/// Bans whoever is in an interaction. It names no list, no end and no kind of target: those are the
/// queue's (D3).
#[derive(Clone, Debug)]
pub struct BanInteraction {
    /// The rights profile that the operator acts under; empty = none.
    pub rights_profile: String,
    /// The queue; empty = none.
    pub queue: String,
    /// The channel.
    pub channel: Channel,
    /// The interaction; empty = not told.
    pub interaction_id: String,
    /// Whether it is going on.
    pub live: bool,
    /// All that the channel knows of the customer.
    pub identities: Vec<TargetGiven>,
    /// The numbers of the customer's contact, where it is known.
    pub contact_phones: Vec<String>,
    /// Why, in words.
    pub reason: String,
}

/// A refusal of a target, told by the place that it has in the request.
fn placed(refusal: Refusal, field: impl Fn(usize) -> String) -> Refusal {
    let place = refusal.field.strip_prefix("targets[").and_then(|rest| {
        let (number, rest) = rest.split_once(']')?;
        Some(format!("{}{rest}", field(number.parse().ok()?)))
    });
    match place {
        Some(field) => Refusal { field, ..refusal },
        None => refusal,
    }
}

impl BanInteraction {
    /// The channels that the ban holds on.
    fn channels(&self) -> Channels {
        let alone = Channels::of(&[self.channel]);
        if self.queue.is_empty() || alone.and(TELEPHONE).is_empty() {
            alone
        } else {
            TELEPHONE
        }
    }

    /// A ban of some targets, otherwise as the request has it.
    fn ban_of(&self, targets: Vec<TargetGiven>, list: Option<&BanList>) -> CreateBan {
        CreateBan {
            list_id: list.map(|list| list.list_id.clone()),
            channels: self.channels(),
            targets,
            match_kind: None,
            reason: self.reason.clone(),
            reason_code: String::new(),
            end: End::Default,
            start: None,
            enforcement: Enforcement::Enforced,
            override_warnings: false,
            origin: if self.live {
                Origin::LiveInteraction
            } else {
                Origin::PastSession
            },
        }
    }

    /// Says where a ban comes from.
    fn sign(&self, new: &mut NewBan) {
        new.ban.source_interaction.clone_from(&self.interaction_id);
        new.ban.source_queue.clone_from(&self.queue);
    }

    /// The ban of the customer, with its warnings.
    async fn primary(
        &self,
        work: &mut dyn Work,
        list: Option<&BanList>,
        about: &Circumstances,
    ) -> Result<(NewBan, Vec<(u32, String)>), Failure> {
        let settings = work.settings().clone();
        let wanted = (self.channel == Channel::WebChat).then(|| match list {
            Some(list) if list.webchat_ban_type == WebchatBanType::Ip => IdentityKind::IpAddress,
            _ => IdentityKind::VisitorToken,
        });
        let chosen = targets::of_customer(&self.identities, self.channel, wanted, &settings)?;
        let places: Vec<usize> = chosen.iter().map(|customer| customer.place).collect();
        let carried = chosen.iter().fold(Channels::NONE, |channels, customer| {
            channels.or(customer.kind.channels())
        });
        let targets = chosen.into_iter().map(|customer| customer.given).collect();
        let asked = CreateBan {
            // A SIP address is met in calls only.
            channels: self.channels().and(carried),
            ..self.ban_of(targets, list)
        };
        let field = |at: usize| format!("identities[{}]", places.get(at).copied().unwrap_or(at));
        let (mut new, mut warnings) =
            prepare(&asked, &settings, list, about).map_err(|refusal| placed(refusal, field))?;
        let spared = Spared::read(work, about, &[&new.ban]).await?;
        let judged = spared.judge(&new.ban);
        warnings.extend(judged.map_err(|refusal| placed(refusal, field))?);
        climb(&mut new, asked.end, list, work).await?;
        self.sign(&mut new);
        let place = |(at, code): (u32, String)| {
            let index = at.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            let place = index.and_then(|at| u32::try_from(*places.get(at)?).ok());
            (place.map_or(0, |place| place + 1), code)
        };
        let mut warnings: Vec<_> = warnings.into_iter().map(place).collect();
        let elsewhere = |list: &BanList| !list.queues.contains(&self.queue);
        if wanted != Some(IdentityKind::VisitorToken) && list.is_some_and(elsewhere) {
            warnings.push((0, "NOT_ENFORCED_ON_SOURCE_QUEUE".to_owned()));
        }
        Ok((new, warnings))
    }

    /// The bans carried over to the contact's numbers: from a web chat only, and only where the
    /// list says so (D15–D18).
    fn cascade(
        &self,
        primary: &NewBan,
        list: &BanList,
        settings: &TenantSettings,
        about: &Circumstances,
    ) -> Result<Vec<NewBan>, Refusal> {
        if self.channel != Channel::WebChat || !list.ban_contact_phones {
            return Ok(Vec::new());
        }
        let mut seen = HashSet::new();
        let mut bans = Vec::new();
        for (at, phone) in self.contact_phones.iter().enumerate() {
            let target = TargetGiven {
                kind: Some(IdentityKind::PhoneNumber),
                value: phone.clone(),
                issuer: String::new(),
                region_hint: String::new(),
            };
            let asked = CreateBan {
                channels: TELEPHONE,
                end: primary.ban.expire.map_or(End::Never, End::At),
                origin: Origin::ContactCascade,
                ..self.ban_of(vec![target], Some(list))
            };
            let (mut new, _) = prepare(&asked, settings, Some(list), about).map_err(|refusal| {
                let field = format!("contact_phones[{at}]");
                Refusal { field, ..refusal }
            })?;
            self.sign(&mut new);
            new.ban.parent = Some(primary.ban.ban_id);
            // Two spellings of one number are one ban.
            if seen.insert(new.likeness) {
                bans.push(new);
            }
        }
        Ok(bans)
    }
}

/// Whether no queue that may be a telephone's checks the list, so that a number in it is not stopped.
async fn unheard_by_telephone(work: &mut dyn Work, list: &BanList) -> Result<bool, Failure> {
    let queues: Vec<String> = list.queues.iter().cloned().collect();
    let of_telephone = |channel| TELEPHONE.contains(channel);
    let heard = work
        .at_queues(&queues, "")
        .await?
        .iter()
        // A queue never configured may be anybody's.
        .any(|at| at.policy.channel.is_none_or(of_telephone));
    Ok(!heard && !list.enforce_outbound)
}

/// What to do with an interaction whose customer was just banned in this list.
fn client_action(channel: Channel, list: Option<&BanList>) -> Option<Treatment> {
    let on_address = |list: &BanList| list.webchat_ban_type == WebchatBanType::Ip;
    let usual = match channel {
        Channel::WebChat if !list.is_some_and(on_address) => Treatment::DisableWidget,
        _ => Treatment::EndInteraction,
    };
    match list {
        // It only watches.
        Some(list) if list.enforcement == Enforcement::Shadow => None,
        Some(list) => Some(list.treatment.unwrap_or(usual)),
        None => Some(usual),
    }
}

#[async_trait]
impl Job for BanInteraction {
    const RPC: &'static str = "BanInteraction";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let at = match self.queue.as_str() {
            "" => None,
            queue => Some(at_queue(work, queue, &self.rights_profile).await?),
        };
        let list = match may_ban(work.settings(), self.channel, at.as_ref())? {
            Recorded::TenantWide => None,
            Recorded::In(list_id) => Some(work.list(&list_id).await?.ok_or_else(no_list)?),
        };
        let (primary, mut warnings) = self.primary(work, list.as_ref(), about).await?;
        let mut bans = vec![primary];
        if let Some(list) = &list {
            let cascade = self.cascade(&bans[0], list, work.settings(), about)?;
            let all: Vec<_> = cascade.iter().map(|new| &new.ban).collect();
            let spared = Spared::read(work, about, &all).await?;
            // The customer is banned though one of the contact's phones may not be.
            let (may, may_not): (Vec<_>, Vec<_>) = cascade
                .into_iter()
                .partition(|new| spared.judge(&new.ban).is_ok());
            if !may_not.is_empty() {
                warnings.push((0, Reason::ProtectedIdentifier.word().0.to_owned()));
            }
            bans.extend(may);
            let nowhere = "LIST_NOT_ENFORCED_ANYWHERE";
            if bans.len() > 1
                && !warnings.iter().any(|(_, code)| code == nowhere)
                && unheard_by_telephone(work, list).await?
            {
                warnings.push((0, nowhere.to_owned()));
            }
        }

        let key = about.keys.tenant(&about.tenant);
        let added = work.add_bans(&bans).await?;
        if let Some(Added::Alike(standing)) = added.first() {
            return Err(duplicate(Some(*standing)).into());
        }
        let (mut made, mut overlaps, mut stood) = (Vec::with_capacity(bans.len()), false, false);
        for (new, added) in bans.into_iter().zip(added) {
            if let Added::Alike(standing) = added {
                stood = true;
                made.extend(work.ban(standing).await?);
                continue;
            }
            let ban = new.ban;
            overlaps = overlaps || !overlaps::of(work, &ban, &key, 1).await?.is_empty();
            work.note(&about.event(Some(ban.ban_id), "CREATED", &ban.reason))
                .await?;
            made.push(ban);
        }
        for (is_so, code) in [(overlaps, "OVERLAPS_BAN"), (stood, "ALREADY_BANNED")] {
            if is_so {
                warnings.push((0, code.to_owned()));
            }
        }
        let mut made = made.into_iter();
        Ok(Answer {
            ban: made.next(),
            cascade: made.collect(),
            treatment: client_action(self.channel, list.as_ref()),
            warnings,
            ..Answer::default()
        })
    }
}
