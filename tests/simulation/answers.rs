//! Judging one answer: it is the right one at a single revision, within its own bounds.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bancheck::domain::{
    clock::Timestamp, decide::Basis, ids::TenantId, record::Change, refusal::Reason,
    revision::Position,
};

use super::{
    database::unix_micros,
    history::{Row, back_until},
    judge::{Judge, Seen, Wrong},
    pod::SEAL,
    verdict::{Asked, Outcome, Said, of_failure, right, turns},
};

/// The lease, and what a clock that drifts by a ten-thousandth may add to it.
const LEASE: Duration = Duration::from_millis(2_001);

/// By how much a pod's clock may differ from the database's, in microseconds: one that is off by
/// less than a second is set right gently, and another server may tell another time.
const CLOCKS_DIFFER: i64 = 3_000_000;

/// How fresh an answer was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Whatever,
    Token(String),
    Fully,
}

/// A check, as things stood when it began.
pub(crate) struct Opened {
    pub(crate) pod: usize,
    at: Duration,
    /// The pod's clock.
    now: Timestamp,
    /// The place of the pod's position among all that it was seen at; `None` = it had none.
    first: Option<usize>,
    /// The newest row there was.
    head: Arc<Row>,
}

impl Judge {
    /// A check begins.
    pub(crate) fn open(&self, pod: usize, now: Timestamp) -> Opened {
        let head = self.database.head();
        let at = self.time();
        let book = self.book();
        let pod_book = &book.pods[pod];
        let first = (pod_book.seen.len() > pod_book.since).then(|| pod_book.seen.len() - 1);
        Opened {
            pod,
            at,
            now,
            first,
            head,
        }
    }

    /// A check ends in an answer.
    pub(crate) fn answered(
        &self,
        opened: &Opened,
        asked: &Asked,
        wish: &Wish,
        now: Timestamp,
        said: &Said,
    ) {
        self.note(format_args!(
            "pod {} answers {} about {} of {}: {:?}",
            opened.pod,
            if said.outcome.denied { "deny" } else { "allow" },
            asked.identities[0].1,
            asked.tenant,
            said.basis,
        ));
        self.book().trace.answers += 1;
        if let Err((clause, what)) = self.judge(opened, asked, wish, now, said) {
            let began = opened.at.as_secs_f64();
            let what = format!("pod {}, a check begun at {began:.3} s: {what}", opened.pod);
            self.accuse(clause, what);
        }
    }

    fn judge(
        &self,
        opened: &Opened,
        asked: &Asked,
        wish: &Wish,
        now: Timestamp,
        said: &Said,
    ) -> Result<(), Wrong> {
        let (last, since) = {
            let book = self.book();
            let pod = &book.pods[opened.pod];
            let since = opened.first.unwrap_or(pod.since);
            (pod.seen.last().cloned(), pod.seen[since..].to_vec())
        };
        let last = last.ok_or_else(|| ("C-3", "an answer before any position".to_owned()))?;
        let (token, row) = self.read(&said.token)?;
        let tenant = asked.tenant.clone();
        if let Some(first) = opened.first.and_then(|_| since.first()) {
            let older = token.epoch < first.position.epoch
                || (token.epoch == first.position.epoch && !row.includes(&first.row));
            let fallen = said.basis == Basis::Stale && has_fallen(&row, &last.row, &tenant);
            if older && !fallen {
                let what = format!(
                    "the answer's token is row #{}, and the pod had come to row #{} before",
                    row.number, first.row.number
                );
                return Err(("C-1", what));
            }
        }
        let ahead = token.epoch > last.position.epoch
            || (token.epoch == last.position.epoch && !last.row.includes(&row));
        // A feed that has turned views over may be held up before it says so, while history forks: then
        // what it had read follows where it stands, and no longer stands itself.
        let turned = || self.database.head().includes(&row) || row.includes(&last.row);
        if ahead && !(self.stumbles && said.basis == Basis::Stale && turned()) {
            let what = format!(
                "the answer's token is row #{}, and the pod has come to row #{} only",
                row.number, last.row.number
            );
            return Err(("C-3", what));
        }
        timely(said, now)?;
        if said.basis == Basis::Fresh {
            self.agree(now)?;
        }
        if said.basis == Basis::FailureMode {
            let mode = row.tenants[&tenant].settings.failure_mode;
            return if said.outcome == of_failure(mode) {
                Ok(())
            } else {
                Err((
                    "the failure mode",
                    format!("{:?} for {mode:?}", said.outcome),
                ))
            };
        }
        let mut bounds = self.bounds(opened, wish, said.basis, [since.first(), Some(&last)])?;
        // However long it was held up: where the pod stands is looked at first, and then the view.
        bounds.push(("C-1", Arc::clone(&row)));
        let candidates = self.candidates(&row, &last, &since);
        let equal: Vec<&Row> = candidates
            .iter()
            .map(AsRef::as_ref)
            .filter(|row: &&Row| {
                let rows = &row.tenants[&tenant];
                let instants = turns(rows, opened.now, now);
                let mut right = instants.into_iter().map(|at| right(rows, asked, at));
                right.any(|right| right == said.outcome)
            })
            .collect();
        if equal.is_empty() {
            let rights = candidates.iter().map(|row| {
                let right = right(&row.tenants[&tenant], asked, now);
                format!("#{}: {}", row.number, told(&right))
            });
            let rights: Vec<_> = rights.collect();
            let what = format!(
                "{} about {asked:?}, at {}; it should be one of: {}",
                told(&said.outcome),
                now.micros(),
                rights.join("; ")
            );
            return Err(("C-5", what));
        }
        for (clause, bound) in bounds {
            if !equal.iter().any(|row| row.includes(&bound)) {
                let what = format!(
                    "{} about {asked:?} ({:?}, {wish:?}) is the answer at row #{}, and row #{} of \
                     {:.3} s is to be in it",
                    told(&said.outcome),
                    said.basis,
                    equal[0].number,
                    bound.number,
                    bound.at.as_secs_f64()
                );
                return Err((clause, what));
            }
        }
        Ok(())
    }

    /// A batch ends in answers: besides what holds of each, those of one tenant are of one state and
    /// one instant.
    pub(crate) fn answered_together(
        &self,
        opened: &Opened,
        batch: &[(Asked, Said)],
        wish: &Wish,
        now: Timestamp,
    ) {
        for (asked, said) in batch {
            self.answered(opened, asked, wish, now, said);
        }
        let tenants: BTreeSet<&str> = batch.iter().map(|(it, _)| it.tenant.as_str()).collect();
        for tenant in tenants {
            let of_it = batch
                .iter()
                .filter(|(asked, _)| asked.tenant.as_str() == tenant);
            let of_it: Vec<&(Asked, Said)> = of_it.collect();
            if let Err((clause, what)) = self.are_one(opened, tenant, &of_it, now) {
                let pod = opened.pod;
                self.accuse(clause, format!("pod {pod}, a batch about {tenant}: {what}"));
            }
        }
    }

    fn are_one(
        &self,
        opened: &Opened,
        tenant: &str,
        batch: &[&(Asked, Said)],
        now: Timestamp,
    ) -> Result<(), Wrong> {
        let (_, first) = batch[0];
        let same = |said: &Said| {
            (said.basis, &said.token, said.stale_for)
                == (first.basis, &first.token, first.stale_for)
        };
        if !batch.iter().all(|(_, said)| same(said)) {
            let what = "its answers do not all rest on the same".to_owned();
            return Err(("C-5", what));
        }
        if first.basis == Basis::FailureMode {
            return Ok(());
        }
        let (last, since) = {
            let book = self.book();
            let pod = &book.pods[opened.pod];
            let since = opened.first.unwrap_or(pod.since);
            (pod.seen.last().cloned(), pod.seen[since..].to_vec())
        };
        let Some(last) = last else { return Ok(()) };
        let (_, row) = self.read(&first.token)?;
        let tenant = TenantId::parse(tenant).expect("a tenant id");
        let explains = |row: &Row| {
            let rows = &row.tenants[&tenant];
            turns(rows, opened.now, now).into_iter().any(|at| {
                let mut all = batch.iter();
                all.all(|(asked, said)| right(rows, asked, at) == said.outcome)
            })
        };
        if self
            .candidates(&row, &last, &since)
            .iter()
            .any(|row| explains(row))
        {
            return Ok(());
        }
        let what = "no state at any instant gives all of its answers".to_owned();
        Err(("C-5", what))
    }

    /// Whether a pod's clock tells about the database's time: else a ban would decide outside its
    /// own, and an answer be used for who knows how long.
    fn agree(&self, now: Timestamp) -> Result<(), Wrong> {
        let off = self.database.ground().clock_off;
        let theirs = unix_micros(self.time()) + off;
        let ahead = now.micros() - theirs;
        if ahead.abs() < CLOCKS_DIFFER {
            return Ok(());
        }
        let what = format!("the pod's clock is {ahead} microseconds ahead of the database's");
        Err(("V-1", what))
    }

    /// The rows that an answer may be the right one at: from its token's to where the pod stands.
    fn candidates(&self, token: &Row, last: &Seen, since: &[Seen]) -> Vec<Arc<Row>> {
        if self.stumbles {
            // Views come before the pod says so, and it may be held up between the two: also when
            // it goes over to another history, and when that which it was told of is gone by then.
            return self.database.all_rows();
        }
        if last.row.includes(token) {
            let mut rows = vec![Arc::clone(&last.row)];
            while let Some(before) = rows.last().and_then(|row| row.before.as_ref())
                && before.depth >= token.depth
            {
                rows.push(Arc::clone(before));
            }
            return rows;
        }
        // The pod went over to another history meanwhile.
        since.iter().map(|seen| Arc::clone(&seen.row)).collect()
    }

    /// The rows that an answer has to include, each with the clause that says so; `stood` is where the
    /// pod stood when it was asked, and when it answered.
    fn bounds(
        &self,
        opened: &Opened,
        wish: &Wish,
        basis: Basis,
        stood: [Option<&Seen>; 2],
    ) -> Result<Vec<(&'static str, Arc<Row>)>, Wrong> {
        let head = self.database.head();
        let stands = |row: &Row| opened.head.includes(row) && head.includes(row);
        let mut bounds = Vec::new();
        if basis == Basis::Fresh {
            // A complete tail was sent less than a lease ago, so not only what was acknowledged by
            // then is in the answer but all that was committed.
            let old = |row: &Row| row.at + LEASE < opened.at && head.includes(row);
            bounds.push(("C-4", back_until(&opened.head, old)));
        }
        let mut fully = *wish == Wish::Fully;
        let [began, ended] = stood.map(|seen| seen.map(|seen| seen.position.epoch));
        if let Wish::Token(token) = wish {
            let (position, row) = self.read(token)?;
            if Some(position.epoch) > ended {
                let what = "the token is of an epoch that the pod has not come to".to_owned();
                return Err(("C-4", what));
            }
            // How fresh it has to be is judged at once; the epoch may grow while it waits for a load.
            fully |= Some(position.epoch) < began;
            // Held up, it may be answered by what came after the history that lost the row.
            let same = Some(position.epoch) == ended && !self.stumbles;
            if same || stands(&row) {
                bounds.push(("C-4", row));
            }
        }
        if fully && head.includes(&opened.head) {
            bounds.push(("C-4", Arc::clone(&opened.head)));
        }
        Ok(bounds)
    }

    /// What a token says.
    pub(super) fn read(&self, token: &str) -> Result<(Position, Arc<Row>), Wrong> {
        let position = Position::read(token, &SEAL);
        let position = position.map_err(|bad| ("C-3", format!("a token that is {bad:?}")))?;
        let row = self.database.row(position.anchor);
        let row = row.ok_or_else(|| ("C-3", "a token of no row of any history".to_owned()))?;
        Ok((position, row))
    }

    /// A check ends in a refusal.
    pub(crate) fn refused(&self, opened: &Opened, wish: &Wish, reason: Reason) {
        self.note(format_args!(
            "pod {} refuses a check: {reason:?}",
            opened.pod
        ));
        let quiet = self.book().quiet;
        let may = match reason {
            Reason::NotReady => opened.first.is_none() && !quiet,
            Reason::StoreUnavailable => *wish != Wish::Whatever && !quiet,
            Reason::TokenHistoryLost => match wish {
                Wish::Token(token) => self.read(token).is_ok_and(|(_, row)| {
                    !self.database.head().includes(&row) || !opened.head.includes(&row)
                }),
                _ => false,
            },
            _ => false,
        };
        if !may {
            let what = format!("pod {} refused {wish:?} with {reason:?}", opened.pod);
            self.accuse("a check is answered", what);
        }
    }
}

/// Whether an answer says of its own age what its basis calls for.
fn timely(said: &Said, now: Timestamp) -> Result<(), Wrong> {
    let fresh = said.basis == Basis::Fresh;
    let latest = now.plus_micros(i64::try_from(LEASE.as_micros()).expect("two seconds"));
    let until = said.reuse_until;
    let flips = said.outcome.flips.unwrap_or(Timestamp::MAX);
    if fresh != until.is_some() || fresh != said.stale_for.is_none() {
        let what = format!("{:?} with {until:?} and {:?}", said.basis, said.stale_for);
        return Err(("C-4", what));
    }
    if until.is_some_and(|until| until > latest || until > flips) {
        return Err(("C-4", format!("an answer that may be used until {until:?}")));
    }
    Ok(())
}

/// Whether the row after this one told of a tenant what only a load can bring: until it is there,
/// what is answered is old, and says so.
fn has_fallen(row: &Row, last: &Row, tenant: &TenantId) -> bool {
    last.includes(row)
        && last.back_to(row.depth + 1).is_some_and(|next| {
            next.news.tenant.as_ref() == Some(tenant) && next.news.change == Change::Reload
        })
}

/// An outcome in a few words.
fn told(outcome: &Outcome) -> String {
    let Outcome {
        denied_by,
        shadows,
        flips,
        treatment,
        ..
    } = outcome;
    let by = denied_by.map_or_else(
        || "allow".to_owned(),
        |(ban, expire)| {
            format!(
                "deny by {ban} until {:?} ({treatment:?})",
                expire.map(Timestamp::micros)
            )
        },
    );
    let flips = flips.map(Timestamp::micros);
    format!("{by}, {} shadows, flips {flips:?}", shadows.len())
}
