//! A key made straight in the database, by whoever has it and the master key: how the first one comes
//! about on Postgres.

use anyhow::{Context, bail};

use crate::{
    api::{create_key, key_message, v1},
    config::{Config, Effective, Flags},
    desk::{Circumstances, Failure, Job, new_key},
    domain::{clock::Clock as _, ids::TenantId, revision::Nonce},
    feed::PodClock,
    server::master_key,
    store::{self, Begun, Intent, Place},
};

/// What the environment says of a database of our own; `None` = the store is embedded, and a server
/// has it.
pub(in crate::cli) fn own_database() -> anyhow::Result<Option<Config>> {
    let effective = Effective::gather(&Flags::default())?;
    match effective.place()? {
        Place::Sqlite(_) => Ok(None),
        Place::Postgres { .. } => Ok(Some(effective.config()?)),
    }
}

/// Makes a key in a database, and rings for the pods to hear of it.
pub(in crate::cli) async fn first_key(
    config: &Config,
    request: v1::CreateApiKeyRequest,
) -> anyhow::Result<v1::CreateApiKeyResponse> {
    let keys = master_key(config)?;
    let store = store::open(&config.place).await?;
    store.migrate().await?;
    store.check_key(&keys.fingerprints()).await?;
    let now = PodClock::default().read().now;
    let actor = if request.actor.is_empty() {
        "bancheck key add".to_owned()
    } else {
        request.actor.clone()
    };
    let about = Circumstances {
        now,
        tenant: TenantId::deployment(),
        actor,
        keys: keys.clone(),
    };
    let mut nonce = [0; 4];
    getrandom::fill(&mut nonce)?;
    let intent = Intent {
        tenant: TenantId::deployment(),
        rpc: "CreateApiKey",
        request_id: uuid::Uuid::now_v7().to_string(),
        body: [0; 16],
        body_elsewhere: Vec::new(),
        nonce: Nonce(u32::from_be_bytes(nonce)),
        now,
    };
    let Begun::Open(mut work) = store.begin(&intent).await? else {
        bail!("the database does not take the write");
    };
    let new = new_key(&keys)?;
    let secret = new.text.clone();
    let job = create_key(&request, new)?;
    let answer = match job.run(&mut *work, &about).await {
        Ok(answer) => answer,
        Err(Failure::Refused(refusal)) => return Err(refusal.into()),
        Err(Failure::Store(error)) => return Err(error.into()),
    };
    let key = answer.api_key.as_ref().context("no key was made")?;
    let message = key_message(key, now);
    let mut made = v1::CreateApiKeyResponse {
        api_key: Some(message),
        ..v1::CreateApiKeyResponse::default()
    };
    if request.validate_only {
        work.abandon().await?;
        return Ok(made);
    }
    work.commit(&answer).await?;
    made.secret = secret;
    // A bell that is lost costs half a second.
    let _ = store.ring().await;
    Ok(made)
}
