//! `AccessService`.

use super::{
    Asked,
    convert::{self, access, token},
    no_answer, v1,
};
use crate::{
    desk::{CreateKey, Desk, RevokeKey, RotateKey, SetGrants, USUAL_OVERLAP, Written},
    domain::{
        access::{ApiKey, KeyId, NewKey},
        caller::Reach,
        ids::TenantId,
        refusal::{Reason, Refusal},
    },
};

/// Says over the wire who may ask what.
#[derive(Clone)]
pub struct AccessApi {
    desk: Desk,
}

impl AccessApi {
    /// The service of a desk.
    pub const fn new(desk: Desk) -> Self {
        Self { desk }
    }

    fn message(&self, key: &ApiKey) -> v1::ApiKey {
        access::key_message(key, self.desk.now())
    }

    async fn create(
        &self,
        asked: &Asked,
        request: &v1::CreateApiKeyRequest,
    ) -> Result<v1::CreateApiKeyResponse, Refusal> {
        asked.admit(Reach::Deployment)?;
        let new = self.desk.new_key()?;
        let secret = Secret::of(&new);
        let job = create_key(request, new)?;
        let order = convert::order(asked, &TenantId::deployment(), request)?;
        let written = self.desk.write(order, job).await?;
        let told = secret.told(&written);
        let key = written.answer.api_key.ok_or_else(no_answer)?;
        Ok(v1::CreateApiKeyResponse {
            api_key: Some(self.message(&key)),
            secret: told,
            written_at: token(written.token.as_deref()),
        })
    }

    async fn rotate(
        &self,
        asked: &Asked,
        request: &v1::RotateApiKeyRequest,
    ) -> Result<v1::RotateApiKeyResponse, Refusal> {
        let v1::RotateApiKeyRequest {
            actor: _,
            request_id: _,
            validate_only: _,
            key_id,
            overlap,
            expire_time,
        } = request;
        asked.admit(Reach::Deployment)?;
        let new = self.desk.new_key()?;
        let secret = Secret::of(&new);
        let overlap = match overlap {
            None => USUAL_OVERLAP,
            Some(given) => (*given).try_into().map_err(|_| {
                let message = "a period that is not negative is needed";
                Refusal::of_field(Reason::FieldInvalid, "overlap", message)
            })?,
        };
        let job = RotateKey {
            old: key(key_id)?,
            new,
            overlap,
            expire: convert::instant("expire_time", expire_time.as_ref())?,
        };
        let order = convert::order(asked, &TenantId::deployment(), request)?;
        let written = self.desk.write(order, job).await?;
        let told = secret.told(&written);
        let key = written.answer.api_key.ok_or_else(no_answer)?;
        let replaced = written.answer.replaced_key.ok_or_else(no_answer)?;
        Ok(v1::RotateApiKeyResponse {
            api_key: Some(self.message(&key)),
            secret: told,
            replaced: Some(self.message(&replaced)),
            written_at: token(written.token.as_deref()),
        })
    }

    async fn revoke(
        &self,
        asked: &Asked,
        request: &v1::RevokeApiKeyRequest,
    ) -> Result<v1::RevokeApiKeyResponse, Refusal> {
        let v1::RevokeApiKeyRequest {
            actor: _,
            request_id: _,
            validate_only: _,
            key_id,
        } = request;
        asked.admit(Reach::Deployment)?;
        let job = RevokeKey { id: key(key_id)? };
        let order = convert::order(asked, &TenantId::deployment(), request)?;
        let written = self.desk.write(order, job).await?;
        let key = written.answer.api_key.ok_or_else(no_answer)?;
        Ok(v1::RevokeApiKeyResponse {
            api_key: Some(self.message(&key)),
            written_at: token(written.token.as_deref()),
        })
    }

    async fn keys(
        &self,
        asked: &Asked,
        request: &v1::ListApiKeysRequest,
    ) -> Result<v1::ListApiKeysResponse, Refusal> {
        let v1::ListApiKeysRequest {
            principal,
            page_size,
            page_token,
        } = request;
        asked.admit(Reach::Deployment)?;
        let page = self
            .desk
            .api_keys(principal, *page_size, page_token, asked.deadline)
            .await?;
        Ok(v1::ListApiKeysResponse {
            api_keys: page.items.iter().map(|key| self.message(key)).collect(),
            next_page_token: page.next,
        })
    }

    async fn set_grants(
        &self,
        asked: &Asked,
        request: &v1::SetGrantsRequest,
    ) -> Result<v1::SetGrantsResponse, Refusal> {
        let v1::SetGrantsRequest {
            actor: _,
            request_id: _,
            validate_only: _,
            principal,
            grants,
            etag,
        } = request;
        asked.admit(Reach::Deployment)?;
        let job = SetGrants {
            principal: principal.clone(),
            grants: access::grants(grants)?,
            etag: etag.clone(),
        };
        let order = convert::order(asked, &TenantId::deployment(), request)?;
        let written = self.desk.write(order, job).await?;
        let principal = written.answer.principal.ok_or_else(no_answer)?;
        Ok(v1::SetGrantsResponse {
            principal: Some(access::principal_message(principal)),
            written_at: token(written.token.as_deref()),
        })
    }

    async fn grants(
        &self,
        asked: &Asked,
        request: &v1::ListGrantsRequest,
    ) -> Result<v1::ListGrantsResponse, Refusal> {
        let v1::ListGrantsRequest {
            principal,
            page_size,
            page_token,
        } = request;
        asked.admit(Reach::Deployment)?;
        let page = self
            .desk
            .principals(principal, *page_size, page_token, asked.deadline)
            .await?;
        Ok(v1::ListGrantsResponse {
            principals: page
                .items
                .into_iter()
                .map(access::principal_message)
                .collect(),
            next_page_token: page.next,
        })
    }
}

serve! { AccessApi, v1::access_service_server::AccessService {
    create_api_key: CreateApiKeyRequest => CreateApiKeyResponse by create;
    list_api_keys: ListApiKeysRequest => ListApiKeysResponse by keys;
    rotate_api_key: RotateApiKeyRequest => RotateApiKeyResponse by rotate;
    revoke_api_key: RevokeApiKeyRequest => RevokeApiKeyResponse by revoke;
    set_grants: SetGrantsRequest => SetGrantsResponse by set_grants;
    list_grants: ListGrantsRequest => ListGrantsResponse by grants;
} }

/// The job of making a key.
pub(crate) fn create_key(
    request: &v1::CreateApiKeyRequest,
    new: NewKey,
) -> Result<CreateKey, Refusal> {
    let v1::CreateApiKeyRequest {
        actor: _,
        request_id: _,
        validate_only: _,
        principal,
        display_name,
        expire_time,
        grants,
    } = request;
    Ok(CreateKey {
        new,
        principal: principal.clone(),
        display_name: display_name.clone(),
        expire: convert::instant("expire_time", expire_time.as_ref())?,
        grants: access::grants(grants)?,
    })
}

/// The secret of a key that may or may not come about.
struct Secret {
    id: KeyId,
    text: String,
}

impl Secret {
    fn of(new: &NewKey) -> Self {
        Self {
            id: new.id,
            text: new.text.clone(),
        }
    }

    /// The secret, if this very key was made: not by an earlier try, which told its own, and not for
    /// the sake of trying.
    fn told(self, written: &Written) -> String {
        let made = written.answer.api_key.as_ref();
        let ours = made.is_some_and(|made| made.id == self.id) && written.token.is_some();
        if ours { self.text } else { String::new() }
    }
}

fn key(text: &str) -> Result<KeyId, Refusal> {
    if text.is_empty() {
        return Err(Refusal::required("key_id"));
    }
    KeyId::parse(text).ok_or_else(|| {
        let message = "a key's id is 16 hexadecimal digits, the middle part of the key";
        Refusal::of_field(Reason::FieldInvalid, "key_id", message)
    })
}
