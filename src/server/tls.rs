//! TLS of the listeners: the files it is made of, and what becomes of a change to them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, TrustAnchor, pem::PemObject,
    },
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    config::TlsFiles,
    telemetry::{Counters, Validity},
};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// What the files held.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

/// The TLS of a server, as its files say.
pub(super) struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    /// The contents that were looked at last, good or not.
    seen: Mutex<Contents>,
    counters: Arc<Counters>,
}

impl Tls {
    /// Reads the files, all of which must be in order.
    pub(super) fn load(files: &TlsFiles, counters: Arc<Counters>) -> anyhow::Result<Arc<Self>> {
        let contents = Contents::read(files)?;
        let config = contents.config(files.client_required)?;
        counters.certified(contents.validity()?);
        Ok(Arc::new(Self {
            files: files.clone(),
            current: ArcSwap::from(config),
            seen: Mutex::new(contents),
            counters,
        }))
    }

    /// What takes the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Looks at the files until told to stop.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let this = Arc::clone(&self);
            // Files may lie on a disk that takes its time.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Takes over what has changed. A file that is no good changes nothing: connections go on being
    /// taken as before.
    fn look(&self) {
        let contents = match Contents::read(&self.files) {
            Ok(contents) => contents,
            // It is being replaced, perhaps; the next look tells.
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "a file of the TLS cannot be read; what was read before holds"
                );
                return;
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return;
        }
        let config = contents.config(self.files.client_required);
        match config.and_then(|config| Ok((config, contents.validity()?))) {
            Ok((config, validity)) => {
                // Sessions of before are forgotten with it: nobody resumes past a new list of
                // revoked certificates.
                self.current.store(config);
                self.counters.certified(validity);
                tracing::info!("the TLS files have changed: new connections go by them");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "the TLS files have changed and are no good; the old ones hold"
                );
            }
        }
        *seen = contents;
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let maybe = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?,
            client_ca: maybe(&files.client_ca)?,
            client_crl: maybe(&files.client_crl)?,
        })
    }

    /// For what time the certificate is good: a chain ends with the first of its links.
    fn validity(&self) -> anyhow::Result<Validity> {
        let mut chain = all::<CertificateDer<'static>>(&self.cert)?.into_iter();
        let first = validity(&chain.next().context("tls_cert")?)?;
        chain.try_fold(first, |all, link| {
            Ok(Validity {
                until: all.until.min(validity(&link)?.until),
                ..all
            })
        })
    }

    fn config(&self, client_required: bool) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certs = all::<CertificateDer<'static>>(&self.cert).context("tls_cert")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).context("tls_key")?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(roots(pem).context("tls_client_ca")?);
                let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                if let Some(pem) = &self.client_crl {
                    let crls = all::<CertificateRevocationListDer<'static>>(pem);
                    verifier = verifier
                        .with_crls(crls.context("tls_client_crl")?)
                        .only_check_end_entity_revocation();
                }
                if !client_required {
                    verifier = verifier.allow_unauthenticated();
                }
                builder.with_client_cert_verifier(verifier.build().context("tls_client_ca")?)
            }
        };
        let mut config = builder
            .with_single_cert(certs, key)
            .context("tls_cert and tls_key")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The roots that a file holds, of which there must be one.
pub(super) fn anchors(file: &Path) -> anyhow::Result<Vec<TrustAnchor<'static>>> {
    let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let roots = roots(&pem).with_context(|| file.display().to_string())?;
    Ok(roots.roots)
}

fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in all::<CertificateDer<'static>>(pem)? {
        roots.add(root)?;
    }
    Ok(roots)
}

fn validity(certificate: &CertificateDer<'_>) -> anyhow::Result<Validity> {
    let (_, certificate) = X509Certificate::from_der(certificate).context("tls_cert")?;
    let validity = certificate.validity();
    Ok(Validity {
        from: validity.not_before.timestamp(),
        until: validity.not_after.timestamp(),
    })
}

fn all<T: PemObject>(pem: &[u8]) -> anyhow::Result<Vec<T>> {
    let all = T::pem_slice_iter(pem).collect::<Result<Vec<T>, _>>();
    let all = all.map_err(|error| io::Error::other(error.to_string()))?;
    ensure!(!all.is_empty(), "there is none in the file");
    Ok(all)
}
