//! Reading an issuer's keys, at times and when a token names one that is not known.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode, Uri, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::jwt::{KeySource, Keys, Tokens};

/// How often a file is looked at.
const FILE_PERIOD: Duration = Duration::from_secs(5);
/// How often an address is asked.
const URL_PERIOD: Duration = Duration::from_mins(5);
/// How long the source is left alone after an unknown key had it asked: whoever sends rubbish
/// cannot have us ask the issuer time and again.
const REST: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits for news of its key.
const WAIT: Duration = Duration::from_secs(2);
/// The largest set of keys, in bytes.
const LARGEST: usize = 1 << 20;

type Failed = Box<dyn Error + Send + Sync>;

/// The state of reading keys: one reads, and many may wait for it.
pub(super) struct Refresh {
    source: KeySource,
    wanted: Notify,
    /// How often the source has been asked.
    asked: watch::Sender<u64>,
    rests: AtomicBool,
}

impl Refresh {
    pub(super) fn of(source: KeySource) -> Self {
        Self {
            source,
            wanted: Notify::new(),
            asked: watch::Sender::new(0),
            rests: AtomicBool::new(false),
        }
    }

    /// Waits until the source has been asked once more; `false` = it is left alone for now, or takes
    /// too long.
    pub(super) async fn news(&self) -> bool {
        let mut asked = self.asked.subscribe();
        if self.rests.load(Ordering::SeqCst) {
            return false;
        }
        self.wanted.notify_one();
        matches!(timeout(WAIT, asked.changed()).await, Ok(Ok(())))
    }
}

impl Tokens {
    /// Reads the keys for the first time.
    pub(super) async fn begin(&self) -> Result<(), Failed> {
        let text = read(&self.refresh.source).await?;
        self.renew(Keys::read(&text).ok_or(NO_KEYS)?);
        Ok(())
    }

    /// Whether the keys come from a file, which is there or is not.
    pub(super) fn are_in_a_file(&self) -> bool {
        matches!(self.refresh.source, KeySource::File(_))
    }

    /// Keeps the keys up to date until told to stop.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let Refresh {
            source,
            wanted,
            asked,
            rests,
        } = &self.refresh;
        let period = match source {
            KeySource::File(_) => FILE_PERIOD,
            KeySource::Url(_) => URL_PERIOD,
        };
        let (mut before, mut failing) = (Vec::new(), false);
        loop {
            match read(source).await {
                Ok(text) if text == before && !failing => {}
                Ok(text) => match Keys::read(&text) {
                    Some(keys) => {
                        self.renew(keys);
                        (before, failing) = (text, false);
                    }
                    None if failing => {}
                    None => {
                        failing = true;
                        tracing::warn!("{NO_KEYS}; the ones before are kept");
                    }
                },
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "the issuer's keys cannot be read; the ones before are kept");
                    }
                }
            }
            asked.send_modify(|times| *times += 1);
            rests.store(true, Ordering::SeqCst);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(REST) => {}
            }
            rests.store(false, Ordering::SeqCst);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(period) => {}
                () = wanted.notified() => {}
            }
        }
    }
}

const NO_KEYS: &str = "what the issuer publishes is no set of keys (JWKS) with one to verify by";

async fn read(source: &KeySource) -> Result<Vec<u8>, Failed> {
    match source {
        KeySource::File(path) => Ok(tokio::fs::read(path).await?),
        KeySource::Url(address) => timeout(PATIENCE, fetch(address)).await?,
    }
}

async fn fetch(address: &Uri) -> Result<Vec<u8>, Failed> {
    let host = address.host().ok_or("the address names no host")?;
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let encrypted = address.scheme_str() == Some("https");
    let port = address
        .port_u16()
        .unwrap_or(if encrypted { 443 } else { 80 });
    let stream = TcpStream::connect((bare.as_str(), port)).await?;
    if !encrypted {
        return get(stream, address).await;
    }
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(bare)?;
    let connector = TlsConnector::from(Arc::new(config));
    get(connector.connect(name, stream).await?, address).await
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: &Uri,
) -> Result<Vec<u8>, Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = address.path_and_query().map_or("/", |path| path.as_str());
    let host = address
        .authority()
        .map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let ask = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the address answers {}", answer.status()).into());
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await?;
        // The connection ends once nobody can ask on it.
        drop(sender);
        Ok(body.to_bytes().to_vec())
    };
    let (answered, _) = tokio::join!(ask, connection);
    answered
}
