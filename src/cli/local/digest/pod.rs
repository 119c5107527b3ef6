//! Asking a pod for its views, over plain HTTP.

use std::{fmt, time::Duration};

use anyhow::{Context, bail, ensure};
use http::{Request, StatusCode, Uri, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use crate::domain::ids::TenantId;

/// How long a pod may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer taken: some hundred bytes a tenant.
const LARGEST: usize = 64 << 20;

/// What a pod says of one tenant; there is more in it, for others.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Held {
    pub(super) tenant: String,
    pub(super) revision: u64,
    pub(super) view_revision: u64,
    pub(super) digest: String,
}

impl Held {
    /// The revision whose state the view is.
    pub(super) fn at(&self) -> u64 {
        self.revision.max(self.view_revision)
    }
}

/// Where a pod's metrics are.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    address: Uri,
    host: String,
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.host)
    }
}

impl Pod {
    /// Reads an address from the command line.
    pub(super) fn at(text: &str) -> Result<Self, String> {
        let wrong = || "an address is like http://10.1.2.3:9090".to_owned();
        let address: Uri = text.parse().map_err(|_| wrong())?;
        let bare = matches!(address.path(), "" | "/") && address.query().is_none();
        let host = address.authority().map(ToString::to_string);
        match (address.scheme_str(), host) {
            (Some("http"), Some(host)) if bare => Ok(Self { address, host }),
            _ => Err(wrong()),
        }
    }

    /// What the pod holds, or holds of one tenant.
    pub(super) async fn views(&self, only: Option<&TenantId>) -> anyhow::Result<Vec<Held>> {
        let path = only.map_or("/views".to_owned(), |only| format!("/views?tenant={only}"));
        let asked = timeout(PATIENCE, self.get(&path)).await;
        let (status, body) = asked
            .context("it took too long")
            .flatten()
            .with_context(|| format!("{self} does not answer"))?;
        if status == StatusCode::NOT_FOUND && only.is_some() {
            return Ok(Vec::new());
        }
        ensure!(status.is_success(), "{self} answers {status}");
        serde_json::from_slice(&body).with_context(|| format!("{self} answers something else"))
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let Some(host) = self.address.host() else {
            bail!("the address names no host");
        };
        // A v6 address stands in brackets in a URL, and without them here.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.address.port_u16().unwrap_or(80))).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path)
            .header(HOST, &self.host)
            .body(Empty::<Bytes>::new())?;
        let ask = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST);
            let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
            // The connection ends once nobody can ask on it.
            drop(sender);
            Ok((status, body.to_bytes()))
        };
        let (answered, _) = tokio::join!(ask, connection);
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http_and_no_more() {
        let shown = |text: &str| Pod::at(text).map(|pod| pod.to_string()).ok();
        for good in ["http://127.0.0.1:9090", "http://pod", "http://[::1]:9090"] {
            assert_eq!(shown(good).as_deref(), Some(good));
        }
        assert_eq!(shown("http://pod:1/").as_deref(), Some("http://pod:1"));
        for bad in [
            "pod:9090",
            "https://pod",
            "http://pod/views",
            "",
            "/views",
            "http://p?a",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
