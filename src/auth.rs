//! Telling who asks, and letting in no more than can be served.
//!
//! Every request of the contract passes one [`Gate`], which finds its row in the one [`table`],
//! takes its place among the requests in flight, learns who asks, and leaves a [`Pass`] with the
//! request. What the tenant has to do with it is judged where the message is read, for there it stands.
//!
//! **Invariant:** an RPC without a row is served to nobody; a request without a pass neither.

mod asker;
mod gate;
mod jwks;
mod jwt;
mod known;
mod limits;
mod rate;
mod signatures;
pub mod table;

use std::{error::Error, sync::Arc, time::Duration};

use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{
    jwt::{Judged, Tokens},
    known::{Ground, Known},
};

pub(crate) use self::rate::Meter;
pub use self::{
    asker::Asker,
    gate::{Gate, GateLayer},
    jwt::{Algorithm, JwtSettings, KeySource},
    limits::{Limits, Load},
};
use crate::{
    domain::{
        access::{Recognised, Shown},
        caller::{Caller, Reach, Scope},
        keys::{KeyLock, MasterKey},
        refusal::{Reason, Refusal},
    },
    feed::Feed,
};

/// How long a pod that has just begun has a caller wait for who may ask.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose request it is, and what its RPC needs.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Who asks.
    pub caller: Caller,
    /// What the RPC needs, by the table.
    pub scope: Scope,
    /// Among which requests it counts, by the table.
    pub load: Load,
    /// How long the caller waits, where it says so.
    pub(crate) deadline: Option<Duration>,
    /// What is asked about each tenant, where that is limited.
    meter: Option<Arc<Meter>>,
}

impl Pass {
    /// Refuses unless the caller may do there what the RPC does, and as often.
    pub(crate) fn admit(&self, reach: Reach<'_>) -> Result<(), Refusal> {
        self.caller.needs(self.scope, reach)?;
        match (&self.meter, reach) {
            (Some(meter), Reach::Tenant(tenant) | Reach::Queue(tenant, _)) => {
                meter.take(tenant, self.load)
            }
            (None, _) | (_, Reach::Deployment) => Ok(()),
        }
    }
}

/// Who decides whose a request is.
#[derive(Debug)]
pub enum Door {
    /// Nobody: the listeners are bound to loopback, or an operator has said in so many words that
    /// whoever reaches them may do anything.
    Open(Caller),
    /// Somebody who asks for a credential.
    Guarded(Box<Guard>),
}

impl Door {
    /// A door that lets everybody in.
    pub fn open() -> Self {
        Self::Open(Caller::anonymous())
    }

    /// Who asks; `None` = only news of who may ask or of the issuer's keys can tell, which
    /// [`Self::who_after_news`] waits for.
    fn who(&self, parts: &Parts) -> Result<Option<Caller>, Refusal> {
        match self {
            Self::Open(anybody) => Ok(Some(anybody.clone())),
            Self::Guarded(guard) => guard.who(parts),
        }
    }

    /// Who asks, once there is news, or there is none to be had.
    async fn who_after_news(&self, parts: &Parts) -> Result<Caller, Refusal> {
        if let Self::Guarded(guard) = self {
            guard.heard().await?;
            if let Some(caller) = guard.who(parts)? {
                return Ok(caller);
            }
            if let Some(tokens) = &guard.tokens {
                tokens.refresh.news().await;
            }
        }
        self.who(parts)?.ok_or_else(|| {
            let message = "the token names a key that its issuer does not publish";
            Refusal::new(Reason::CredentialInvalid, message)
        })
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The name in the certificate; `None` = none was shown.
    pub principal: Option<Arc<str>>,
    /// Whose questions come from there.
    pub asker: Asker,
}

/// Judges credentials by what the feed tells of principals and their keys.
pub struct Guard {
    feed: Feed,
    locks: KeyLock,
    known: Known,
    tokens: Option<Arc<Tokens>>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard(…)")
    }
}

impl Guard {
    /// A guard who hears of keys by this feed, kept under this master key, and takes an issuer's
    /// tokens where there is one.
    pub fn new(feed: Feed, keys: &MasterKey, issuer: Option<&Issuer>) -> Self {
        Self {
            feed,
            locks: keys.key_lock(),
            known: Known::default(),
            tokens: issuer.map(|issuer| Arc::clone(&issuer.0)),
        }
    }

    /// Waits until it is known who may ask: a pod that has just begun will know in a moment.
    async fn heard(&self) -> Result<(), Refusal> {
        let mut news = self.news();
        let heard = timeout(PATIENCE, news.wait_for(|number| *number > 0)).await;
        if matches!(heard, Ok(Ok(_))) {
            return Ok(());
        }
        // To be told that a good key is bad would have people make new ones.
        let message = "this pod has not heard yet who may ask; try another";
        Err(Refusal::new(Reason::NotReady, message))
    }

    /// Tells of each change of who may ask what.
    fn news(&self) -> watch::Receiver<u64> {
        self.feed.access_news()
    }

    fn who(&self, parts: &Parts) -> Result<Option<Caller>, Refusal> {
        let credential = bearer(&parts.headers)?;
        let peer = parts.extensions.get::<Peer>();
        let certified = peer.and_then(|peer| peer.principal.as_deref());
        if credential.is_none() && certified.is_none() {
            let message = "a credential is needed, as `authorization: Bearer …`; `bancheck key add` \
                           makes one";
            return Err(Refusal::new(Reason::CredentialMissing, message));
        }
        let access = self.feed.access();
        if access.number == 0 {
            return Ok(None);
        }
        // Who sends both means the one that was sent with this very request.
        let Some(credential) = credential else {
            let name = certified.unwrap_or_default();
            return Ok(Some(access.access.principal(name)));
        };
        let ground = Ground {
            access: access.number,
            issuers: self
                .tokens
                .as_ref()
                .map_or(0, |tokens| tokens.keys.load().number),
        };
        let clock = || self.feed.clock().read().now;
        let known = self.known.get(credential.as_bytes(), ground, clock);
        if let Some(Recognised { caller, .. }) = known {
            return Ok(Some(caller));
        }
        let recognised = match &self.tokens {
            Some(tokens) if !Shown::is_meant(credential) => {
                match tokens.judge(&tokens.keys.load(), credential) {
                    Judged::Good(principal, until) => Recognised {
                        caller: access.access.principal(&principal),
                        until: Some(until),
                    },
                    Judged::UnknownKey => return Ok(None),
                    Judged::Bad(refusal) => return Err(refusal),
                }
            }
            _ => {
                let shown = Shown::read(credential).ok_or_else(unreadable)?;
                access.access.key(shown, &self.locks, clock())?
            }
        };
        let caller = recognised.caller.clone();
        self.known.put(credential.as_bytes(), ground, recognised);
        Ok(Some(caller))
    }
}

/// The one whose tokens are taken beside keys.
pub struct Issuer(Arc<Tokens>);

impl Issuer {
    /// Reads the issuer's keys for the first time: a file must hold some, an address may be away.
    pub async fn begin(settings: &JwtSettings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let tokens = Tokens::new(settings);
        match tokens.begin().await {
            Err(error) if tokens.are_in_a_file() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the issuer's keys cannot be read yet; trying again");
            }
            Ok(()) => {}
        }
        Ok(Self(Arc::new(tokens)))
    }

    /// Keeps the keys up to date until told to stop.
    pub async fn follow(self, stop: CancellationToken) {
        self.0.follow(stop).await;
    }
}

fn unreadable() -> Refusal {
    let message = "this is no credential of this service: a key has the form bk_<id>_<secret>";
    Refusal::new(Reason::CredentialInvalid, message)
}

/// The bearer credential of a request, if there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    let invalid = |message: &str| Refusal::new(Reason::CredentialInvalid, message);
    if all.next().is_some() {
        return Err(invalid("there are two authorization headers; one is taken"));
    }
    let text = first.to_str().unwrap_or_default();
    let (scheme, credential) = text.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") || credential.trim().is_empty() {
        return Err(invalid("the authorization header has the form `Bearer …`"));
    }
    Ok(Some(credential.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_credential_is_read_once_and_from_nothing_else() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            let found = bearer(&headers).map(|found| found.map(str::to_owned));
            found.map_err(|refusal| refusal.reason)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer x"]), Ok(Some("x".to_owned())));
        assert_eq!(read(&["bearer  x "]), Ok(Some("x".to_owned())));
        for bad in [
            &["Basic x"][..],
            &["Bearer"],
            &["Bearer "],
            &["x"],
            &["Bearer x", "Bearer x"],
        ] {
            assert_eq!(read(bad), Err(Reason::CredentialInvalid), "{bad:?}");
        }
    }
}
