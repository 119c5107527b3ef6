//! Bans that come in, with their targets and keys.

use std::collections::HashMap;

use super::SqlWork;
use crate::{
    domain::{hex::hex, ids::BanId},
    store::{
        NewBan, Result, StoreError,
        rows::{self, KeyRow, NewBanRow, NewTargetRow},
        sql,
    },
};

impl SqlWork {
    /// Enters bans, but for those that are alike one in being, which are told each with that one.
    pub(super) async fn enter_bans(&mut self, bans: Vec<&NewBan>) -> Result<HashMap<BanId, BanId>> {
        if self.enter(&bans).await? {
            return Ok(HashMap::new());
        }
        let alike = self.in_the_way_of(&bans).await?;
        // Some of them may only seem to be in being: their time is over, and nobody has noted it.
        let kept_out = |new: &&NewBan| alike.contains_key(&new.ban.ban_id);
        let kept_out: Vec<_> = bans.into_iter().filter(kept_out).collect();
        let likenesses: Vec<_> = kept_out.iter().map(|new| hex(&new.likeness)).collect();
        if self.retire(&likenesses, None).await? == 0 {
            return Ok(alike);
        }
        if self.enter(&kept_out).await? {
            return Ok(HashMap::new());
        }
        self.in_the_way_of(&kept_out).await
    }

    /// Enters what is like no other, and says whether that is all.
    async fn enter(&mut self, bans: &[&NewBan]) -> Result<bool> {
        let rows: Vec<_> = bans.iter().copied().map(NewBanRow::of).collect();
        let rows = rows::entering(&rows, self.say.by_place)?;
        if self.say.tries_as_new && bans.len() > sql::FEW && self.enter_new(&rows).await? {
            return Ok(true);
        }
        let entered = sqlx::query(self.say.add_bans.clone())
            .bind(self.tenant())
            .bind(rows)
            .execute(&mut self.tx)
            .await?;
        Ok(entered.rows_affected() == u64::try_from(bans.len()).unwrap_or(u64::MAX))
    }

    /// Enters rows as if each were like no other, and says whether it is so; else none has entered. The
    /// savepoint ends with the transaction.
    async fn enter_new(&mut self, rows: &str) -> Result<bool> {
        self.tx.savepoint().await?;
        let entered = sqlx::query(self.say.add_new_bans.clone())
            .bind(self.tenant())
            .bind(rows.to_owned())
            .execute(&mut self.tx)
            .await;
        match entered.map_err(StoreError::from) {
            Ok(_) => Ok(true),
            Err(StoreError::Taken) => {
                self.tx.back_to_savepoint().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Of these bans those that were not entered, each with the one that is like it.
    async fn in_the_way_of(&mut self, bans: &[&NewBan]) -> Result<HashMap<BanId, BanId>> {
        let likenesses: Vec<_> = bans.iter().map(|new| hex(&new.likeness)).collect();
        let standing = self.alike(&likenesses).await?;
        let mut alike = HashMap::new();
        for new in bans {
            let one = standing.get(&(new.likeness.to_vec(), new.generation));
            let one = *one.ok_or(StoreError::Taken)?;
            if one != new.ban.ban_id {
                alike.insert(new.ban.ban_id, one);
            }
        }
        Ok(alike)
    }

    /// Adds targets and keys of bans that are there.
    pub(super) async fn add_parts(
        &mut self,
        targets: &[NewTargetRow],
        keys: &[KeyRow],
    ) -> Result<()> {
        sqlx::query(self.say.add_targets.clone())
            .bind(self.tenant())
            .bind(rows::entering(targets, self.say.by_place)?)
            .bind(self.made_under)
            .execute(&mut self.tx)
            .await?;
        sqlx::query(self.say.add_keys.clone())
            .bind(self.tenant())
            .bind(rows::entering(keys, self.say.by_place)?)
            .execute(&mut self.tx)
            .await?;
        Ok(())
    }
}
