//! The master keys that rows are made under: which of them are in use, and which every pod that has
//! begun since recognises.
//!
//! Two rows of `meta` say it, by fingerprints with commas between them. `key-check` names the keys
//! under which there may be rows: one, as a version without rings of keys knows it and refuses all
//! else, but while a key is replaced. `keys-recognised` names those that are about to be used.

use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use sqlx::{Row, any::AnyRow};

use super::{
    Result, StoreError,
    pool::{Lent, Whose},
    read::Present,
    rows::ApiKeyRow,
    shared::SqlStore,
};
use crate::domain::{access::ApiKey, clock::Timestamp, keys::Fingerprints};

const IN_USE: &str = "key-check";
const RECOGNISED: &str = "keys-recognised";

/// How rows are made, which follows from the ring of master keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Filing {
    /// The ring; `None` as long as nobody has said one.
    ring: Option<Fingerprints>,
    /// How rows say the current key.
    pub(super) number: i32,
    /// Whether rows that say no key are made under it too.
    unsaid: bool,
}

impl Filing {
    fn of(keys: &Fingerprints, in_use: &[String]) -> Self {
        Self {
            ring: Some(keys.clone()),
            number: Fingerprints::number(&keys.current),
            unsaid: in_use.first() == Some(&keys.current),
        }
    }

    fn numbers(&self) -> [i32; 2] {
        [self.number, if self.unsaid { 0 } else { self.number }]
    }

    pub(super) fn present(&self, version: u16) -> Present {
        Present {
            version,
            keys: self.numbers(),
        }
    }

    fn current(&self) -> String {
        self.ring
            .as_ref()
            .map_or_else(String::new, |ring| ring.current.clone())
    }
}

/// The ring that a store is used with, as it was shown last.
#[derive(Debug, Default)]
pub(super) struct Shown(RwLock<Filing>);

impl Shown {
    pub(super) fn now(&self) -> Filing {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    fn put(&self, filing: Filing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = filing;
    }

    /// Refuses to go on by what the database says where rows may lie under a key that the ring lacks:
    /// whoever does would find nobody of them. `in_use` are the keys, as the database names them.
    pub(super) fn judge(&self, in_use: Option<&str>) -> Result<()> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match (&kept.ring, in_use) {
            (Some(ring), Some(in_use)) => judge(ring, in_use),
            _ => Ok(()),
        }
    }
}

fn judge(ring: &Fingerprints, in_use: &str) -> Result<()> {
    let mut wanting = None;
    let mut known = false;
    for one in in_use.split(',') {
        if ring.holds(one) {
            known = true;
        } else {
            wanting = Some(one);
        }
    }
    match wanting {
        None => Ok(()),
        Some(one) if known => Err(StoreError::KeyWanting(Fingerprints::short(one).to_owned())),
        Some(_) => Err(StoreError::WrongKey),
    }
}

/// Which master keys rows are made under.
#[async_trait]
pub trait KeyStore {
    /// Compares the ring of master keys with the store's, or leaves it there first; from here on what
    /// is written is made under the current one.
    ///
    /// A ring without a key that there may be rows under is refused: it would find nobody of them. So
    /// is a current key that is new, unless a ring that recognises it was shown before: whoever does
    /// not know it yet would not find whom it files. A store of one process asks for no such thing.
    async fn check_key(&self, keys: &Fingerprints) -> Result<()>;

    /// The fingerprints of the keys that there may be rows under, but for the current one.
    async fn other_keys_in_use(&self) -> Result<Vec<String>>;

    /// The API keys in force at an instant that are locked under another key than the current one.
    async fn keys_locked_elsewhere(&self, now: Timestamp) -> Result<Vec<ApiKey>>;

    /// From here on there are rows under the current key alone, as somebody has seen to.
    async fn let_go_of_other_keys(&self) -> Result<()>;
}

fn listed(text: &str) -> Vec<String> {
    let names = text.split(',').filter(|one| !one.is_empty());
    names.map(ToOwned::to_owned).collect()
}

impl SqlStore {
    /// The key that a write makes rows under, of which the locked row tells whether it is in use: one
    /// that is not, or not any more, would have them found by nobody. Nor may a write go on that does
    /// not find what is there.
    pub(super) fn filing(&self, locked: &AnyRow) -> Result<Filing> {
        let filing = self.ring.now();
        let in_use: Option<String> = locked.try_get("keys")?;
        self.ring.judge(in_use.as_deref())?;
        let in_use = listed(&in_use.unwrap_or_default());
        if filing.ring.is_none() || in_use.contains(&filing.current()) {
            Ok(filing)
        } else {
            Err(StoreError::WrongKey)
        }
    }

    /// See [`Shown::judge`].
    pub(super) async fn judge_keys(&self, tx: &mut Lent) -> Result<()> {
        let in_use = self.meta(tx, IN_USE).await?;
        self.ring
            .judge(Some(in_use.as_str()).filter(|one| !one.is_empty()))
    }

    async fn meta(&self, tx: &mut Lent, name: &'static str) -> Result<String> {
        let row = sqlx::query(self.say.meta.clone())
            .bind(name)
            .fetch_optional(tx)
            .await?;
        Ok(match row {
            Some(row) => row.try_get("value")?,
            None => String::new(),
        })
    }

    async fn set_meta(&self, tx: &mut Lent, name: &'static str, all: &[String]) -> Result<()> {
        sqlx::query(self.say.set_meta.clone())
            .bind(name)
            .bind(all.join(","))
            .execute(tx)
            .await?;
        Ok(())
    }

    async fn keys_in_use(&self, tx: &mut Lent) -> Result<Vec<String>> {
        let row = sqlx::query(self.say.lock_keys.clone())
            .fetch_one(tx)
            .await?;
        Ok(listed(row.try_get("value")?))
    }
}

#[async_trait]
impl KeyStore for SqlStore {
    async fn check_key(&self, keys: &Fingerprints) -> Result<()> {
        let mut tx = self.writing(Whose::Nobody).await?;
        sqlx::query(self.say.set_meta_once.clone())
            .bind(IN_USE)
            .bind(keys.current.clone())
            .execute(&mut tx)
            .await?;
        let mut in_use = self.keys_in_use(&mut tx).await?;
        judge(keys, &in_use.join(","))?;
        let recognised = listed(&self.meta(&mut tx, RECOGNISED).await?);
        if !in_use.contains(&keys.current) {
            if !self.engine.is_ours_alone() && !recognised.contains(&keys.current) {
                let there = in_use.last().map_or("", String::as_str);
                return Err(StoreError::KeyUnheard(
                    Fingerprints::short(&keys.current).to_owned(),
                    Fingerprints::short(there).to_owned(),
                ));
            }
            in_use.push(keys.current.clone());
            self.set_meta(&mut tx, IN_USE, &in_use).await?;
        }
        // A pod that does not recognise what others did takes that back.
        let others = keys.others.iter().filter(|one| !in_use.contains(one));
        let mut others: Vec<_> = others.cloned().collect();
        others.sort_unstable();
        if others != recognised {
            self.set_meta(&mut tx, RECOGNISED, &others).await?;
        }
        tx.commit().await?;
        self.ring.put(Filing::of(keys, &in_use));
        Ok(())
    }

    async fn other_keys_in_use(&self) -> Result<Vec<String>> {
        let mut lent = self.readers.lend(Whose::Nobody).await?;
        let mut in_use = listed(&self.meta(&mut lent, IN_USE).await?);
        let current = self.ring.now().current();
        in_use.retain(|one| *one != current);
        Ok(in_use)
    }

    async fn keys_locked_elsewhere(&self, now: Timestamp) -> Result<Vec<ApiKey>> {
        let numbers = self.ring.now().numbers();
        let found = sqlx::query(self.say.keys_locked_elsewhere.clone())
            .bind(now.micros())
            .bind(numbers[0])
            .bind(numbers[1])
            .fetch_all(&mut self.readers.lend(Whose::Nobody).await?)
            .await?;
        found
            .iter()
            .map(|row| ApiKeyRow::read(row)?.into_key())
            .collect()
    }

    async fn let_go_of_other_keys(&self) -> Result<()> {
        let mut tx = self.writing(Whose::Nobody).await?;
        let current = self.ring.now().current();
        if !self.keys_in_use(&mut tx).await?.contains(&current) {
            return Err(StoreError::WrongKey);
        }
        self.set_meta(&mut tx, IN_USE, std::slice::from_ref(&current))
            .await?;
        tx.commit().await?;
        self.ring.put(Filing {
            unsaid: true,
            ..self.ring.now()
        });
        Ok(())
    }
}
