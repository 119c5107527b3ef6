//! Bans that come in, with their targets and keys.

use super::SqlWork;
use crate::store::{
    Added, MAX_CHUNK, NewBan, Result,
    rows::{self, KeyRow, NewBanRow, NewTargetRow},
};

impl SqlWork {
    /// See [`crate::store::Work::add_bans`].
    pub(super) async fn enter(&mut self, bans: &[NewBan]) -> Result<Vec<Added>> {
        debug_assert!(
            bans.len() <= MAX_CHUNK,
            "a chunk holds at most {MAX_CHUNK} bans"
        );
        let likenesses: Vec<_> = bans.iter().map(NewBan::alike).collect();
        let mut standing = self.standing(&likenesses).await?;
        let (mut added, mut entering) = (Vec::new(), Vec::new());
        let (mut targets, mut keys) = (Vec::new(), Vec::new());
        for new in bans {
            if let Some(alike) = standing.like_or_with(new) {
                added.push(Added::Alike(alike));
                continue;
            }
            added.push(Added::Made);
            self.touch_ban(new.ban.ban_id);
            entering.push(NewBanRow::of(new));
            let (its_targets, its_keys) = rows::parts(new);
            targets.extend(its_targets);
            keys.extend(its_keys);
        }
        sqlx::query(self.say.add_bans.clone())
            .bind(self.tenant())
            .bind(rows::entering(&entering, self.say.by_place)?)
            .execute(&mut self.tx)
            .await?;
        self.add_parts(&targets, &keys).await?;
        Ok(added)
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
