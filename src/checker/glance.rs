//! Many questions, one look: at the clock, at where the pod stands, and at each tenant's view.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{Answer, By, Checker, Consistency, Ground, Question};
use crate::domain::{
    caller::{Caller, Scope},
    fields,
    ids::TenantId,
    refusal::Refusal,
};

/// What questions about a tenant are judged by. Refused: this is no tenant's id, or there is no such tenant,
/// or the caller may not ask about it.
type Place = Result<(TenantId, Ground), Refusal>;

/// A look at all that some questions are about. Whatever is asked by it is judged as of one instant,
/// and of each tenant by one state (C-5).
pub struct Glance<'a> {
    checker: &'a Checker,
    places: Vec<Place>,
    /// Which of the places each question is about.
    place_of: Vec<usize>,
}

impl Checker {
    /// Looks once at the tenants that some questions are about, as fresh as is asked for.
    ///
    /// Refused are only a token that cannot be honoured, and a pod that has heard of nothing yet:
    /// what is wrong with one tenant is told where that one is asked about.
    pub async fn glance<'a>(
        &self,
        caller: &Caller,
        tenants: impl Iterator<Item = &'a str>,
        wish: Consistency<'_>,
        deadline: Duration,
    ) -> Result<Glance<'_>, Refusal> {
        self.await_freshness(wish, deadline).await?;
        let (texts, place_of) = told_apart(tenants);
        let allowed = |text| {
            let tenant = fields::tenant(text)?;
            caller.needs_within(Scope::Check, &tenant)?;
            Ok(tenant)
        };
        let asked = texts.into_iter().map(allowed).collect();
        Ok(Glance {
            checker: self,
            places: self.look_at(asked, wish, deadline).await?,
            place_of,
        })
    }

    async fn look_at(
        &self,
        asked: Vec<Result<TenantId, Refusal>>,
        wish: Consistency<'_>,
        deadline: Duration,
    ) -> Result<Vec<Place>, Refusal> {
        let look = || {
            let views = asked
                .iter()
                .map(|asked| self.look(asked.as_ref().ok()?, wish));
            views.collect::<Vec<_>>()
        };
        let (mut reading, mut standing, mut views) = self.at_once(look).await?;
        let mut loaded: Vec<Option<_>> = asked.iter().map(|_| None).collect();
        let mode = |asked: &Result<TenantId, Refusal>| {
            let tenant = asked.as_ref().map_err(Clone::clone)?;
            self.failure_mode(tenant)
        };
        let modes: Vec<_> = asked.iter().map(mode).collect();
        let absent = asked.iter().enumerate().filter_map(|(at, asked)| {
            let tenant = asked.as_ref().ok()?;
            (views[at].is_none() && modes[at].is_ok()).then_some((at, tenant))
        });
        let absent: Vec<_> = absent.collect();
        if !absent.is_empty() {
            let loads = absent.iter().map(|(_, tenant)| self.load(tenant, deadline));
            for ((at, _), end) in absent.iter().zip(join_all(loads).await) {
                loaded[*at] = end;
            }
            // Time has passed since: everything is judged as of now.
            (reading, standing, views) = self.at_once(look).await?;
        }
        let parts = asked.into_iter().zip(views).zip(loaded).zip(modes);
        let place = |(((tenant, view), loaded), mode)| {
            let (tenant, mode) = (tenant?, mode?);
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
            Ok((tenant, ground))
        };
        Ok(parts.map(place).collect())
    }
}

/// The different ones of some texts, and which of them each is.
fn told_apart<'a>(all: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, Vec<usize>) {
    let (mut texts, mut known, mut of) = (Vec::new(), HashMap::new(), Vec::new());
    for text in all {
        let at = match of.last() {
            // Mostly all questions are about one tenant.
            Some(&last) if texts[last] == text => last,
            _ => *known.entry(text).or_insert_with(|| {
                texts.push(text);
                texts.len() - 1
            }),
        };
        of.push(at);
    }
    (texts, of)
}

/// A tenant that may be asked about, as it was seen.
pub struct Seen<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    ground: &'a Ground,
    checker: &'a Checker,
}

impl Glance<'_> {
    /// The tenant that each question is about, in their order, if it may be asked about.
    pub fn seen(&self) -> impl Iterator<Item = Result<Seen<'_>, Refusal>> {
        self.place_of.iter().map(|at| match &self.places[*at] {
            Ok((tenant, ground)) => Ok(Seen {
                tenant,
                ground,
                checker: self.checker,
            }),
            Err(refusal) => Err(refusal.clone()),
        })
    }
}

impl Seen<'_> {
    /// Answers a question about the tenant, as [`Checker::check`] would at that moment.
    ///
    /// How fresh it is, has been decided for all that was seen.
    pub fn check(&self, question: &Question<'_>) -> Result<Answer, Refusal> {
        let stage = question.stage()?;
        let judged = self.checker.judge_by(self.ground, question, stage);
        Ok(self.checker.told(stage, question, judged))
    }
}

#[cfg(test)]
mod tests {
    use super::told_apart;

    #[test]
    fn each_question_keeps_its_tenant_in_whatever_order_they_come() {
        for all in [&[][..], &["a"], &["a", "a", "b", "a", "", "b", "b", ""]] {
            let (texts, of) = told_apart(all.iter().copied());
            let told: Vec<&str> = of.into_iter().map(|at| texts[at]).collect();
            assert_eq!(told, all);
        }
        assert_eq!(told_apart(["a", "b", "a"].into_iter()).0, ["a", "b"]);
    }
}
