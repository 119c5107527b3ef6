//! The part of a transaction on the model database that is about exceptions.

use std::sync::Arc;

use async_trait::async_trait;
use bancheck::{
    domain::{
        exception::{Exception, Lifted},
        ids::ExceptionId,
        view::index::Key,
    },
    store::{ExceptionWork, NewException, Result},
};

use super::{super::history::KeptException, ModelWork, unneeded};

#[async_trait]
impl ExceptionWork for ModelWork {
    async fn exception(&mut self, id: ExceptionId) -> Result<Option<Exception>> {
        self.statement().await?;
        let kept = self.after.exceptions.get(&id);
        Ok(kept.map(|kept| kept.exception.clone()))
    }

    async fn standing_exceptions(&mut self, keys: Option<&[Key]>) -> Result<Vec<Exception>> {
        self.statement().await?;
        let now = self.intent.now;
        let wanted = |kept: &&Arc<KeptException>| {
            kept.exception.expire.is_none_or(|expire| expire > now)
                && keys.is_none_or(|keys| kept.keys.iter().any(|key| keys.contains(&key.key)))
        };
        let found = self.after.excepted().filter(wanted);
        Ok(found.map(|kept| kept.exception.clone()).collect())
    }

    async fn exception_count(&mut self) -> Result<i64> {
        self.statement().await?;
        Ok(i64::try_from(self.after.excepted().count()).expect("a small number"))
    }

    async fn add_exception(&mut self, new: &NewException) -> Result<()> {
        self.statement().await?;
        let now = self.intent.now;
        let over =
            |kept: &&Arc<KeptException>| kept.exception.expire.is_some_and(|expire| expire <= now);
        let over: Vec<_> = { self.after.excepted() }
            .filter(over)
            .map(|kept| kept.exception.exception_id)
            .collect();
        for id in over {
            if let Some(kept) = self.after.exceptions.get_mut(&id) {
                Arc::make_mut(kept).exception.ended = true;
                self.touch_exception(id);
            }
        }
        let id = new.exception.exception_id;
        let kept = KeptException {
            made: self.database.next_row(),
            exception: new.exception.clone(),
            keys: new.keys.iter().map(|(_, key, _)| key.clone()).collect(),
        };
        self.after.exceptions.insert(id, Arc::new(kept));
        self.touch_exception(id);
        Ok(())
    }

    async fn set_exception(&mut self, exception: &Exception) -> Result<()> {
        self.statement().await?;
        let id = exception.exception_id;
        if let Some(kept) = self.after.exceptions.get_mut(&id) {
            Arc::make_mut(kept).exception = exception.clone();
            self.touch_exception(id);
        }
        Ok(())
    }

    async fn lifted(&mut self) -> Result<Vec<Lifted>> {
        self.statement().await?;
        Ok(Vec::new())
    }

    async fn lift(&mut self, _lifted: &Lifted) -> Result<()> {
        unneeded("lift")
    }

    async fn put_back(&mut self, _name: &str) -> Result<()> {
        unneeded("put_back")
    }

    async fn exceptions_named(&mut self, _ids: &[ExceptionId]) -> Result<Vec<Exception>> {
        unneeded("exceptions_named")
    }

    async fn rekey_exceptions(&mut self, _exceptions: &[NewException]) -> Result<()> {
        unneeded("rekey_exceptions")
    }
}
