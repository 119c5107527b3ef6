//! What the database holds of each tenant, in 128 bits, and whether pods hold the same.

mod pod;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use serde::Serialize;

use self::pod::{Held, Pod};
use crate::{
    cli::{
        Outcome,
        output::{Display, Sheet, note},
    },
    config::{Config, Flags},
    domain::{
        digest::Digest,
        ids::TenantId,
        keys::{MasterKey, TenantKey},
        record::BanRecord,
        revision::Revision,
        view::TenantView,
    },
    store::{self, LoadSink, LoadedTenant, Store},
};

/// How often a pod is asked before it counts as one that is elsewhere, and the pause between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// What to digest, and with whom to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct DigestFlags {
    /// Metrics address of a pod to compare with, such as `http://10.1.2.3:9090` (repeatable)
    #[arg(long, value_name = "URL", num_args = 1.., value_parser = Pod::at)]
    against: Vec<Pod>,
    #[command(flatten)]
    pub(super) server: Flags,
}

/// A tenant as the database holds it, read in one snapshot.
#[derive(Debug)]
struct Kept {
    revision: Revision,
    digest: Digest,
    keys: usize,
}

/// How a pod's view compares with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// They hold the same.
    Agrees,
    /// At one revision they hold different things.
    Differs,
    /// One has heard of changes that the other has not.
    Elsewhere,
    /// The pod digests in another way, being of another version.
    Incomparable,
    /// The pod has not loaded the tenant.
    NotInMemory,
    /// The pod has a tenant that the database has not.
    NotInDatabase,
}

impl Verdict {
    fn of(kept: &Kept, held: &Held) -> Self {
        let digest = kept.digest.to_string();
        let version = |digest: &str| digest.split(':').next().map(str::to_owned);
        // Between its own revision and the pod's, nothing of this tenant has changed.
        let settled = held.view_revision <= kept.revision.0 && kept.revision.0 <= held.revision;
        if held.digest == digest {
            Self::Agrees
        } else if version(&held.digest) != version(&digest) {
            Self::Incomparable
        } else if settled {
            Self::Differs
        } else {
            Self::Elsewhere
        }
    }

    /// Whether to ask again could change it.
    const fn may_pass(self) -> bool {
        matches!(self, Self::Differs | Self::Elsewhere | Self::NotInDatabase)
    }

    /// Whether the pod may answer so.
    const fn is_good(self) -> bool {
        matches!(self, Self::Agrees | Self::NotInMemory)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Differs => "differs",
            Self::Elsewhere => "at another revision",
            Self::Incomparable => "digests in another way",
            Self::NotInMemory => "not in memory",
            Self::NotInDatabase => "not in the database",
        }
    }
}

/// A line of the answer.
#[derive(Serialize)]
struct Line {
    tenant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
}

impl Line {
    fn of(tenant: &TenantId, kept: Option<&Kept>) -> Self {
        Self {
            tenant: tenant.to_string(),
            revision: kept.map(|kept| kept.revision.0),
            digest: kept.map(|kept| kept.digest.to_string()),
            keys: kept.map(|kept| kept.keys),
            pod: None,
            pod_revision: None,
            pod_digest: None,
            verdict: None,
        }
    }
}

type AllKept = BTreeMap<TenantId, Kept>;

/// Digests what is in the database, and compares it with pods, if any are named.
pub(super) async fn digest(
    flags: &DigestFlags,
    config: &Config,
    only: Option<&str>,
    display: &Display,
) -> anyhow::Result<Outcome> {
    let only = only.map(|id| TenantId::parse(id).context("a tenant id is like `default`"));
    let only = only.transpose()?;
    ensure!(config.place.is_there(), "there is no database yet");
    let store = store::open(&config.place).await?;
    let kept = read(&*store, only.as_ref()).await?;
    if let Some(only) = &only {
        ensure!(kept.contains_key(only), "there is no tenant {only}");
    }

    let mut lines: Vec<Line> = Vec::new();
    let mut outcome = Outcome::Done;
    if flags.against.is_empty() {
        lines.extend(
            kept.iter()
                .map(|(tenant, kept)| Line::of(tenant, Some(kept))),
        );
    }
    for pod in &flags.against {
        match compare(&*store, pod, only.as_ref()).await {
            Ok(compared) => {
                if !compared.iter().all(|(verdict, _)| verdict.is_good()) {
                    outcome = Outcome::Failed;
                }
                lines.extend(compared.into_iter().map(|(_, line)| line));
            }
            Err(error) => {
                note(&format!("error: {error:#}"));
                outcome = Outcome::Failed;
            }
        }
    }
    let table = || sheet(&lines, !flags.against.is_empty());
    display.list(&lines, table, table)?;
    Ok(outcome)
}

/// Reads tenants, each in a snapshot of its own, by the road that a pod's load takes.
async fn read(store: &dyn Store, only: Option<&TenantId>) -> anyhow::Result<AllKept> {
    let directory = store.directory().await?;
    let mut all = AllKept::new();
    for (tenant, _) in directory.tenants {
        if only.is_none_or(|only| *only == tenant)
            && let Some(kept) = read_one(store, &tenant).await?
        {
            all.insert(tenant, kept);
        }
    }
    Ok(all)
}

async fn read_one(store: &dyn Store, tenant: &TenantId) -> anyhow::Result<Option<Kept>> {
    // Nobody is looked up in this view, and what is digested is digests already: any key does.
    let mut loading = Loading {
        key: MasterKey::new(&[0; 32]).tenant(tenant),
        view: None,
    };
    let found = store.load(tenant, &mut loading).await?;
    Ok(loading.view.filter(|_| found).map(|view| Kept {
        revision: view.revision,
        digest: view.digest(),
        keys: view.len(),
    }))
}

struct Loading {
    key: TenantKey,
    view: Option<TenantView>,
}

impl LoadSink for Loading {
    fn open(&mut self, loaded: LoadedTenant) {
        let LoadedTenant {
            head,
            tenant,
            lists,
            queues,
            exceptions,
        } = loaded;
        let view = TenantView::empty(head.revision, tenant, self.key.clone());
        let view = view.with_lists(lists).with_queues(queues);
        self.view = Some(view.with_exceptions(&exceptions));
    }

    fn page(&mut self, bans: &[BanRecord]) {
        if let Some(view) = &mut self.view {
            view.file(bans);
        }
    }
}

/// Compares a pod with the database, and both anew while either has heard of more.
async fn compare(
    store: &dyn Store,
    pod: &Pod,
    only: Option<&TenantId>,
) -> anyhow::Result<Vec<(Verdict, Line)>> {
    let mut kept = read(store, only).await?;
    for _ in 1..TRIES {
        let compared = judge(pod, &kept, &pod.views(only).await?);
        if !compared.iter().any(|(verdict, _)| verdict.may_pass()) {
            return Ok(compared);
        }
        tokio::time::sleep(PAUSE).await;
        // Of those that agree what was read is as good as ever, and a pod that lags comes to it.
        for (verdict, line) in &compared {
            let lags = *verdict == Verdict::Elsewhere && line.pod_revision < line.revision;
            if verdict.may_pass()
                && !lags
                && let Some(tenant) = TenantId::parse(&line.tenant)
            {
                match read_one(store, &tenant).await? {
                    Some(found) => kept.insert(tenant, found),
                    None => kept.remove(&tenant),
                };
            }
        }
    }
    Ok(judge(pod, &kept, &pod.views(only).await?))
}

fn judge(pod: &Pod, kept: &AllKept, held: &[Held]) -> Vec<(Verdict, Line)> {
    let mut held: BTreeMap<_, _> = held
        .iter()
        .filter_map(|held| Some((TenantId::parse(&held.tenant)?, held)))
        .collect();
    let mut compared = Vec::new();
    for (tenant, kept) in kept {
        let held = held.remove(tenant);
        let verdict = held.map_or(Verdict::NotInMemory, |held| Verdict::of(kept, held));
        compared.push((verdict, line(pod, tenant, Some(kept), held, verdict)));
    }
    for (tenant, held) in held {
        let verdict = Verdict::NotInDatabase;
        compared.push((verdict, line(pod, &tenant, None, Some(held), verdict)));
    }
    compared
}

fn line(
    pod: &Pod,
    tenant: &TenantId,
    kept: Option<&Kept>,
    held: Option<&Held>,
    verdict: Verdict,
) -> Line {
    Line {
        pod: Some(pod.to_string()),
        pod_revision: held.map(Held::at),
        pod_digest: held.map(|held| held.digest.clone()),
        verdict: Some(verdict.words()),
        ..Line::of(tenant, kept)
    }
}

fn sheet(lines: &[Line], compared: bool) -> Sheet {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let kept = |line: &Line| {
        [
            line.tenant.clone(),
            number(line.revision),
            line.digest.clone().unwrap_or_default(),
            number(line.keys.map(|keys| keys as u64)),
        ]
    };
    if !compared {
        return Sheet::new(
            ["tenant", "revision", "digest", "keys"],
            lines.iter().map(kept),
        );
    }
    let row = |line: &Line| {
        let [tenant, revision, digest, keys] = kept(line);
        let pod = line.pod.clone().unwrap_or_default();
        let verdict = line.verdict.unwrap_or_default().to_owned();
        let (at, held) = (
            number(line.pod_revision),
            line.pod_digest.clone().unwrap_or_default(),
        );
        [tenant, revision, digest, keys, pod, verdict, at, held]
    };
    Sheet::new(
        [
            "tenant",
            "revision",
            "digest",
            "keys",
            "pod",
            "verdict",
            "pod_revision",
            "pod_digest",
        ],
        lines.iter().map(row),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::VERSION;

    fn verdict(kept_at: u64, pod_at: u64, view_at: u64, digest: &str) -> Verdict {
        let kept = Kept {
            revision: Revision(kept_at),
            digest: Digest::default(),
            keys: 0,
        };
        let held = Held {
            tenant: "t".to_owned(),
            revision: pod_at,
            view_revision: view_at,
            digest: digest.to_owned(),
        };
        Verdict::of(&kept, &held)
    }

    #[test]
    fn a_pod_disagrees_only_where_both_speak_of_one_revision() {
        let same = Digest::default().to_string();
        let other = &format!("v{VERSION}:00000000000000000000000000000001");
        let newer = format!("v{}:00", VERSION + 1);
        assert_eq!(verdict(9, 9, 3, &same), Verdict::Agrees);
        assert_eq!(verdict(9, 5, 3, &same), Verdict::Agrees, "of others' news");
        assert_eq!(verdict(9, 9, 3, other), Verdict::Differs);
        assert_eq!(verdict(9, 12, 9, other), Verdict::Differs);
        assert_eq!(verdict(9, 8, 3, other), Verdict::Elsewhere, "the pod lags");
        assert_eq!(
            verdict(9, 12, 10, other),
            Verdict::Elsewhere,
            "the pod is ahead"
        );
        assert_eq!(verdict(9, 9, 3, &newer), Verdict::Incomparable);
    }
}
