//! Writing who may ask what: about no tenant, under a lock of its own.

use async_trait::async_trait;

use super::{SqlWork, Touched};
use crate::{
    domain::access::{ApiKey, KeyId, Principal},
    store::{Result, access},
};

/// The part of a deployment's write that is about principals and their keys.
#[async_trait]
pub trait AccessWork {
    /// A principal.
    async fn principal(&mut self, name: &str) -> Result<Option<Principal>>;

    /// How many principals there are.
    async fn count_principals(&mut self) -> Result<i64>;

    /// Writes a principal and its grants.
    async fn set_principal(&mut self, principal: &Principal) -> Result<()>;

    /// A key.
    async fn api_key(&mut self, id: KeyId) -> Result<Option<ApiKey>>;

    /// The keys of a principal, ended ones too.
    async fn api_keys_of(&mut self, principal: &str) -> Result<Vec<ApiKey>>;

    /// Makes a key of a principal that is there.
    async fn add_api_key(&mut self, key: &ApiKey, lock: [u8; 32]) -> Result<()>;

    /// Writes when a key ends, and whether it is revoked.
    async fn end_api_key(&mut self, key: &ApiKey) -> Result<()>;
}

#[async_trait]
impl AccessWork for SqlWork {
    async fn principal(&mut self, name: &str) -> Result<Option<Principal>> {
        access::principal(&mut self.tx, &self.say, name).await
    }

    async fn count_principals(&mut self) -> Result<i64> {
        access::count_principals(&mut self.tx, &self.say).await
    }

    async fn set_principal(&mut self, principal: &Principal) -> Result<()> {
        self.touch(Touched::Access(principal.name.clone()));
        access::set_principal(&mut self.tx, &self.say, principal).await
    }

    async fn api_key(&mut self, id: KeyId) -> Result<Option<ApiKey>> {
        access::api_key(&mut self.tx, &self.say, id).await
    }

    async fn api_keys_of(&mut self, principal: &str) -> Result<Vec<ApiKey>> {
        access::api_keys(&mut self.tx, &self.say, principal, "", i64::MAX).await
    }

    async fn add_api_key(&mut self, key: &ApiKey, lock: [u8; 32]) -> Result<()> {
        self.touch(Touched::Access(key.principal.clone()));
        access::add_api_key(&mut self.tx, &self.say, key, lock, self.made_under).await
    }

    async fn end_api_key(&mut self, key: &ApiKey) -> Result<()> {
        self.touch(Touched::Access(key.principal.clone()));
        access::end_api_key(&mut self.tx, &self.say, key).await
    }
}
