//! How large a message may be, method by method, and what is said of one that is larger.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::Map};
use http::{Request, Response};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service},
    server::NamedService,
};

use super::{
    AccessApi, AdminApi, CheckApi, ConfigApi, DiagnosticApi, PrivacyApi, WatchApi,
    status::in_our_words,
    v1::{
        access_service_server::AccessServiceServer, admin_service_server::AdminServiceServer,
        check_service_server::CheckServiceServer, config_service_server::ConfigServiceServer,
        diagnostic_service_server::DiagnosticServiceServer,
        privacy_service_server::PrivacyServiceServer, watch_service_server::WatchServiceServer,
    },
};

/// The largest message, in bytes; that of checks is smaller, but for a batch.
pub(super) const MAX_MESSAGE: usize = 4 << 20;
pub(super) const MAX_CHECK_MESSAGE: usize = 64 << 10;

/// A service whose messages are bounded; of one that is too large it is said so in our words.
#[derive(Clone)]
pub struct Bounded<S> {
    service: S,
}

macro_rules! bounded {
    ($($name:ident: $server:ident<$api:ident> to $most:ident,)+) => {
        $(impl Bounded<$server<$api>> {
            /// This service with the bound of its messages.
            pub fn $name(api: $api) -> Self {
                Self {
                    service: $server::new(api).max_decoding_message_size($most),
                }
            }
        })+
    };
}

bounded! {
    access: AccessServiceServer<AccessApi> to MAX_MESSAGE,
    admin: AdminServiceServer<AdminApi> to MAX_MESSAGE,
    // Batches, which may be larger, do not come this way.
    check: CheckServiceServer<CheckApi> to MAX_CHECK_MESSAGE,
    config: ConfigServiceServer<ConfigApi> to MAX_MESSAGE,
    diagnostic: DiagnosticServiceServer<DiagnosticApi> to MAX_MESSAGE,
    privacy: PrivacyServiceServer<PrivacyApi> to MAX_MESSAGE,
    watch: WatchServiceServer<WatchApi> to MAX_MESSAGE,
}

type Answer = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Map<BoxFuture<Response<Body>, Infallible>, fn(Answer) -> Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.service.call(request).map(reworded)
    }
}

impl<S: NamedService> NamedService for Bounded<S> {
    const NAME: &'static str = S::NAME;
}

/// An answer as it is, but for a refusal of the transport's that is ours to word.
fn reworded(answer: Answer) -> Answer {
    let mut answer = answer?;
    // The head of an answer tells a status only where nothing else follows.
    let code = answer.headers().get(Status::GRPC_STATUS);
    if code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::OutOfRange)
        && let Some(status) = Status::from_header_map(answer.headers())
    {
        // What cannot be told otherwise stays as it was.
        let _ = in_our_words(status).add_header(answer.headers_mut());
    }
    Ok(answer)
}
