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
                    let asked = Asked::of(&request, crate::api::WRITE_DEADLINE)?;
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

mod access;
mod admin;
mod bulk;
mod check;
mod config;
mod convert;
mod diagnostic;
mod export;
mod privacy;
mod size;
mod spool;
mod status;
mod unknown;
mod watch;

use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderName};
use tonic::{Request, Status};

pub use self::{
    access::AccessApi,
    admin::AdminApi,
    check::{CheckApi, Unary},
    config::ConfigApi,
    diagnostic::DiagnosticApi,
    privacy::PrivacyApi,
    size::Bounded,
    status::to_status,
    unknown::Elsewhere,
    watch::WatchApi,
};
pub(crate) use self::{access::create_key, convert::access::key_message};
use crate::{
    auth::{Load, Pass},
    domain::{
        caller::Reach,
        fields,
        ids::TenantId,
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

/// Who asks for what, and how long they wait.
struct Asked {
    /// What the gate let it in with.
    pass: Pass,
    deadline: Duration,
}

impl Asked {
    fn of<T>(request: &Request<T>, unless_told: Duration) -> Result<Self, Status> {
        Self::by(request.extensions(), unless_told).map_err(|refusal| to_status(&refusal))
    }

    fn by(extensions: &Extensions, unless_told: Duration) -> Result<Self, Refusal> {
        // The gate gives one to every RPC that has a row in its table.
        let pass = extensions.get::<Pass>().cloned();
        let pass = pass.ok_or_else(|| {
            let message = "this method is open to nobody";
            Refusal::new(Reason::Internal, message)
        })?;
        Ok(Self {
            deadline: pass.deadline.unwrap_or(unless_told),
            pass,
        })
    }

    /// Refuses unless the caller may do there what it asks for.
    fn admit(&self, reach: Reach<'_>) -> Result<(), Refusal> {
        self.pass.admit(reach)
    }

    /// The name that goes into the history.
    fn acting_as(&self, actor: &str, reach: Reach<'_>) -> Result<String, Refusal> {
        self.pass.caller.acting_as(actor, self.pass.scope, reach)
    }

    /// The profile by whose rights on queues is judged.
    fn rights_profile(&self, given: &str, reach: Reach<'_>) -> Result<String, Refusal> {
        self.pass
            .caller
            .rights_profile(given, self.pass.scope, reach)
    }

    /// The tenant that a request is about, where the caller may do there what it asks for.
    fn tenant(&self, tenant: &str) -> Result<TenantId, Refusal> {
        let tenant = fields::tenant(tenant)?;
        self.admit(Reach::Tenant(&tenant))?;
        Ok(tenant)
    }
}

/// How long a request of this kind may take when its caller names no deadline.
pub(crate) const fn default_deadline(load: Load) -> Duration {
    match load {
        Load::Check => CHECK_DEADLINE,
        Load::Desk | Load::Bulk | Load::Stream => WRITE_DEADLINE,
    }
}

fn no_answer() -> Refusal {
    Refusal::new(Reason::Internal, "the write left nothing to answer with")
}

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The deadline of the `grpc-timeout` header: up to eight digits and a unit.
pub(crate) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
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
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            deadline(&headers)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("1H"), Some(Duration::from_hours(1)));
        for bad in ["", "S", "1", "1x", "123456789S", "-1S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
