//! The bans that are made while a load asks.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use futures_util::stream;
use tokio::time::Instant;

use super::load::Campaign;
use crate::{
    api::v1::{
        Channel, Identity, ImportBansRequest,
        admin_service_client::AdminServiceClient,
        import_bans_request::{Header, Part, Row, row::Expiry},
    },
    cli::{
        connection::{Connection, Line},
        local::made_up_number,
    },
};

/// Imports a second; each makes its part of the bans.
pub(super) const IMPORTS: u32 = 10;
/// The made-up numbers from here on are banned; nobody seeds so many, or asks about them.
const BEYOND: u64 = 5_000_000_000;

/// Whoever makes bans.
pub(super) struct Changes {
    client: AdminServiceClient<Line>,
    tenants: Vec<String>,
    /// Bans of one import.
    share: u32,
    /// Place of the next number; drawn, so that another load on the same database makes others.
    next: u64,
}

impl Changes {
    pub(super) async fn open(
        connection: &Connection,
        tenants: Vec<String>,
        rate: u32,
    ) -> anyhow::Result<Self> {
        let mut drawn = [0; 4];
        getrandom::fill(&mut drawn)?;
        Ok(Self {
            client: connection.bans().await?,
            tenants,
            share: rate / IMPORTS,
            next: BEYOND + u64::from(u32::from_be_bytes(drawn)),
        })
    }

    /// Makes bans until the load is over, in one tenant after the other, and tells how many of them
    /// were in force while it was measured.
    pub(super) async fn make(mut self, campaign: Arc<Campaign>) -> anyhow::Result<u64> {
        let pause = Duration::from_secs(1) / IMPORTS;
        let mut made = 0;
        for (turn, tenant) in (0..).zip(self.tenants.clone().iter().cycle()) {
            let due = campaign.start + pause * turn;
            if due.max(Instant::now()) >= campaign.end {
                break;
            }
            tokio::time::sleep_until(due).await;
            self.import(tenant).await?;
            let now = Instant::now();
            if now >= campaign.begin && now < campaign.end {
                made += u64::from(self.share);
            }
        }
        Ok(made)
    }

    async fn import(&mut self, tenant: &str) -> anyhow::Result<()> {
        let header = Part::Header(Header {
            tenant: tenant.to_owned(),
            ..Header::default()
        });
        let places = self.next..self.next + u64::from(self.share);
        self.next = places.end;
        let rows = places.map(|at| Part::Row(row(at)));
        let parts: Vec<_> = std::iter::once(header)
            .chain(rows)
            .map(|part| ImportBansRequest { part: Some(part) })
            .collect();
        let answer = self.client.import_bans(stream::iter(parts)).await?;
        let made = answer.into_inner().created_count;
        ensure!(
            u32::try_from(made).is_ok_and(|made| made == self.share),
            "an import made {made} bans and not {}",
            self.share
        );
        Ok(())
    }
}

fn row(at: u64) -> Row {
    Row {
        targets: vec![Identity {
            value: made_up_number(at),
            ..Identity::default()
        }],
        channels: vec![Channel::Call.into()],
        reason: "made up to measure with".to_owned(),
        expiry: Some(Expiry::Permanent(true)),
        ..Row::default()
    }
}
