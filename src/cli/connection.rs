//! Whom to ask, with which credential, and for how long to wait.

mod credential;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{ArgMatches, Args, parser::ValueSource};
use thiserror::Error;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use tonic_health::pb::health_client::HealthClient;

pub(crate) use self::credential::Credential;
use self::credential::{Lent, bearer};
use super::output;
use crate::{
    api::v1::{
        access_service_client::AccessServiceClient, admin_service_client::AdminServiceClient,
        check_service_client::CheckServiceClient, config_service_client::ConfigServiceClient,
        diagnostic_service_client::DiagnosticServiceClient,
        privacy_service_client::PrivacyServiceClient, watch_service_client::WatchServiceClient,
    },
    config::{Effective, Flags, Profile, Profiles},
};

/// The largest answer taken: a page of 1000 bans of 8 long targets each is more than gRPC's usual
/// 4 MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The longest deadline that may be asked for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

const HEADING: &str = "Connection";

/// The flags that say how to reach the server; every command that asks one takes them.
#[derive(Args)]
pub(crate) struct Connection {
    /// Profile to take the flags below from where neither they nor their variables are set [default:
    /// the one that the file of profiles names as its `default`, else none]
    #[arg(long, global = true, env = "BANCHECK_PROFILE", value_name = "NAME", help_heading = HEADING)]
    pub(crate) profile: Option<String>,
    /// File of profiles, in TOML [default: bancheck/profiles.toml in `$XDG_CONFIG_HOME`
    /// or ~/.config]
    #[arg(long, global = true, env = "BANCHECK_PROFILES", value_name = "FILE", help_heading = HEADING)]
    pub(crate) profiles: Option<PathBuf>,
    /// Address of the check listener, which `check` asks
    #[arg(long, global = true, env = "BANCHECK_ENDPOINT", value_name = "URL", help_heading = HEADING)]
    #[arg(default_value = "http://127.0.0.1:50051", value_parser = address)]
    endpoint: Endpoint,
    /// Address of the admin listener, which every other command asks
    #[arg(long, global = true, env = "BANCHECK_ADMIN_ENDPOINT", value_name = "URL", help_heading = HEADING)]
    #[arg(default_value = "http://127.0.0.1:50052", value_parser = address)]
    admin_endpoint: Endpoint,
    /// Credential, sent as `authorization: Bearer TOKEN`; other users of this machine can see it
    /// among its processes, so prefer the variable [default: to a server on this machine, the key in
    /// the data directory of an embedded store, if there is one; else none]
    #[arg(long, global = true, env = "BANCHECK_TOKEN", value_name = "TOKEN", help_heading = HEADING)]
    #[arg(hide_env_values = true)]
    token: Option<String>,
    /// File of the roots that the server's certificate is verified by, in PEM, where the address is
    /// https:// [default: those of the web]
    #[arg(long, global = true, env = "BANCHECK_CA", value_name = "FILE", help_heading = HEADING)]
    ca: Option<PathBuf>,
    /// Name that the server's certificate has to bear [default: the host of the address]
    #[arg(long, global = true, env = "BANCHECK_SERVER_NAME", value_name = "NAME", help_heading = HEADING)]
    server_name: Option<String>,
    /// File of the certificate to show to the server, in PEM [default: none]
    #[arg(long, global = true, env = "BANCHECK_CLIENT_CERT", value_name = "FILE", help_heading = HEADING)]
    #[arg(requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// File of that certificate's private key, in PEM [default: none; needed with it]
    #[arg(long, global = true, env = "BANCHECK_CLIENT_KEY", value_name = "FILE", help_heading = HEADING)]
    client_key: Option<PathBuf>,
    /// Tenant that the command is about
    #[arg(long, global = true, env = "BANCHECK_TENANT", value_name = "ID", help_heading = HEADING)]
    #[arg(default_value = "default")]
    pub(crate) tenant: String,
    /// Longest to wait for each answer, such as `500ms`, `10s` or `2m`; at most an hour
    #[arg(long, global = true, value_name = "TIME", help_heading = HEADING)]
    #[arg(default_value = "10s", value_parser = wait)]
    timeout: Duration,
    /// What a profile says of the credential.
    #[arg(skip)]
    lent: Option<Lent>,
}

/// The two places where a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Where checks are answered.
    Check,
    /// Where everything else is.
    Admin,
}

/// No server answered at the address.
#[derive(Debug, Error)]
#[error("no server answers at {address}")]
pub(crate) struct Unreachable {
    /// The address tried.
    pub(crate) address: String,
    /// The flag that names another.
    pub(crate) flag: &'static str,
    /// The variable that names another.
    pub(crate) variable: &'static str,
    #[source]
    cause: tonic::transport::Error,
}

/// A channel on which every request carries the credential and the deadline.
pub(crate) type Line = InterceptedService<Channel, Envelope>;

/// What is written on the outside of every request.
#[derive(Clone)]
pub(crate) struct Envelope {
    authorization: Option<MetadataValue<Ascii>>,
    /// None for streams, which take as long as they take.
    deadline: Option<Duration>,
}

impl Envelope {
    fn without_deadline(self) -> Self {
        Self {
            deadline: None,
            ..self
        }
    }
}

impl Interceptor for Envelope {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        if let Some(authorization) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// Takes from the profile what neither a flag nor the environment says.
    pub(crate) fn fill_in(&mut self, matches: &ArgMatches) -> anyhow::Result<()> {
        let profiles = Profiles::read(self.profiles.as_deref())?;
        if let Some(warning) = &profiles.warning {
            output::note(warning);
        }
        let Some((name, profile)) = profiles.choose(self.profile.as_deref())? else {
            return Ok(());
        };
        let said = |flag: &str| {
            let source = matches.value_source(flag);
            source.is_some_and(|source| source != ValueSource::DefaultValue)
        };
        self.take(name, profile, said)
            .with_context(|| format!("profile `{name}` in {}", profiles.path.display()))
    }

    fn take(
        &mut self,
        name: &str,
        profile: &Profile,
        said: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let read = |text: &str| address(text).map_err(|error| anyhow::anyhow!("`{text}`: {error}"));
        // A credential goes where its profile says, and nowhere else.
        let stays = |given: &Option<String>, flag| given.is_none() || !said(flag);
        if let Some(token) = profile.credential()? {
            self.lent = Some(Lent {
                token,
                profile: name.to_owned(),
                to_check: stays(&profile.endpoint, "endpoint"),
                to_admin: stays(&profile.admin_endpoint, "admin_endpoint"),
            });
        }
        let Profile {
            endpoint,
            admin_endpoint,
            tenant,
            token: _,
            token_file: _,
            ca,
            server_name,
            client_cert,
            client_key,
        } = profile;
        if let (Some(text), false) = (endpoint, said("endpoint")) {
            self.endpoint = read(text).context("endpoint")?;
        }
        if let (Some(text), false) = (admin_endpoint, said("admin_endpoint")) {
            self.admin_endpoint = read(text).context("admin_endpoint")?;
        }
        if let (Some(tenant), false) = (tenant, said("tenant")) {
            self.tenant.clone_from(tenant);
        }
        if let (Some(ca), None) = (ca, &self.ca) {
            self.ca = Some(ca.clone());
        }
        if self.server_name.is_none() {
            self.server_name.clone_from(server_name);
        }
        if self.client_cert.is_none() {
            self.client_cert.clone_from(client_cert);
            self.client_key.clone_from(client_key);
        }
        Ok(())
    }

    /// A client of the check listener.
    pub(crate) async fn checks(&self) -> anyhow::Result<CheckServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Check).await?;
        Ok(CheckServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the check listener, for questions one after the other on one stream.
    pub(crate) async fn check_streams(&self) -> anyhow::Result<CheckServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Check).await?;
        let envelope = envelope.without_deadline();
        Ok(CheckServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of either listener, for its health.
    pub(crate) async fn health(&self, listener: Listener) -> anyhow::Result<HealthClient<Line>> {
        let (channel, envelope) = self.line(listener).await?;
        Ok(HealthClient::with_interceptor(channel, envelope))
    }

    /// A client of the admin listener, for bans.
    pub(crate) async fn bans(&self) -> anyhow::Result<AdminServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        Ok(AdminServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the admin listener, for streams of bans: they take as long as they take.
    pub(crate) async fn streams(&self) -> anyhow::Result<AdminServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        let envelope = envelope.without_deadline();
        Ok(AdminServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the admin listener, for what becomes of bans.
    pub(crate) async fn watches(&self) -> anyhow::Result<WatchServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        let envelope = envelope.without_deadline();
        Ok(WatchServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the admin listener, for what is kept of persons.
    pub(crate) async fn privacy(&self) -> anyhow::Result<PrivacyServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        Ok(PrivacyServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the admin listener, for tenants and lists.
    pub(crate) async fn settings(&self) -> anyhow::Result<ConfigServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        Ok(ConfigServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the admin listener, for questions about the service itself.
    pub(crate) async fn diagnostics(&self) -> anyhow::Result<DiagnosticServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        Ok(DiagnosticServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// A client of the admin listener, for principals and keys.
    pub(crate) async fn access(&self) -> anyhow::Result<AccessServiceClient<Line>> {
        let (channel, envelope) = self.line(Listener::Admin).await?;
        Ok(AccessServiceClient::with_interceptor(channel, envelope)
            .max_decoding_message_size(LARGEST_ANSWER))
    }

    /// Whether a credential was given.
    pub(crate) fn has_credential(&self) -> bool {
        matches!(
            self.credential(Listener::Admin),
            Credential::Given(_) | Credential::Lent(..)
        )
    }

    /// What is shown to a listener as the credential.
    pub(crate) fn credential(&self, to: Listener) -> Credential {
        match (self.token.as_deref(), &self.lent) {
            (Some(token), _) if !token.is_empty() => Credential::Given(token.to_owned()),
            (_, Some(lent)) if lent.goes(to) => {
                Credential::Lent(lent.token.clone(), lent.profile.clone())
            }
            _ if is_here(self.endpoint(to)) => {
                own_key().map_or(Credential::None, Credential::OfTheFolder)
            }
            _ => Credential::None,
        }
    }

    /// The certificate that is shown where TLS is spoken.
    pub(crate) fn certificate(&self) -> Option<&Path> {
        self.client_cert.as_deref()
    }

    /// The longest wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The address of a listener.
    pub(crate) fn endpoint(&self, of: Listener) -> &Endpoint {
        match of {
            Listener::Check => &self.endpoint,
            Listener::Admin => &self.admin_endpoint,
        }
    }

    /// Connects at once: an address where nobody answers deserves its own error, told apart from
    /// a server that answers that its store does not.
    async fn line(&self, to: Listener) -> anyhow::Result<(Channel, Envelope)> {
        let mut endpoint = self.endpoint(to).clone().connect_timeout(self.timeout);
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(self.tls()?)?;
        }
        let address = endpoint.uri().to_string().trim_end_matches('/').to_owned();
        let (flag, variable) = match to {
            Listener::Check => ("--endpoint", "BANCHECK_ENDPOINT"),
            Listener::Admin => ("--admin-endpoint", "BANCHECK_ADMIN_ENDPOINT"),
        };
        let unreachable = |cause| Unreachable {
            address,
            flag,
            variable,
            cause,
        };
        let channel = endpoint
            .connect()
            .await
            .map_err(unreachable)
            .context("could not connect")?;
        // The credential is read only here: clap would repeat one that it refuses.
        let credential = self.credential(to);
        let envelope = Envelope {
            authorization: credential.secret().map(bearer).transpose()?,
            deadline: Some(self.timeout),
        };
        Ok((channel, envelope))
    }

    /// By whom the server's certificate is vouched for, and what is shown to it.
    fn tls(&self) -> anyhow::Result<ClientTlsConfig> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let config = ClientTlsConfig::new();
        let config = match &self.ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(read(ca)?)),
            None => config.with_webpki_roots(),
        };
        let config = match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        };
        Ok(match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => config.identity(Identity::from_pem(read(cert)?, read(key)?)),
            _ => config,
        })
    }
}

/// Whether an address is this machine's own: nobody else is handed the key of its folder unasked.
fn is_here(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The key in the folder of an embedded store, where the server's settings say that one is.
fn own_key() -> Option<String> {
    Effective::gather(&Flags::default()).ok()?.admin_token()
}

/// Reads an address; one without a scheme is plain HTTP.
fn address(text: &str) -> Result<Endpoint, String> {
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let endpoint = Endpoint::from_shared(url).map_err(|error| error.to_string())?;
    match (endpoint.uri().scheme_str(), endpoint.uri().port_u16()) {
        (Some("http" | "https"), Some(_)) => Ok(endpoint),
        (Some("http" | "https"), None) => {
            Err("the port is missing, as in http://127.0.0.1:50051".to_owned())
        }
        _ => Err("not an address such as http://127.0.0.1:50051".to_owned()),
    }
}

/// Reads how long to wait: a number of `ms`, `s` or `m`; seconds where no unit is given.
fn wait(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        _ => return Err("not a time such as `500ms`, `10s` or `2m`".to_owned()),
    };
    let count: u64 = count.parse().map_err(|_| "not a number".to_owned())?;
    let wait = Duration::from_millis(count.saturating_mul(milliseconds));
    if wait.is_zero() || wait > LONGEST_WAIT {
        return Err("not between a millisecond and an hour".to_owned());
    }
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_port_but_no_scheme() {
        let uri = |text| address(text).map(|endpoint| endpoint.uri().to_string());
        assert_eq!(uri("127.0.0.1:5"), Ok("http://127.0.0.1:5/".to_owned()));
        assert_eq!(
            uri("http://bans.example:80"),
            Ok("http://bans.example:80/".to_owned())
        );
        assert_eq!(uri("[::1]:5"), Ok("http://[::1]:5/".to_owned()));
        for bad in [
            "",
            "bans.example",
            "https://bans.example",
            "ftp://bans.example:21",
        ] {
            assert!(uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_server_of_this_machine_is_shown_the_key_of_its_folder() {
        let here = |text| is_here(&address(text).unwrap());
        assert!(here("127.0.0.1:5") && here("[::1]:5") && here("localhost:5"));
        assert!(!here("10.0.0.1:5") && !here("localhost.example:5"));
    }

    #[test]
    fn a_wait_is_a_number_with_a_unit() {
        assert_eq!(wait("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(wait("10"), Ok(Duration::from_secs(10)));
        assert_eq!(wait("2 m"), Ok(Duration::from_mins(2)));
        for bad in [
            "",
            "0s",
            "-1s",
            "2 days",
            "61m",
            "s",
            "99999999999999999999s",
        ] {
            assert!(wait(bad).is_err(), "{bad}");
        }
    }
}
