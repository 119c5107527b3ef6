//! Bans that come in, with their targets and keys.

use futures_util::future::join;

use super::SqlWork;
use crate::store::{
    Added, MAX_CHUNK, NewBan, Result, StoreError,
    rows::{self, KeyRow, NewBanRow, NewTargetRow},
    sql,
};

impl SqlWork {
    /// See [`crate::store::Work::add_bans`].
    pub(super) async fn enter(&mut self, bans: &[NewBan]) -> Result<Vec<Added>> {
        debug_assert!(
            bans.len() <= MAX_CHUNK,
            "a chunk holds at most {MAX_CHUNK} bans"
        );
        if bans.len() > sql::FEW && self.enter_as_new(bans).await? {
            return Ok(vec![Added::Made; bans.len()]);
        }
        let alike: Vec<_> = bans.iter().map(NewBan::alike).collect();
        let mut standing = self.standing(&alike, None).await?;
        let (mut added, mut made) = (Vec::new(), Vec::new());
        for (new, alike) in bans.iter().zip(&alike) {
            if let Some(other) = standing.like_or_add(new, alike) {
                added.push(Added::Alike(other));
            } else {
                added.push(Added::Made);
                made.push(new);
            }
        }
        self.write(&made).await?;
        Ok(added)
    }

    /// Enters bans as if each were like no other, and says whether it is so; else none has entered. The
    /// savepoint ends with the transaction.
    async fn enter_as_new(&mut self, bans: &[NewBan]) -> Result<bool> {
        // Of what was made under another key of the ring no index knows.
        if bans.iter().any(|new| !new.elsewhere.likenesses.is_empty()) {
            return Ok(false);
        }
        self.tx.savepoint().await?;
        match self.write(&bans.iter().collect::<Vec<_>>()).await {
            Ok(()) => Ok(true),
            Err(StoreError::Alike) => {
                self.tx.back_to_savepoint().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, bans: &[&NewBan]) -> Result<()> {
        let by_place = self.say.by_place;
        let rows: Vec<_> = bans.iter().copied().map(NewBanRow::of).collect();
        let enter = sqlx::query(self.say.add_bans.clone())
            .bind(self.tenant())
            .bind(rows::entering(&rows, by_place)?)
            .execute(&mut self.tx);
        // While the database takes in the bans.
        let write_down = async {
            let (mut targets, mut keys) = (Vec::new(), Vec::new());
            for new in bans {
                let (its_targets, its_keys) = rows::parts(new);
                targets.extend(its_targets);
                keys.extend(its_keys);
            }
            Parts::of(&targets, &keys, by_place)
        };
        let (entered, parts) = join(enter, write_down).await;
        entered?;
        self.add_parts(parts?).await?;
        for new in bans {
            self.touch_ban(new.ban.ban_id);
        }
        Ok(())
    }

    /// Adds targets and keys of bans that are there.
    pub(super) async fn add_parts(&mut self, parts: Parts) -> Result<()> {
        sqlx::query(self.say.add_targets.clone())
            .bind(self.tenant())
            .bind(parts.targets)
            .bind(self.made_under)
            .execute(&mut self.tx)
            .await?;
        sqlx::query(self.say.add_keys.clone())
            .bind(self.tenant())
            .bind(parts.keys)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }
}

/// Targets and keys of bans, as they enter.
pub(super) struct Parts {
    targets: String,
    keys: String,
}

impl Parts {
    /// Of these; see [`rows::entering`].
    pub(super) fn of(targets: &[NewTargetRow], keys: &[KeyRow], by_place: bool) -> Result<Self> {
        Ok(Self {
            targets: rows::entering(targets, by_place)?,
            keys: rows::entering(keys, by_place)?,
        })
    }
}
