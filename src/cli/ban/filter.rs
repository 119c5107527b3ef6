//! Which bans a command is about.

use clap::Args;

use super::super::identity::IdentityFlags;
use crate::api::v1::{
    Channel, DeactivateBansRequest, ExportBansRequest, ListBansRequest,
    ban::{Origin, State},
};

/// What the product's list means by inactive (M22).
const INACTIVE: [State; 3] = [State::Expired, State::Deactivated, State::Scheduled];
const ALL: [State; 4] = [
    State::Active,
    State::Expired,
    State::Deactivated,
    State::Scheduled,
];
const HEADING: &str = "Which bans";

/// The flags that narrow a list of bans.
#[derive(Args)]
pub(super) struct Filter {
    /// State of the bans, repeated or parted by commas [default: active]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_delimiter = ',',
        value_name = "STATE",
        help_heading = HEADING
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
        value_name = "CHANNEL",
        help_heading = HEADING
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
        value_name = "ORIGIN",
        help_heading = HEADING
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
}

impl Filter {
    /// The request for those bans in the order of a list.
    pub(super) fn request(&self, tenant: &str) -> ListBansRequest {
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

    /// The request for all of those bans at one moment.
    pub(super) fn export(&self, tenant: &str) -> ExportBansRequest {
        let ListBansRequest {
            tenant,
            page_size: _,
            page_token: _,
            states,
            channels,
            list_ids,
            origins,
            import_id,
            identity,
            target_ends_with,
            text,
            created_by,
            create_time_from,
            create_time_to,
            expire_before,
            order_by: _,
        } = self.request(tenant);
        ExportBansRequest {
            tenant,
            states,
            channels,
            list_ids,
            origins,
            import_id,
            identity,
            target_ends_with,
            text,
            created_by,
            create_time_from,
            create_time_to,
            expire_before,
        }
    }

    /// The request to end those bans.
    pub(super) fn deactivate(&self, tenant: &str) -> DeactivateBansRequest {
        let ExportBansRequest {
            tenant,
            states,
            channels,
            list_ids,
            origins,
            import_id,
            identity,
            target_ends_with,
            text,
            created_by,
            create_time_from,
            create_time_to,
            expire_before,
        } = self.export(tenant);
        DeactivateBansRequest {
            tenant,
            states,
            channels,
            list_ids,
            origins,
            import_id,
            identity,
            target_ends_with,
            text,
            created_by,
            create_time_from,
            create_time_to,
            expire_before,
            ..DeactivateBansRequest::default()
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
        filter: Filter,
    }

    fn request(line: &str) -> ListBansRequest {
        Line::parse_from(line.split(' ')).filter.request("t")
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
