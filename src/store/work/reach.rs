//! Finding bans by where their keys lie, and filing them under other keys.

use std::collections::{BTreeSet, HashMap};

use super::{SqlWork, ban_id};
use crate::{
    domain::{
        ban::Ban,
        hex::hex,
        ids::BanId,
        keys::{MatchKey, Reach},
        record::BanRecord,
    },
    store::{
        MAX_CHUNK, NewBan, Result, read,
        rows::{self, BanRow, LikenessRow, SpotRow},
    },
};

/// How many keys inside a range are looked at for other bans; many may be of bans that have ended.
const PLACES_AT_ONCE: i64 = 10_000;

/// Leaves of the keys that something had those that it has no more.
pub(super) fn forget_what_stays(had: &mut Vec<MatchKey>, has: &[(u8, MatchKey, String)]) {
    had.retain(|key| {
        has.iter()
            .all(|(_, one, _)| (one.space, one.key) != (key.space, key.key))
    });
}

impl SqlWork {
    /// See [`crate::store::Work::overlapping`].
    pub(super) async fn within_reach(
        &mut self,
        ban: BanId,
        reach: &Reach,
        most: usize,
    ) -> Result<Vec<BanId>> {
        let keys: Vec<_> = reach
            .keys
            .iter()
            .map(|key| hex(&key.bits().to_be_bytes()))
            .collect();
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let fold = i32::from(self.settings.email_fold);
        let beside = |statement: &sqlx::SqlStr, second: String| {
            sqlx::query(statement.clone())
                .bind(self.intent.tenant.as_str().to_owned())
                .bind(second)
                .bind(ban.bytes().to_vec())
                .bind(self.intent.now.micros())
                .bind(fold)
                .bind(limit)
        };
        let found = beside(&self.say.overlapping, rows::to_json(&keys)?)
            .fetch_all(&mut self.tx)
            .await?;
        let mut others: BTreeSet<BanId> = found.iter().map(ban_id).collect::<Result<_>>()?;
        for span in &reach.spans {
            if others.len() >= most {
                break;
            }
            let found = beside(&self.say.inside, span.from.clone())
                .bind(span.to.clone())
                .bind(PLACES_AT_ONCE)
                .fetch_all(&mut self.tx)
                .await?;
            for row in &found {
                others.insert(ban_id(row)?);
            }
        }
        Ok(others.into_iter().take(most).collect())
    }

    /// See [`crate::store::Work::rekey`].
    pub(super) async fn file_anew(&mut self, bans: &[NewBan]) -> Result<()> {
        debug_assert!(
            bans.len() <= MAX_CHUNK,
            "a chunk holds at most {MAX_CHUNK} bans"
        );
        let ids: Vec<BanId> = bans.iter().map(|new| new.ban.ban_id).collect();
        let before = self.records(&ids).await?;
        let stood: HashMap<BanId, &BanRecord> = before.iter().map(|one| (one.ban, one)).collect();
        let alike: Vec<_> = bans.iter().map(NewBan::alike).collect();
        let standing = self.standing(&alike, None).await?;
        let (mut targets, mut keys, mut likenesses) = (Vec::new(), Vec::new(), Vec::new());
        let (mut whole, mut spots) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for (new, alike) in bans.iter().zip(&alike) {
            let id = new.ban.ban_id;
            let (its_targets, mut its_keys) = rows::parts(new);
            let read = |at: usize| new.ban.targets.get(at).is_some_and(|one| !one.is_erased());
            if (0..new.ban.targets.len()).all(read) {
                whole.push(hex(id.bytes()));
            } else {
                // What was erased is known by the keys that it has, and keeps them.
                rows::number_from(&mut its_keys, self.next_ordinal(id).await?);
                let its_spots = (0u8..).zip(&new.ban.targets);
                let its_spots = its_spots.filter(|(_, target)| !target.is_erased());
                spots.extend(its_spots.map(|(at, _)| SpotRow::of(id, at)));
            }
            targets.extend(its_targets.into_iter().filter(|row| read(row.position())));
            keys.extend(its_keys);
            // One that has become like another keeps its likeness; of several the first is the one.
            let alone = stood.get(&id).is_none_or(|stood| {
                let other = standing.like(alike, stood.generation);
                let mut first = || seen.insert((new.likeness, stood.generation));
                stood.ended || (other.is_none_or(|other| other == id) && first())
            });
            if alone {
                likenesses.push(LikenessRow::of(new));
            }
        }
        let by_place = self.say.by_place;
        sqlx::query(self.say.set_targets.clone())
            .bind(self.tenant())
            .bind(rows::entering(&targets, by_place)?)
            .bind(self.made_under)
            .execute(&mut self.tx)
            .await?;
        let mut drops = vec![(&self.say.drop_keys, rows::to_json(&whole)?)];
        if !spots.is_empty() {
            let spots = rows::entering(&spots, by_place)?;
            drops.push((&self.say.drop_target_keys, spots));
        }
        let drops = drops.into_iter();
        for (statement, rows) in drops.chain([
            (&self.say.add_keys, rows::entering(&keys, by_place)?),
            (
                &self.say.set_likeness,
                rows::entering(&likenesses, by_place)?,
            ),
        ]) {
            sqlx::query(statement.clone())
                .bind(self.intent.tenant.as_str().to_owned())
                .bind(rows)
                .execute(&mut self.tx)
                .await?;
        }
        let now: HashMap<BanId, &NewBan> = bans.iter().map(|new| (new.ban.ban_id, new)).collect();
        for mut gone in before {
            if let Some(new) = now.get(&gone.ban) {
                forget_what_stays(&mut gone.keys, &new.keys);
            }
            gone.ended = true;
            if !gone.keys.is_empty() {
                self.gone.push(gone);
            }
        }
        for ban in ids {
            self.touch_ban(ban);
        }
        Ok(())
    }

    /// See [`crate::store::Work::bans_named`].
    pub(super) async fn named(&mut self, bans: &[BanId]) -> Result<Vec<Ban>> {
        let ids: Vec<_> = bans.iter().map(|ban| hex(ban.bytes())).collect();
        let found = sqlx::query(self.say.bans_named.clone())
            .bind(self.tenant())
            .bind(rows::to_json(&ids)?)
            .fetch_all(&mut self.tx)
            .await?;
        found
            .iter()
            .map(|row| BanRow::read(row)?.into_ban(&self.intent.tenant))
            .collect()
    }

    /// What a view needs of these bans, as they stand.
    pub(super) async fn records(&mut self, bans: &[BanId]) -> Result<Vec<BanRecord>> {
        read::records(&mut self.tx, &self.say, &self.intent.tenant, bans).await
    }
}
