//! Many questions, one look: at the clock, at where the pod stands, and at each tenant's view.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;

use super::{Answer, By, Checker, Consistency, Ground, Question};
use crate::domain::{
    caller::{Caller, Scope},
    fields,
    ids::TenantId,
    refusal::{Reason, Refusal},
};

/// What came of the look at one tenant.
enum Place {
    /// This is no tenant's id, or there is no such tenant, or the caller may not ask about it.
    Refused(Refusal),
    /// Questions are judged by this.
    There(TenantId, Ground),
}

/// A look at all that some questions are about. Whatever is asked by it is judged as of one instant,
/// and of each tenant by one state (C-5).
pub struct Glance<'a> {
    checker: &'a Checker,
    places: HashMap<&'a str, Place>,
}

impl Checker {
    /// Looks at these tenants once, as fresh as is asked for; each may be named many times.
    ///
    /// Refused are only a token that cannot be honoured, and a pod that has heard of nothing yet:
    /// what is wrong with one tenant is told where that one is asked about.
    pub async fn glance<'a>(
        &'a self,
        caller: &Caller,
        tenants: impl Iterator<Item = &'a str>,
        wish: Consistency<'_>,
        deadline: Duration,
    ) -> Result<Glance<'a>, Refusal> {
        self.await_freshness(wish, deadline).await?;
        let (mut places, mut asked) = (HashMap::new(), Vec::new());
        let mut named = HashSet::new();
        for text in tenants.filter(|text| named.insert(*text)) {
            let allowed = |tenant: TenantId| {
                caller.needs_within(Scope::Check, &tenant)?;
                Ok(tenant)
            };
            match fields::tenant(text).and_then(allowed) {
                Ok(tenant) => asked.push((text, tenant)),
                Err(refusal) => {
                    places.insert(text, Place::Refused(refusal));
                }
            }
        }
        places.extend(self.look_at(asked, wish, deadline).await?);
        Ok(Glance {
            checker: self,
            places,
        })
    }

    async fn look_at<'a>(
        &self,
        asked: Vec<(&'a str, TenantId)>,
        wish: Consistency<'_>,
        deadline: Duration,
    ) -> Result<Vec<(&'a str, Place)>, Refusal> {
        let look = || {
            let views = asked.iter().map(|(_, tenant)| self.look(tenant, wish));
            views.collect::<Vec<_>>()
        };
        let (mut reading, mut standing, mut views) = self.at_once(look).await?;
        let mut loaded: Vec<Option<_>> = asked.iter().map(|_| None).collect();
        let modes: Vec<_> = asked.iter().map(|(_, it)| self.failure_mode(it)).collect();
        let absent = |at: &usize| views[*at].is_none() && modes[*at].is_ok();
        let absent: Vec<usize> = (0..asked.len()).filter(absent).collect();
        if !absent.is_empty() {
            let loads = absent.iter().map(|at| self.load(&asked[*at].1, deadline));
            for (at, end) in absent.iter().zip(join_all(loads).await) {
                loaded[*at] = end;
            }
            // Time has passed since: everything is judged as of now.
            (reading, standing, views) = self.at_once(look).await?;
        }
        let parts = asked.into_iter().zip(views).zip(loaded).zip(modes);
        let place = |((((text, tenant), view), loaded), mode)| {
            let place = match mode {
                Err(refusal) => Place::Refused(refusal),
                Ok(mode) => {
                    let standing = Arc::clone(&standing);
                    // Memory may be so short that what was loaded is gone again.
                    let (by, standing) = match (view, loaded) {
                        (Some(view), _) => (By::View(view), standing),
                        (None, Some((view, standing))) => (By::View(view), standing),
                        (None, None) => (By::FailureMode(mode), standing),
                    };
                    let ground = Ground {
                        reading,
                        standing,
                        by,
                    };
                    Place::There(tenant, ground)
                }
            };
            (text, place)
        };
        Ok(parts.map(place).collect())
    }
}

/// A tenant that may be asked about, as it was seen.
pub struct Seen<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    ground: &'a Ground,
}

impl Glance<'_> {
    /// The tenant that an item is about, if it may be asked about.
    pub fn tenant(&self, text: &str) -> Result<Seen<'_>, Refusal> {
        match self.places.get(text) {
            Some(Place::There(tenant, ground)) => Ok(Seen { tenant, ground }),
            Some(Place::Refused(refusal)) => Err(refusal.clone()),
            None => {
                let message = "a tenant was asked about that was not looked at";
                Err(Refusal::new(Reason::Internal, message))
            }
        }
    }

    /// Answers a question about a tenant, as [`Checker::check`] would at that moment.
    ///
    /// How fresh it is, has been decided for all of them.
    pub fn check(&self, seen: &Seen<'_>, question: &Question<'_>) -> Result<Answer, Refusal> {
        let stage = question.stage()?;
        let judged = self.checker.judge_by(seen.ground, question, stage);
        Ok(self.checker.told(stage, question, judged))
    }
}
