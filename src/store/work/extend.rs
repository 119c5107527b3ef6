//! One target more for a ban.

use super::{SqlWork, enter::Parts};
use crate::{
    domain::{ban::Ban, ids::BanId, keys::MatchKey},
    store::{
        Result,
        rows::{self, number},
    },
};

impl SqlWork {
    /// The number that the next key of a ban will have.
    pub(super) async fn next_ordinal(&mut self, ban: BanId) -> Result<usize> {
        let row = sqlx::query(self.say.next_ordinal.clone())
            .bind(self.tenant())
            .bind(ban.bytes().to_vec())
            .fetch_one(&mut self.tx)
            .await?;
        number(&row, "next")
    }

    /// Writes a ban's last target, which it did not have, with the keys that this one is found by.
    pub(super) async fn lengthen(
        &mut self,
        ban: &Ban,
        likeness: [u8; 16],
        keys: &[(u8, MatchKey, String)],
    ) -> Result<()> {
        let (tenant, id) = (self.tenant(), ban.ban_id.bytes().to_vec());
        let first = self.next_ordinal(ban.ban_id).await?;
        let last = ban.targets.iter().enumerate().next_back();
        let targets: Vec<_> = last
            .map(|(position, target)| rows::target_row(ban.ban_id.bytes(), position, target))
            .into_iter()
            .collect();
        let keys = rows::key_rows(ban.ban_id.bytes(), first, keys);
        let parts = Parts::of(&targets, &keys, self.say.by_place)?;
        self.add_parts(parts).await?;
        sqlx::query(self.say.extend_ban.clone())
            .bind(tenant)
            .bind(id)
            .bind(ban.updated.micros())
            .bind(likeness.to_vec())
            .bind(ban.version)
            .execute(&mut self.tx)
            .await?;
        self.touch_ban(ban.ban_id);
        Ok(())
    }
}
