//! Bans in being that are like others (S-10).
//!
//! They are looked for under their keys: an index of likenesses would have SQLite write a page more for
//! each ban. The tenant's row, held, makes that as good as a constraint; and under one key of the ring the
//! databases refuse a second one alike themselves, SQLite a changed one beside the newest sixteen only.

use std::collections::{HashMap, HashSet};

use sqlx::Row;

use super::{SqlWork, ban_id};
use crate::{
    domain::{hex::hex, ids::BanId},
    store::{
        Alike, NewBan, Result, StoreError,
        rows::{self, number},
        sql,
    },
};

/// Bans in being, by one of their likenesses and the content of a list that they are of.
#[derive(Debug, Default)]
pub(super) struct Standing(HashMap<([u8; 16], u32), BanId>);

impl Standing {
    /// The one that is like this.
    pub(super) fn like(&self, alike: &Alike, generation: u32) -> Option<BanId> {
        let mut likenesses = alike.likenesses();
        likenesses.find_map(|likeness| self.0.get(&(*likeness, generation)).copied())
    }

    /// The one that is like this ban; where there is none, it is among them itself from here on.
    pub(super) fn like_or_add(&mut self, new: &NewBan, alike: &Alike) -> Option<BanId> {
        if new.ban.ended {
            return None;
        }
        let standing = self.like(alike, new.generation);
        if standing.is_none() {
            let likeness = (new.likeness, new.generation);
            self.0.insert(likeness, new.ban.ban_id);
        }
        standing
    }
}

impl SqlWork {
    /// See [`crate::store::Work::stands_alike`].
    pub(super) async fn standing_beside(
        &mut self,
        ban: BanId,
        alike: &Alike,
    ) -> Result<Option<BanId>> {
        let mut alike = alike.clone();
        // An older version of the canonicaliser may have filed both under another key than this one would.
        let stood = self.records(&[ban]).await?;
        let Some(first) = stood.first() else {
            return Ok(None);
        };
        let keys = stood.iter().flat_map(|stood| &stood.keys);
        alike.keys.extend(keys.map(|key| key.key));
        let standing = self.standing(std::slice::from_ref(&alike), Some(ban));
        Ok(standing.await?.like(&alike, first.generation))
    }

    /// The bans in being that are like one of these, but for one, once those whose time is over are marked
    /// ended.
    pub(super) async fn standing(
        &mut self,
        alike: &[Alike],
        but: Option<BanId>,
    ) -> Result<Standing> {
        let likenesses: HashSet<_> = alike.iter().flat_map(Alike::likenesses).collect();
        let keys = alike.iter().flat_map(|one| &one.keys);
        let keys: Vec<_> = keys.map(|key| hex(&key.bits().to_be_bytes())).collect();
        if keys.is_empty() {
            return Ok(Standing::default());
        }
        let found = sql::about_many(&self.say.standing, keys.len())
            .bind(self.tenant())
            .bind(rows::to_json(&keys)?)
            .fetch_all(&mut self.tx)
            .await?;
        let (mut standing, mut over) = (HashMap::new(), Vec::new());
        for row in &found {
            let ban = ban_id(row)?;
            let likeness = row.try_get::<&[u8], _>("likeness")?.try_into();
            let likeness = likeness.map_err(|_| StoreError::Corrupt("the length of a likeness"))?;
            if !likenesses.contains(&likeness) || but == Some(ban) {
                continue;
            }
            let expire: Option<i64> = row.try_get("expire_at")?;
            if expire.is_some_and(|expire| expire <= self.intent.now.micros()) {
                over.push(hex(ban.bytes()));
            } else {
                let generation = number(row, "generation")?;
                standing.entry((likeness, generation)).or_insert(ban);
            }
        }
        if !over.is_empty() {
            self.retire(&over).await?;
        }
        Ok(Standing(standing))
    }
}
