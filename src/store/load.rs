//! Reading what a view needs of bans that can still hold: of all there are, or of some that were made one after
//! another.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{Either, select, try_join};
use sqlx::any::AnyRow;
use tokio::{sync::mpsc, task::yield_now};

use super::{
    LoadSink, Result,
    ids::{AFTER_ALL, are_close, just_before},
    pool::Lent,
    rows::{self, BanColumns, KeyColumns, bytes, ids, to_json},
    sql::{self, Statements},
};
use crate::domain::{ids::BanId, record::BanRecord};

/// How many bans are read at once.
const PAGE: usize = 2_048;
/// How many are handed over to be filed at once.
const AT_ONCE: usize = 512;
/// The most keys that are read at once for lying between those bans. Where there are as many, most may be
/// of bans that have ended.
const KEYS: usize = 4 * PAGE;

/// All of a tenant's bans that can still hold, in a transaction that reads one snapshot. Where there are many,
/// another one that reads the same is asked for, and reads from their other end as far as it comes.
pub(super) async fn all(
    front: &mut Lent,
    back: impl Future<Output = Option<Lent>>,
    say: &Statements,
    tenant: &str,
    sink: &mut dyn LoadSink,
) -> Result<()> {
    let load = Load {
        say,
        tenant,
        rest: Mutex::new(Span::all()),
    };
    // Two, so that neither end waits for a page to be filed while there is nothing else to file.
    let (pages, come) = mpsc::channel(2);
    let read = async {
        let pages = pages;
        if !load.page(front, End::Front, &pages).await? {
            return Ok(());
        }
        let backwards = async {
            if let Some(mut back) = back.await {
                // What it has not read is left to the other.
                let _ = load.pages(&mut back, End::Back, &pages).await;
            }
        };
        let forwards = load.pages(front, End::Front, &pages);
        match select(pin!(forwards), pin!(backwards)).await {
            // Of what the other still asks for nothing has been taken.
            Either::Left((read, _)) => read,
            Either::Right(((), forwards)) => forwards.await,
        }
    };
    try_join(read, file(come, sink)).await?;
    Ok(())
}

/// Files pages as they come, until nobody reads any more.
async fn file(mut come: mpsc::Receiver<Page>, sink: &mut dyn LoadSink) -> Result<()> {
    while let Some(page) = come.recv().await {
        for some in page.records()?.chunks(AT_ONCE) {
            sink.page(some);
            // What a database has answered meanwhile is followed by the next question first.
            yield_now().await;
        }
    }
    Ok(())
}

/// From which end of what is still to be read somebody reads.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

/// All ids after one and up to another.
#[derive(Clone)]
struct Span {
    after: Vec<u8>,
    until: Vec<u8>,
}

impl Span {
    fn all() -> Self {
        Self {
            after: Vec::new(),
            until: AFTER_ALL.to_vec(),
        }
    }

    fn is_empty(&self) -> bool {
        self.after >= self.until
    }

    fn has(&self, ban: BanId) -> bool {
        let id = &ban.bytes()[..];
        &self.after[..] < id && id <= &self.until[..]
    }

    /// Takes from this one what another has at an end of it.
    fn take(&mut self, end: End, other: &Self) -> Self {
        let mut taken = self.clone();
        match end {
            End::Front => {
                taken.until = other.until.clone().min(taken.until);
                self.after.clone_from(&taken.until);
            }
            End::Back => {
                taken.after = other.after.clone().max(taken.after);
                self.until.clone_from(&taken.after);
            }
        }
        taken
    }
}

/// A load that goes on.
struct Load<'a> {
    say: &'a Statements,
    tenant: &'a str,
    /// What is still to be read.
    rest: Mutex<Span>,
}

impl Load<'_> {
    /// Reads from an end until all has been read from there.
    ///
    /// Dropped midway, all that has been taken from the rest is among the pages.
    async fn pages(&self, tx: &mut Lent, end: End, pages: &mpsc::Sender<Page>) -> Result<()> {
        while self.page(tx, end, pages).await? {}
        Ok(())
    }

    /// Reads a page from an end; `false` = all has been read from there.
    async fn page(&self, tx: &mut Lent, end: End, pages: &mpsc::Sender<Page>) -> Result<bool> {
        // Before anything is taken: then it is also sent.
        let Ok(place) = pages.reserve().await else {
            // Whoever files them has failed.
            return Ok(false);
        };
        let rest = self.rest().clone();
        if rest.is_empty() {
            return Ok(false);
        }
        let page = Page::read(tx, self.say, self.tenant, rest, end, PAGE).await?;
        let Some(page) = page else {
            return Ok(false);
        };
        let is_full = page.is_full;
        // What of it came from the other end meanwhile is not taken twice.
        let span = self.rest().take(end, &page.span);
        place.send(Page { span, ..page });
        Ok(is_full)
    }

    fn rest(&self) -> MutexGuard<'_, Span> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// These bans, if they are many and no other is between the first and the last, as it is with what a chunk
/// of an import has made; else `None`.
pub(super) async fn made_together(
    tx: &mut Lent,
    say: &Statements,
    tenant: &str,
    bans: &[BanId],
) -> Result<Option<Vec<BanRecord>>> {
    let (Some(first), Some(last)) = (bans.first(), bans.last()) else {
        return Ok(None);
    };
    if bans.len() <= sql::FEW || !are_close(*first, *last) {
        return Ok(None);
    }
    let span = Span {
        after: just_before(*first),
        until: last.bytes().to_vec(),
    };
    let read = Page::read(tx, say, tenant, span, End::Front, bans.len()).await?;
    let records = read.map_or_else(|| Ok(Vec::new()), |page| page.records())?;
    let are_these = records
        .iter()
        .map(|record| record.ban)
        .eq(bans.iter().copied())
        && records.iter().all(|record| !record.keys.is_empty());
    Ok(are_these.then_some(records))
}

/// Some bans, and beside them keys, theirs among them, as they were told.
struct Page {
    bans: AnyRow,
    keys: AnyRow,
    /// The end that it begins with.
    end: End,
    /// Where it has all bans that there are.
    span: Span,
    /// Whether there may be more.
    is_full: bool,
}

impl Page {
    /// So many bans of a span, from one end of it; `None` = there are none.
    async fn read(
        tx: &mut Lent,
        say: &Statements,
        tenant: &str,
        mut span: Span,
        end: End,
        many: usize,
    ) -> Result<Option<Self>> {
        let load = match end {
            End::Front => &say.load,
            End::Back => &say.load_back,
        };
        let bans = sql::about_many(load, many)
            .bind(tenant.to_owned())
            .bind(span.after.clone())
            .bind(span.until.clone())
            .bind(i64::try_from(many).unwrap_or(i64::MAX))
            .fetch_one(&mut *tx)
            .await?;
        let is_full = ids(&bans)?.len() >= many;
        let Some(last) = ids(&bans)?.next_back() else {
            return Ok(None);
        };
        let last = rows::ban_id(&bytes(&last.to_lowercase())?)?;
        match end {
            End::Front => span.until = last.bytes().to_vec(),
            End::Back => span.after = just_before(last),
        }
        let mut keys = sql::about_many(&say.load_keys, many)
            .bind(tenant.to_owned())
            .bind(span.after.clone())
            .bind(span.until.clone())
            .bind(i64::try_from(KEYS).unwrap_or(i64::MAX))
            .fetch_one(&mut *tx)
            .await?;
        if KeyColumns::count(&keys)? >= KEYS {
            let ids: Vec<&str> = ids(&bans)?.collect();
            keys = sql::about_many(&say.load_keys_of, ids.len())
                .bind(tenant.to_owned())
                .bind(to_json(&ids)?)
                .fetch_one(tx)
                .await?;
        }
        Ok(Some(Self {
            bans,
            keys,
            end,
            span,
            is_full,
        }))
    }

    /// What a decision needs of those in the span.
    fn records(&self) -> Result<Vec<BanRecord>> {
        let bans = BanColumns::read(&self.bans)?;
        let bans = match self.end {
            End::Front => bans,
            End::Back => bans.reversed(),
        };
        let mut records = bans.with(&KeyColumns::read(&self.keys)?)?;
        records.retain(|record| self.span.has(record.ban));
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> BanId {
        BanId::from_bytes(number.to_be_bytes())
    }

    /// From the front comes what is up to `number`, from the back what is from it on.
    fn page(end: End, number: u128) -> Span {
        let mut span = Span::all();
        match end {
            End::Front => span.until = id(number).bytes().to_vec(),
            End::Back => span.after = just_before(id(number)),
        }
        span
    }

    #[test]
    fn of_what_comes_from_both_ends_each_is_taken_once_however_far_either_has_read() {
        for (front, back) in [(3, 7), (7, 3), (5, 5), (5, 6), (6, 5), (9, 1)] {
            let mut rest = Span::all();
            let taken = [
                (End::Front, 2),
                (End::Back, 9),
                (End::Front, front),
                (End::Back, back),
            ]
            .map(|(end, number)| rest.take(end, &page(end, number)));
            for number in 1..=10 {
                let by = taken.iter().filter(|span| span.has(id(number))).count();
                assert_eq!(by + usize::from(rest.has(id(number))), 1, "{number}");
            }
            assert_eq!(rest.is_empty(), back <= front + 1, "{front} {back}");
        }
    }
}
