//! What is served: the routes of each listener, and health.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, extract::State, http::Uri, routing::get};
use futures_util::future::Either;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use tonic::{body::Body, service::Routes};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::Builder as Reflection;
use tower::Service;

use super::{Ending, resident};
use crate::{
    api::{
        AccessApi, AdminApi, Bounded, CheckApi, ConfigApi, DESCRIPTORS, DiagnosticApi, Elsewhere,
        PrivacyApi, Unary, WatchApi,
    },
    checker::Checker,
    desk::Desk,
    feed::Feed,
    telemetry::{Counters, Form},
    views::Views,
    watcher::Watcher,
};

/// How often health is brought up to date.
const BEAT: Duration = Duration::from_millis(250);

const CHECK: &str = "bancheck.v1.CheckService";
const ADMIN: [&str; 6] = [
    "bancheck.v1.AdminService",
    "bancheck.v1.ConfigService",
    "bancheck.v1.DiagnosticService",
    "bancheck.v1.WatchService",
    "bancheck.v1.AccessService",
    "bancheck.v1.PrivacyService",
];

/// Everything that is served, ready to be put on listeners.
#[derive(Clone)]
pub(super) struct Services {
    checker: Arc<Checker>,
    desk: Desk,
    watcher: Watcher,
    pub(super) feed: Feed,
    counters: Arc<Counters>,
    pub(super) views: Views,
    health: HealthReporter,
    /// What both listeners serve: health and reflection.
    standard: Routes,
    ending: Ending,
}

impl Services {
    pub(super) fn new(
        checker: Arc<Checker>,
        desk: Desk,
        watcher: Watcher,
        feed: Feed,
        counters: Arc<Counters>,
        views: Views,
        ending: Ending,
    ) -> anyhow::Result<Self> {
        let health = HealthReporter::new();
        let answers = HealthService::from_health_reporter(health.clone());
        // Once for all listeners: what is reflected takes some megabytes.
        let standard = reflection(Routes::new(HealthServer::new(answers)))
            .context("the contract's descriptors cannot be served")?;
        Ok(Self {
            checker,
            desk,
            watcher,
            feed,
            counters,
            views,
            health,
            standard,
            ending,
        })
    }

    fn with_checks(&self, others: Routes) -> Checks {
        let api = CheckApi::new(Arc::clone(&self.checker), self.ending.close.clone());
        Checks {
            checks: Unary::new(api),
            others,
        }
    }

    fn with_admin(&self, routes: Routes) -> Routes {
        let admin = AdminApi::new(
            self.desk.clone(),
            Arc::clone(&self.checker),
            self.feed.clone(),
        );
        let config = ConfigApi::new(self.desk.clone());
        let access = AccessApi::new(self.desk.clone());
        let diagnostic = DiagnosticApi::new(self.desk.clone(), Arc::clone(&self.checker));
        let privacy = PrivacyApi::new(self.desk.clone(), self.feed.clone());
        let watch = WatchApi::new(self.watcher.clone(), self.desk.clone(), self.feed.clone());
        routes
            .add_service(Bounded::access(access))
            .add_service(Bounded::admin(admin))
            .add_service(Bounded::config(config))
            .add_service(Bounded::diagnostic(diagnostic))
            .add_service(Bounded::privacy(privacy))
            .add_service(Bounded::watch(watch))
    }

    /// What the check listener serves.
    pub(super) fn checks(&self) -> Checks {
        let elsewhere = Elsewhere {
            services: &ADMIN,
            listener: "admin",
        };
        self.with_checks(otherwise(self.standard.clone(), elsewhere))
    }

    /// What the admin listener serves.
    pub(super) fn admin(&self) -> Routes {
        let elsewhere = Elsewhere {
            services: &[CHECK],
            listener: "check",
        };
        otherwise(self.with_admin(self.standard.clone()), elsewhere)
    }

    /// What one listener for everything serves.
    pub(super) fn all(&self) -> Checks {
        let elsewhere = Elsewhere {
            services: &[],
            listener: "",
        };
        self.with_checks(otherwise(self.with_admin(self.standard.clone()), elsewhere))
    }

    /// What plain HTTP serves.
    pub(super) fn http_routes(&self) -> Router {
        Router::new()
            .route(
                "/metrics",
                get(async |State(all): State<Self>, headers: HeaderMap| {
                    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
                    let form = Form::accepted(accept.unwrap_or_default());
                    all.counters.measure(&all.feed, &all.views);
                    let told = all.counters.exposition(form);
                    ([(CONTENT_TYPE, form.media_type())], told)
                }),
            )
            .route("/views", get(resident::views))
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .with_state(self.clone())
    }

    /// Keeps health up to date until the server drains.
    ///
    /// Checks are served once the pod is warm, and from then on whatever becomes of the database;
    /// the desk needs it.
    pub(super) async fn tell_health(self) {
        self.health
            .set_service_status("", ServingStatus::Serving)
            .await;
        self.not_serving().await;
        let mut beat = tokio::time::interval(BEAT);
        let mut was_fresh = true;
        let mut told = None;
        loop {
            tokio::select! {
                () = self.ending.drain.cancelled() => return,
                _ = beat.tick() => {}
            }
            let standing = self.feed.standing();
            let fresh = standing
                .as_ref()
                .is_some_and(|standing| standing.is_fresh(self.feed.clock().read().boot));
            if standing.is_some() && fresh != was_fresh {
                was_fresh = fresh;
                if fresh {
                    tracing::info!("there is news from the database again: checks are FRESH");
                } else {
                    tracing::warn!("no news from the database: checks go on from memory, STALE");
                }
            }
            // Whoever watches is sent each word, also one that says nothing new.
            let now = (self.feed.is_warm(), fresh);
            if told.replace(now) == Some(now) {
                continue;
            }
            let serving = |yes| {
                if yes {
                    ServingStatus::Serving
                } else {
                    ServingStatus::NotServing
                }
            };
            self.health.set_service_status(CHECK, serving(now.0)).await;
            for service in ADMIN {
                self.health
                    .set_service_status(service, serving(fresh))
                    .await;
            }
        }
    }

    /// Ends the streams of those who watch health, which would never end by themselves.
    pub(super) async fn forget_health(&self) {
        let mut health = self.health.clone();
        for service in ["", CHECK].iter().chain(&ADMIN) {
            health.clear_service_status(service).await;
        }
    }

    /// Says that nothing is served any more, or not yet.
    pub(super) async fn not_serving(&self) {
        for service in [CHECK].iter().chain(&ADMIN) {
            self.health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
    }
}

/// Checks, and whatever else a listener serves. They do not pass its router, which would cost as much
/// as to judge them.
#[derive(Clone)]
pub(super) struct Checks {
    checks: Unary,
    others: Routes,
}

impl Service<Request<Body>> for Checks {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        <Unary as Service<Request<Body>>>::Future,
        <Routes as Service<Request<Body>>>::Future,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        ready!(self.checks.poll_ready(context))?;
        Service::<Request<Body>>::poll_ready(&mut self.others, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if of_service(request.uri().path(), CHECK) {
            Either::Left(self.checks.call(request))
        } else {
            Either::Right(self.others.call(request))
        }
    }
}

/// Whether a path is that of a method of this service.
fn of_service(path: &str, service: &str) -> bool {
    let method = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(service));
    method.is_some_and(|method| method.starts_with('/'))
}

fn reflection(routes: Routes) -> Result<Routes, tonic_reflection::server::Error> {
    let build = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that clients of reflection can read the details of a refusal.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes
        .add_service(build().build_v1()?)
        .add_service(build().build_v1alpha()?))
}

fn otherwise(routes: Routes, elsewhere: Elsewhere) -> Routes {
    let all = routes.into_axum_router();
    all.fallback(async move |uri: Uri| elsewhere.answer(uri.path()))
        .into()
}

async fn readyz(State(all): State<Services>) -> (StatusCode, &'static str) {
    if all.ending.drain.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
    } else if all.feed.is_warm() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the database\n",
        )
    }
}
