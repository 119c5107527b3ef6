//! `bancheck ban list`: the bans that match a filter, page by page.

use clap::Args;

use super::super::{Outcome, Session, identity::IdentityFlags, output, proto_json};
use crate::api::v1::{
    Ban, Channel, ListBansRequest,
    ban::{Origin, State},
};

/// The most bans that the server puts on one page.
const LARGEST_PAGE: usize = 1_000;
/// What the product's list means by inactive (M22).
const INACTIVE: [State; 3] = [State::Expired, State::Deactivated, State::Scheduled];
const ALL: [State; 4] = [
    State::Active,
    State::Expired,
    State::Deactivated,
    State::Scheduled,
];

/// List bans, newest first; without a filter, those in force
///
/// Every filter given narrows the list; a filter given several times means any of its values.
#[derive(Args)]
pub(crate) struct List {
    /// State of the bans, repeated or parted by commas [default: active]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "STATE"
    )]
    state: Vec<State>,
    /// Bans not in force: expired, deactivated and scheduled; with --state, these as well
    #[arg(long)]
    inactive: bool,
    /// Bans in every state
    #[arg(long, conflicts_with_all = ["state", "inactive"])]
    all: bool,
    /// Channels that the bans hold on, repeated or parted by commas [default: any]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "CHANNEL"
    )]
    channel: Vec<Channel>,
    /// Lists that the bans are recorded in, repeated or parted by commas [default: any, or none]
    #[arg(long = "list", value_delimiter = ',', value_name = "ID")]
    recorded_in: Vec<String>,
    /// How the bans came to be, repeated or parted by commas [default: any]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    origin: Vec<Origin>,
    /// An identity that the bans are on, however it is written [default: any]
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    identity: Option<String>,
    #[command(flatten)]
    reading: IdentityFlags,
    /// Last digits or letters of an identity that the bans are on [default: any]
    #[arg(long, value_name = "ENDING")]
    ends_with: Option<String>,
    /// Text that the reason contains [default: any]
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Who made the bans [default: anyone]
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// Import that made the bans [default: any, or none]
    #[arg(long, value_name = "ID")]
    import_id: Option<String>,
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
        let mut request = self.request(&session.connection.tenant);
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

    fn request(&self, tenant: &str) -> ListBansRequest {
        ListBansRequest {
            tenant: tenant.to_owned(),
            states: self.states().into_iter().map(Into::into).collect(),
            channels: self
                .channel
                .iter()
                .map(|channel| (*channel).into())
                .collect(),
            list_ids: self.recorded_in.clone(),
            origins: self.origin.iter().map(|origin| (*origin).into()).collect(),
            import_id: self.import_id.clone().unwrap_or_default(),
            identity: self
                .identity
                .as_ref()
                .map(|value| self.reading.identity(value)),
            target_ends_with: self.ends_with.clone().unwrap_or_default(),
            text: self.text.clone().unwrap_or_default(),
            created_by: self.created_by.clone().unwrap_or_default(),
            ..ListBansRequest::default()
        }
    }

    /// The states asked for; none leaves the choice to the server, which takes the active ones.
    fn states(&self) -> Vec<State> {
        if self.all {
            return ALL.to_vec();
        }
        let mut states = self.state.clone();
        if self.inactive {
            states.extend(INACTIVE);
        }
        states.sort_unstable();
        states.dedup();
        states
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        list: List,
    }

    fn request(line: &str) -> ListBansRequest {
        Line::parse_from(line.split(' ')).list.request("t")
    }

    #[test]
    fn without_a_state_the_server_lists_those_in_force() {
        assert_eq!(request("list").states, Vec::<i32>::new());
        assert_eq!(request("list --all").states.len(), 4);
    }

    #[test]
    fn active_and_inactive_may_be_picked_together() {
        let both = request("list --inactive --state active,expired");
        assert_eq!(both.states, [1, 2, 3, 4]);
        assert_eq!(request("list --inactive").states, [1, 3, 4]);
    }

    #[test]
    fn an_identity_carries_the_flags_that_say_how_to_read_it() {
        let identity = request("list --identity 601123456 --kind phone-number --region CZ");
        let identity = identity.identity.unwrap();
        assert_eq!((identity.kind, identity.region_hint.as_str()), (4, "CZ"));
    }
}
