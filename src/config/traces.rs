//! What the settings say of traces.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use http::Uri;

use super::Effective;

/// Where traces go, and of what.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// The collector's address.
    pub endpoint: String,
    /// The roots that its certificate is verified by; `None` = those of the web.
    pub ca: Option<PathBuf>,
    /// The share of the checks that are traced although their callers do not say whether.
    pub share: f64,
}

impl Effective {
    pub(super) fn traces(&self) -> anyhow::Result<Option<TraceSettings>> {
        let share = self.text("trace_checks");
        let read = share.parse().ok();
        let share = read
            .filter(|share| (0.0..=1.0).contains(share))
            .with_context(|| format!("trace_checks takes a number from 0 to 1, not `{share}`"))?;
        let endpoint = self.text("otlp_endpoint");
        let ca = match self.text("otlp_ca") {
            "" => None,
            path => Some(PathBuf::from(path)),
        };
        ensure!(
            ca.is_none() || endpoint.starts_with("https://"),
            "otlp_ca needs an otlp_endpoint that begins with https://"
        );
        if endpoint.is_empty() {
            return Ok(None);
        }
        let address = endpoint.parse::<Uri>().ok();
        ensure!(
            address.is_some_and(|address| {
                matches!(address.scheme_str(), Some("http" | "https")) && address.port().is_some()
            }),
            "otlp_endpoint takes an address such as http://collector:4317, not `{endpoint}`"
        );
        Ok(Some(TraceSettings {
            endpoint: endpoint.to_owned(),
            ca,
            share,
        }))
    }
}
