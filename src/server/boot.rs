//! Before the first request: the key, the lock, the schema, the first tenant.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal as on_signal};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{ADMIN_TOKEN, Config, key_text, new_key, read_key},
    desk::{Desk, Order, Seat, SettingsEdit},
    domain::{
        ids::TenantId,
        keys::{Fingerprints, MasterKey},
    },
    store::{self, Place, Store, StoreError},
    teeth::{Bug, bites},
};

/// The tenant an empty embedded store begins with.
const FIRST_TENANT: &str = "default";
/// The file in an embedded store's folder that holds its master key.
const OWN_KEYS: &str = "master.key";
/// How long a database may be silent at the start before that is worth a word.
const SILENCE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts to reach a database.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Locks an embedded store's folder, which is made if need be: one server at a time.
pub fn data_lock(place: &Place) -> anyhow::Result<Option<File>> {
    let Place::Sqlite(folder) = place else {
        return Ok(None);
    };
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
        .with_context(|| format!("cannot write to {shown}"))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another bancheck is using {shown}; ask it, or end it first");
    }
    Ok(Some(lock))
}

/// The store, whose schema may not be there yet.
pub(super) async fn store(place: &Place) -> anyhow::Result<Arc<dyn Store>> {
    let opened = store::open(place).await;
    opened.context("the store was not opened")
}

/// The ring of master keys: as given, or an embedded store's own, made at its first start.
pub fn master_key(config: &Config) -> anyhow::Result<MasterKey> {
    let others = &config.other_master_keys;
    if let Some(key) = config.master_key {
        return Ok(MasterKey::ring(&key, others));
    }
    match &config.place {
        Place::Postgres { .. } => bail!(
            "a master key is needed, the same on every pod: make one with `bancheck key generate` \
             and set BANCHECK_MASTER_KEY or BANCHECK_MASTER_KEY_FILE"
        ),
        Place::Sqlite(folder) => {
            let (key, own) = own_keys(&folder.join(OWN_KEYS))?;
            Ok(MasterKey::ring(&key, &[&own, &others[..]].concat()))
        }
    }
}

/// Gives an embedded store's own file a new key, which is the current one from here on; where one
/// takes another's place already, it goes on with that. `false` = the key is no file's.
pub fn new_own_key(config: &Config) -> anyhow::Result<bool> {
    let Some(file) = own_file(config) else {
        return Ok(false);
    };
    let (key, others) = own_keys(&file)?;
    if others.is_empty() {
        write_secret(&file, &format!("{}\n{}", new_key()?, key_text(&key)))?;
    }
    Ok(true)
}

/// Takes all but the current key out of an embedded store's own file, and tells whether there was one.
pub fn forget_own_keys(config: &Config) -> anyhow::Result<bool> {
    let Some(file) = own_file(config) else {
        return Ok(false);
    };
    let (key, others) = own_keys(&file)?;
    if others.is_empty() {
        return Ok(false);
    }
    write_secret(&file, &key_text(&key))?;
    Ok(true)
}

fn own_file(config: &Config) -> Option<PathBuf> {
    match (&config.place, config.master_key) {
        (Place::Sqlite(folder), None) => Some(folder.join(OWN_KEYS)),
        _ => None,
    }
}

/// The keys in an embedded store's own file, one to a line: the current one, then those that it takes
/// the place of.
fn own_keys(file: &Path) -> anyhow::Result<([u8; 32], Vec<[u8; 32]>)> {
    let shown = file.display();
    // A link to what is not there yet is something.
    let found = file.symlink_metadata();
    if found.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        write_secret(file, &new_key()?)?;
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let mut keys = text.trim().lines().map(read_key);
    let first = keys.next().unwrap_or_else(|| read_key(""));
    first
        .and_then(|key| Ok((key, keys.collect::<anyhow::Result<_>>()?)))
        .with_context(|| shown.to_string())
}

/// Writes a secret for its owner alone; after a crash it is there whole or not at all.
fn write_secret(file: &Path, secret: &str) -> anyhow::Result<()> {
    let shown = || format!("cannot write {}", file.display());
    let beside = file.with_added_extension("new");
    // One left behind by a crash may be of other rights.
    let _ = std::fs::remove_file(&beside);
    let made = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&beside);
    let mut made = made.with_context(shown)?;
    writeln!(made, "{secret}").with_context(shown)?;
    made.sync_all().with_context(shown)?;
    std::fs::rename(&beside, file).with_context(shown)?;
    if let Some(folder) = file.parent() {
        let kept = File::open(folder).and_then(|folder| folder.sync_all());
        kept.with_context(shown)?;
    }
    Ok(())
}

/// Brings the schema up to date and compares keys, however long the database takes to appear;
/// `false` = the server is ending.
pub(super) async fn prepare(
    store: &dyn Store,
    keys: &MasterKey,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    let mut pause = Duration::from_millis(50);
    let mut told = false;
    loop {
        let attempt = async {
            store.migrate().await?;
            if bites(Bug::WrongIdentityKey) {
                return Ok(());
            }
            let keys = keys.fingerprints();
            store.check_key(&keys).await?;
            let others = keys.others.iter().map(|one| Fingerprints::short(one));
            tracing::info!(
                master_key = Fingerprints::short(&keys.current),
                others = others.collect::<Vec<_>>().join(","),
                "files under this master key, and recognises others"
            );
            Ok(())
        };
        let mut attempt = pin!(attempt);
        let quick = tokio::time::timeout(SILENCE, &mut attempt).await;
        if quick.is_err() && !std::mem::replace(&mut told, true) {
            tracing::warn!("the database does not answer; waiting for it, NOT_SERVING meanwhile");
        }
        let ended = match quick {
            Ok(ended) => ended,
            Err(_) => attempt.await,
        };
        match ended {
            Ok(()) => return Ok(true),
            Err(error) if !is_passing(&error) => return Err(error.into()),
            Err(error) => {
                let error = error.with_causes();
                tracing::warn!(error, "the database cannot be reached yet; trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether waiting may help.
fn is_passing(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(_) | StoreError::Following => true,
        StoreError::Migration(_)
        | StoreError::Outgrown(_)
        | StoreError::Taken
        | StoreError::Alike
        | StoreError::Corrupt(_)
        | StoreError::WrongKey
        | StoreError::KeyWanting(_)
        | StoreError::KeyUnheard(..)
        | StoreError::NotOurRole(_) => false,
    }
}

/// Makes what an embedded store begins with: a tenant, and a key for whoever has its folder.
pub(super) async fn first_start(desk: Desk, folder: PathBuf) {
    desk.ready().await;
    first_tenant(&desk).await;
    if let Err(error) = admin_token(&desk, &folder).await {
        let error = format!("{error:#}");
        tracing::error!(error, "the folder's own key could not be made");
    }
}

/// Sees to it that the folder holds a key to everything: to have the folder is to have the bans.
async fn admin_token(desk: &Desk, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(ADMIN_TOKEN);
    let held = std::fs::read_to_string(&file);
    if held.is_ok_and(|text| desk.is_key_to_everything(text.trim())) {
        return Ok(());
    }
    let new = desk.new_key()?;
    // First the file: a key that nobody has is of no use, and one that opens nothing is made anew.
    write_secret(&file, &new.text)?;
    desk.write(own_order(TenantId::deployment()), Seat { new })
        .await?;
    tracing::info!(file = %file.display(), "made the folder's own key");
    Ok(())
}

/// Makes the first tenant of an embedded store that has none.
async fn first_tenant(desk: &Desk) {
    if desk.has_tenants() {
        return;
    }
    let Some(tenant) = TenantId::parse(FIRST_TENANT) else {
        return;
    };
    let order = own_order(tenant);
    match desk.create_tenant(order, SettingsEdit::default()).await {
        Ok(_) => tracing::info!(tenant = FIRST_TENANT, "made the first tenant"),
        Err(refusal) => tracing::error!(%refusal, "the first tenant could not be made"),
    }
}

/// What comes along with a write of the server's own.
fn own_order(tenant: TenantId) -> Order {
    Order {
        tenant,
        actor: "bancheck".to_owned(),
        request_id: String::new(),
        validate_only: false,
        body: Vec::new(),
        deadline: Duration::from_secs(30),
    }
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn signal() -> anyhow::Result<()> {
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
