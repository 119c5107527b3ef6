//! `bancheck ban list`: the bans that match a filter, page by page.

use clap::Args;

use super::{
    super::{Outcome, Session, output, proto_json},
    filter::Filter,
};
use crate::api::v1::Ban;

/// The most bans that the server puts on one page.
const LARGEST_PAGE: usize = 1_000;
/// List bans, newest first; without a filter, those in force
///
/// Every filter given narrows the list; a filter given several times means any of its values.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Most bans to list; 0 lists them all
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
}

impl List {
    pub(crate) async fn run(self, session: &Session<'_>) -> anyhow::Result<Outcome> {
        let limit = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let mut request = self.filter.request(&session.connection.tenant);
        let mut client = session.connection.bans().await?;
        let (mut bans, mut total): (Vec<Ban>, i32);
        (bans, total) = (Vec::new(), 0);
        while bans.len() < limit {
            // The same on every page, for a page token is bound to its request.
            request.page_size = i32::try_from(limit.min(LARGEST_PAGE))?;
            let page = client.list_bans(request.clone()).await?.into_inner();
            total = page.total_size;
            bans.extend(page.bans);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let more = !request.page_token.is_empty() || bans.len() > limit;
        bans.truncate(limit);
        let items = proto_json::canonical_all(&bans)?;
        session
            .display
            .list(&items, || super::table(&bans), || super::csv(&bans))?;
        if bans.is_empty() {
            output::note("no such ban");
        } else if more {
            output::note(&format!(
                "{} of {total} bans; --limit 0 lists them all",
                bans.len()
            ));
        }
        Ok(Outcome::Done)
    }
}
