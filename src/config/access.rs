//! What the settings say of credentials and of TLS.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context, bail, ensure};
use http::Uri;

use super::Effective;
use crate::auth::{JwtSettings, KeySource};

/// The files that TLS is made of; looked at again while the server runs.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those above it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots of clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// The client certificates that are revoked.
    pub client_crl: Option<PathBuf>,
    /// Whether every client must show one.
    pub client_required: bool,
}

impl Effective {
    pub(super) fn jwt(&self) -> anyhow::Result<Option<JwtSettings>> {
        let [issuer, audience, keys] =
            ["jwt_issuer", "jwt_audience", "jwt_jwks"].map(|name| self.text(name).to_owned());
        if issuer.is_empty() && audience.is_empty() && keys.is_empty() {
            return Ok(None);
        }
        ensure!(
            !issuer.is_empty() && !audience.is_empty() && !keys.is_empty(),
            "jwt_issuer, jwt_audience and jwt_jwks go together"
        );
        let named = self.text("jwt_algorithms").split(',').map(str::trim);
        let algorithms = named.map(|name| {
            let mut known = JwtSettings::ALGORITHMS.into_iter();
            let found = known.find(|(known, _)| *known == name);
            found.map(|(_, algorithm)| algorithm).with_context(|| {
                format!(
                    "jwt_algorithms: `{name}` is none of those that only an issuer can sign with"
                )
            })
        });
        Ok(Some(JwtSettings {
            issuer,
            audience,
            keys: key_source(&keys)?,
            algorithms: algorithms.collect::<anyhow::Result<_>>()?,
        }))
    }

    pub(super) fn tls(&self) -> anyhow::Result<Option<TlsFiles>> {
        let file = |name| match self.text(name) {
            "" => None,
            path => Some(PathBuf::from(path)),
        };
        let (client_ca, client_crl) = (file("tls_client_ca"), file("tls_client_crl"));
        let client_required = self.flag("tls_client_required")?;
        ensure!(
            client_ca.is_some() || (client_crl.is_none() && !client_required),
            "tls_client_crl and tls_client_required need tls_client_ca"
        );
        match (file("tls_cert"), file("tls_key")) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles {
                cert,
                key,
                client_ca,
                client_crl,
                client_required,
            })),
            (None, None) => {
                ensure!(
                    client_ca.is_none(),
                    "tls_client_ca needs tls_cert and tls_key"
                );
                Ok(None)
            }
            _ => bail!("tls_cert and tls_key go together"),
        }
    }
}

/// Where an issuer's keys are: a file, or an address that nobody can change on its way.
fn key_source(text: &str) -> anyhow::Result<KeySource> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Ok(KeySource::File(text.into()));
    };
    let address: Uri = text.parse().context("jwt_jwks")?;
    let host = address.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    ensure!(
        scheme == "https" || (scheme == "http" && here),
        "jwt_jwks is a file or an https address: whoever could change plain http on its way could \
         be anybody"
    );
    Ok(KeySource::Url(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuers_keys_are_a_file_or_behind_an_address_that_nobody_can_change_on_its_way() {
        for good in [
            "/etc/jwks.json",
            "https://issuer.example/keys",
            "http://127.0.0.1:8/keys",
        ] {
            assert!(key_source(good).is_ok(), "{good}");
        }
        for bad in ["http://issuer.example/keys", "ftp://127.0.0.1/keys"] {
            assert!(key_source(bad).is_err(), "{bad}");
        }
    }
}
