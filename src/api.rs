//! The wire: messages in, questions and jobs on, answers out; it only translates.
//!
//! **Invariant:** tonic and prost are known on floors four and five only.

/// A service whose methods each ask one of ours, which answers or refuses.
macro_rules! serve {
    ($service:ty, $contract:path {
        $($name:ident: $request:ident => $answer:ident by $method:ident;)+
    } $(also { $($more:tt)* })?) => {
        #[tonic::async_trait]
        impl $contract for $service {
            $(
                async fn $name(
                    &self,
                    request: tonic::Request<v1::$request>,
                ) -> Result<tonic::Response<v1::$answer>, tonic::Status> {
                    let asked = Asked::of(request.metadata(), crate::api::WRITE_DEADLINE)?;
                    let answer = self.$method(&asked, request.get_ref()).await;
                    answer
                        .map(tonic::Response::new)
                        .map_err(|refusal| crate::api::to_status(&refusal))
                }
            )+
            $($($more)*)?
        }
    };
}

mod admin;
mod bulk;
mod check;
mod config;
mod convert;
mod diagnostic;
mod export;
mod size;
mod spool;
mod status;
mod unknown;
mod watch;

use std::time::Duration;

use tonic::metadata::MetadataMap;

pub use self::{
    admin::AdminApi, check::CheckApi, config::ConfigApi, diagnostic::DiagnosticApi, size::Bounded,
    status::to_status, unknown::Elsewhere, watch::WatchApi,
};
use crate::{
    auth,
    domain::{
        caller::Caller,
        refusal::{Reason, Refusal},
    },
};

/// The messages and services of the contract.
#[expect(
    clippy::pedantic,
    clippy::large_enum_variant,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::too_long_first_doc_paragraph,
    reason = "generated from the proto files"
)]
pub mod v1 {
    tonic::include_proto!("bancheck.v1");
}

/// The contract's descriptors, for reflection and for clients that print messages.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("bancheck_descriptor");

/// How long a check may take when its caller names no deadline.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);
/// How long anything else may.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Who asks, and how long they wait.
struct Asked {
    caller: Caller,
    deadline: Duration,
}

impl Asked {
    fn of(metadata: &MetadataMap, unless_told: Duration) -> Result<Self, tonic::Status> {
        let caller = auth::caller(metadata).map_err(|refusal| to_status(&refusal))?;
        Ok(Self {
            caller,
            deadline: deadline(metadata).unwrap_or(unless_told),
        })
    }
}

fn no_answer() -> Refusal {
    Refusal::new(Reason::Internal, "the write left nothing to answer with")
}

/// The deadline of the `grpc-timeout` header: up to eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_in_every_unit_that_grpc_has() {
        let read = |text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("1H"), Some(Duration::from_hours(1)));
        for bad in ["", "S", "1", "1x", "123456789S", "-1S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
