//! Saying who may ask what: grants, and the keys of principals.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Circumstances, Desk, Failure, Job, Page, check_etag, lookup::name_after, pages};
use crate::{
    domain::{
        access::{
            ApiKey, KeyId, MAX_GRANT_QUEUES, MAX_GRANTS, MAX_LIVE_KEYS, MAX_PRINCIPALS, NewKey,
            Principal, SECRET_BYTES, Shown,
        },
        caller::{ANONYMOUS, Grant, Reach, Scope},
        clock::Timestamp,
        fields,
        ids::MAX_CALLERS_ID,
        keys::MasterKey,
        list::MAX_TITLE,
        refusal::{Reason, Refusal},
    },
    store::{Answer, Work},
};

/// The longest that a key and its successor are good together.
const MAX_OVERLAP: Duration = Duration::from_hours(90 * 24);
/// How long they are, unless told otherwise.
pub const USUAL_OVERLAP: Duration = Duration::from_hours(24);

/// A key of random bytes.
pub fn new_key(keys: &MasterKey) -> Result<NewKey, Refusal> {
    let (mut id, mut secret) = ([0; 8], [0; SECRET_BYTES]);
    for random in [&mut id[..], &mut secret[..]] {
        getrandom::fill(random).map_err(|_| super::internal())?;
    }
    Ok(NewKey::of(id, &secret, &keys.key_lock()))
}

/// The name of a principal.
fn principal_name<'a>(field: &str, name: &'a str) -> Result<&'a str, Refusal> {
    if name.is_empty() {
        return Err(Refusal::required(field));
    }
    fields::bytes(field, name, MAX_CALLERS_ID)?;
    if name == ANONYMOUS {
        let message = "`anonymous` is who asks while authentication is off, and nobody else";
        return Err(Refusal::of_field(Reason::FieldInvalid, field, message));
    }
    Ok(name)
}

fn judge_grants(grants: &[Grant]) -> Result<(), Refusal> {
    fields::items("grants", grants, MAX_GRANTS)?;
    for (at, grant) in grants.iter().enumerate() {
        if grant.scopes.is_empty() {
            return Err(Refusal::required(format!("grants[{at}].scopes")));
        }
        let profile = format!("grants[{at}].rights_profile");
        fields::bytes(&profile, &grant.rights_profile, MAX_CALLERS_ID)?;
        fields::items(
            &format!("grants[{at}].queues"),
            &grant.queues,
            MAX_GRANT_QUEUES,
        )?;
        for (number, queue) in grant.queues.iter().enumerate() {
            let field = format!("grants[{at}].queues[{number}]");
            if queue.is_empty() {
                return Err(Refusal::required(field));
            }
            fields::bytes(&field, queue, MAX_CALLERS_ID)?;
        }
    }
    Ok(())
}

/// Writes a principal that is new.
async fn add_principal(
    work: &mut dyn Work,
    name: &str,
    grants: Vec<Grant>,
) -> Result<Principal, Failure> {
    let most = i64::try_from(MAX_PRINCIPALS).unwrap_or(i64::MAX);
    if work.count_principals().await? >= most {
        let message = format!("there are {MAX_PRINCIPALS} principals, as many as are kept");
        return Err(Refusal::new(Reason::Quota, message).into());
    }
    let made = Principal {
        name: name.to_owned(),
        grants,
        version: 1,
    };
    work.set_principal(&made).await?;
    Ok(made)
}

/// Adds a key to a principal that is there.
async fn add_key(
    work: &mut dyn Work,
    about: &Circumstances,
    new: &NewKey,
    key: ApiKey,
) -> Result<ApiKey, Failure> {
    let all = work.api_keys_of(&key.principal).await?;
    let live = all.iter().filter(|other| other.is_live(about.now)).count();
    if live >= MAX_LIVE_KEYS {
        let message = format!("{MAX_LIVE_KEYS} keys of this principal are in force: revoke one");
        return Err(Refusal::new(Reason::Quota, message).into());
    }
    if key.expire.is_some_and(|end| end <= about.now) {
        let message = "the key would be over before it began";
        return Err(Refusal::of_field(Reason::ExpireTimeInPast, "expire_time", message).into());
    }
    work.add_api_key(&key, new.lock).await?;
    Ok(key)
}

fn no_key() -> Refusal {
    let message = "there is no key of this id in force";
    Refusal::of_field(Reason::KeyNotFound, "key_id", message)
}

fn no_principal() -> Refusal {
    let message = "nothing has been said of a principal of this name; give it grants";
    Refusal::of_field(Reason::PrincipalNotFound, "principal", message)
}

/// Says what a principal may do.
#[derive(Clone, Debug)]
pub struct SetGrants {
    /// Who.
    pub principal: String,
    /// All that it may do.
    pub grants: Vec<Grant>,
    /// What the caller believes to change; empty = whatever there is.
    pub etag: String,
}

#[async_trait]
impl Job for SetGrants {
    const RPC: &'static str = "SetGrants";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let Self {
            principal,
            grants,
            etag,
        } = self;
        principal_name("principal", &principal)?;
        judge_grants(&grants)?;
        let before = work.principal(&principal).await?;
        check_etag(
            "etag",
            &etag,
            before.as_ref().map_or(0, |known| known.version),
        )?;
        let now = match before {
            None => add_principal(work, &principal, grants).await?,
            Some(known) if known.grants == grants => known,
            Some(known) => {
                let changed = Principal {
                    version: known.version + 1,
                    grants,
                    ..known
                };
                work.set_principal(&changed).await?;
                changed
            }
        };
        work.note(&about.event(None, "GRANTS_SET", &principal))
            .await?;
        Ok(Answer {
            principal: Some(now),
            ..Answer::default()
        })
    }
}

/// Makes a key.
#[derive(Debug)]
pub struct CreateKey {
    /// The key, whose secret stays here.
    pub new: NewKey,
    /// Whose it is to be.
    pub principal: String,
    /// A name for people.
    pub display_name: String,
    /// When it ends.
    pub expire: Option<Timestamp>,
    /// What a new principal may do.
    pub grants: Vec<Grant>,
}

#[async_trait]
impl Job for CreateKey {
    const RPC: &'static str = "CreateApiKey";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let Self {
            new,
            principal,
            display_name,
            expire,
            grants,
        } = self;
        principal_name("principal", &principal)?;
        fields::text("display_name", &display_name, MAX_TITLE)?;
        judge_grants(&grants)?;
        match work.principal(&principal).await? {
            None if grants.is_empty() => return Err(no_principal().into()),
            None => {
                add_principal(work, &principal, grants).await?;
            }
            Some(known) if grants.is_empty() || known.grants == grants => {}
            Some(_) => {
                let message = "the principal has grants already, and they are others: leave them \
                               out, or change them with SetGrants";
                return Err(Refusal::of_field(Reason::FieldInvalid, "grants", message).into());
            }
        }
        let key = ApiKey {
            id: new.id,
            principal,
            display_name,
            created: about.now,
            created_by: about.actor.clone(),
            expire,
            revoked: None,
        };
        let key = add_key(work, about, &new, key).await?;
        work.note(&about.event(None, "KEY_CREATED", &told(&key)))
            .await?;
        Ok(Answer {
            api_key: Some(key),
            ..Answer::default()
        })
    }
}

/// A key, for the history.
fn told(key: &ApiKey) -> String {
    format!("key {} of {}", key.id, key.principal)
}

/// Makes a key's successor.
#[derive(Debug)]
pub struct RotateKey {
    /// The key that is to be succeeded.
    pub old: KeyId,
    /// The successor, whose secret stays here.
    pub new: NewKey,
    /// For how long both are good.
    pub overlap: Duration,
    /// When the successor ends.
    pub expire: Option<Timestamp>,
}

#[async_trait]
impl Job for RotateKey {
    const RPC: &'static str = "RotateApiKey";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let Self {
            old,
            new,
            overlap,
            expire,
        } = self;
        if overlap > MAX_OVERLAP {
            let message = "two keys are good together for 90 days at the most";
            return Err(Refusal::of_field(Reason::FieldInvalid, "overlap", message).into());
        }
        let old = work.api_key(old).await?;
        let mut old = old
            .filter(|key| key.is_live(about.now))
            .ok_or_else(no_key)?;
        let overlap = i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX);
        let end = about.now.plus_micros(overlap);
        // First, so that a principal whose keys are all in use can exchange one at once.
        old.expire = Some(old.expire.map_or(end, |sooner| sooner.min(end)));
        work.end_api_key(&old).await?;
        let key = ApiKey {
            id: new.id,
            principal: old.principal.clone(),
            display_name: old.display_name.clone(),
            created: about.now,
            created_by: about.actor.clone(),
            expire,
            revoked: None,
        };
        let key = add_key(work, about, &new, key).await?;
        work.note(&about.event(None, "KEY_ROTATED", &told(&old)))
            .await?;
        Ok(Answer {
            api_key: Some(key),
            replaced_key: Some(old),
            ..Answer::default()
        })
    }
}

/// Ends a key.
#[derive(Clone, Debug)]
pub struct RevokeKey {
    /// Which.
    pub id: KeyId,
}

#[async_trait]
impl Job for RevokeKey {
    const RPC: &'static str = "RevokeApiKey";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let mut key = work.api_key(self.id).await?.ok_or_else(no_key)?;
        if key.revoked.is_none() {
            key.revoked = Some(about.now);
            work.end_api_key(&key).await?;
            work.note(&about.event(None, "KEY_REVOKED", &told(&key)))
                .await?;
        }
        Ok(Answer {
            api_key: Some(key),
            ..Answer::default()
        })
    }
}

/// Gives whoever holds the server's own folder a key to everything, in place of earlier ones.
#[derive(Debug)]
pub struct Seat {
    /// The key, whose secret goes into the folder.
    pub new: NewKey,
}

/// The principal of [`Seat`].
pub const LOCAL_ADMIN: &str = "local-admin";

#[async_trait]
impl Job for Seat {
    const RPC: &'static str = "Seat";

    async fn run(self, work: &mut dyn Work, about: &Circumstances) -> Result<Answer, Failure> {
        let everything = Grant {
            tenant: None,
            scopes: Scope::ALL.into_iter().collect(),
            queues: Vec::new(),
            may_act_for: true,
            rights_profile: String::new(),
        };
        let version = work.principal(LOCAL_ADMIN).await?;
        work.set_principal(&Principal {
            name: LOCAL_ADMIN.to_owned(),
            grants: vec![everything],
            version: version.map_or(1, |known| known.version + 1),
        })
        .await?;
        for mut key in work.api_keys_of(LOCAL_ADMIN).await? {
            if key.revoked.is_none() {
                key.revoked = Some(about.now);
                work.end_api_key(&key).await?;
            }
        }
        let key = ApiKey {
            id: self.new.id,
            principal: LOCAL_ADMIN.to_owned(),
            display_name: "in the data directory".to_owned(),
            created: about.now,
            created_by: about.actor.clone(),
            expire: None,
            revoked: None,
        };
        let key = add_key(work, about, &self.new, key).await?;
        work.note(&about.event(None, "KEY_CREATED", &told(&key)))
            .await?;
        Ok(Answer {
            api_key: Some(key),
            ..Answer::default()
        })
    }
}

impl Desk {
    /// Whether this is a key to everything, as far as the pod has heard.
    pub fn is_key_to_everything(&self, text: &str) -> bool {
        let now = self.now();
        let access = Arc::clone(&self.feed.access().access);
        let known =
            Shown::read(text).and_then(|shown| access.key(shown, &self.keys.key_lock(), now).ok());
        known.is_some_and(|known| known.caller.needs(Scope::Admin, Reach::Deployment).is_ok())
    }

    /// A new key's id and secret, under this deployment's master key.
    pub fn new_key(&self) -> Result<NewKey, Refusal> {
        new_key(&self.keys)
    }

    /// A page of keys, by id.
    pub async fn api_keys(
        &self,
        principal: &str,
        page_size: i32,
        page_token: &str,
        deadline: Duration,
    ) -> Result<Page<ApiKey>, Refusal> {
        fields::bytes("principal", principal, MAX_CALLERS_ID)?;
        let size = pages::size(page_size)?;
        let pages = self.pages(format!("keys of {principal}"), size);
        let after = name_after(pages.place(page_token)?);
        let items = self
            .within(deadline, self.store.api_keys(principal, &after, size))
            .await?;
        let last = items.last().map(|key| key.id.to_string().into_bytes());
        Ok(Page {
            next: pages.next(items.len(), last),
            total: 0,
            items,
        })
    }

    /// A page of principals by name, or the one named.
    pub async fn principals(
        &self,
        principal: &str,
        page_size: i32,
        page_token: &str,
        deadline: Duration,
    ) -> Result<Page<Principal>, Refusal> {
        fields::bytes("principal", principal, MAX_CALLERS_ID)?;
        let size = pages::size(page_size)?;
        let pages = self.pages(format!("grants of {principal}"), size);
        let after = name_after(pages.place(page_token)?);
        if !principal.is_empty() {
            let found = self
                .within(deadline, self.store.principal(principal))
                .await?;
            return Ok(Page {
                items: vec![found.ok_or_else(no_principal)?],
                next: String::new(),
                total: 1,
            });
        }
        let items = self
            .within(deadline, self.store.principals(&after, size))
            .await?;
        let last = items.last().map(|known| known.name.clone().into_bytes());
        Ok(Page {
            next: pages.next(items.len(), last),
            total: 0,
            items,
        })
    }
}
