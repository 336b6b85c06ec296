//! Traces and feedback of `stopwatt watch`.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::Nanos;
use stopwatt_ops::content::Keeper;
use stopwatt_ops::feedback::Feedback;
use stopwatt_ops::fleet::Fleet;
use stopwatt_ops::proxy::{Observer, Tracing};
use stopwatt_ops::telemetry::Telemetry;
use stopwatt_ops::trace::{Endpoint, Exporter, Ids};
use stopwatt_record::config::environment;

use super::Failure;
use super::endpoint::endpoint;
use crate::exit::Outcome;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Args)]
pub(crate) struct WatchTraceArgs {
    /// Send a trace of each request to this receiver of OTLP over HTTP; for Langfuse https://HOST/api/public/otel
    #[arg(long, value_name = "URL", help_heading = "Traces")]
    otlp: Option<String>,
    /// Environment variable with headers for it: name=value,name=value, values percent-encoded
    #[arg(long, value_name = "VAR", requires = "otlp", help_heading = "Traces")]
    otlp_headers_env: Option<String>,
    /// Send what requests and answers say as well
    #[arg(long, requires = "otlp", help_heading = "Traces")]
    trace_content: bool,
    /// Tell sessions and users as clients name them, and not hashed
    #[arg(long, requires = "otlp", help_heading = "Traces")]
    trace_user: bool,
    /// Count what users say of answers at POST /feedback; --otlp takes it too, and passes it on
    #[arg(long, help_heading = "Traces")]
    feedback: bool,
}

/// What was started.
pub(crate) struct Traces {
    exporter: Option<Exporter>,
    feedback: Option<Arc<Feedback>>,
    names: bool,
}

impl WatchTraceArgs {
    /// Starts what is asked for.
    pub(crate) fn start(&self, fleet: &Arc<Fleet>) -> anyhow::Result<Traces> {
        let exporter = match &self.otlp {
            None => None,
            Some(url) => {
                let (target, path) = endpoint(url, "/v1/traces")?;
                let headers = self.headers()?;
                let endpoint = Endpoint::new(target, &path, headers.as_deref()).map_err(|e| {
                    Failure::new(Outcome::Configuration, e.into())
                        .hint("write headers as name=value,name=value")
                })?;
                let exporter = Exporter::start(endpoint, fleet, self.trace_content);
                Some(exporter.context("failed to start the thread that sends traces")?)
            }
        };
        let feedback = (self.feedback || exporter.is_some())
            .then(|| Arc::new(Feedback::new(self.trace_content, exporter.as_ref().map(Exporter::scores))));
        Ok(Traces { exporter, feedback, names: self.trace_user })
    }

    fn headers(&self) -> anyhow::Result<Option<String>> {
        let Some(name) = &self.otlp_headers_env else { return Ok(None) };
        let headers = environment::var(name).filter(|v| !v.trim().is_empty()).ok_or_else(|| {
            let problem = anyhow::anyhow!("the environment variable {name} holds no headers");
            Failure::new(Outcome::Configuration, problem)
        })?;
        Ok(Some(headers))
    }
}

impl Traces {
    /// Puts its families on the page.
    pub(crate) fn announce(&self, telemetry: &Telemetry) {
        if let Some(exporter) = &self.exporter {
            telemetry.add(exporter.source());
        }
        if let Some(feedback) = self.feedback.clone() {
            telemetry.add(Box::new(move |page, fleet| feedback.render(page, fleet)));
        }
    }

    /// Sends what waits, until this time (raw monotonic).
    pub(crate) fn end(self, until: Nanos) {
        if let Some(exporter) = self.exporter {
            exporter.end(until);
        }
    }

    pub(crate) fn tracing(&self) -> Option<Tracing> {
        self.feedback.is_some().then(|| Tracing { ids: Ids::new(), names: self.names })
    }

    pub(crate) fn feedback(&self) -> Option<Arc<Feedback>> {
        self.feedback.clone()
    }

    pub(crate) fn keeper(&self) -> Option<Keeper> {
        self.exporter.as_ref().and_then(Exporter::keeper)
    }

    pub(crate) fn observers(&self) -> Vec<Observer> {
        self.exporter.as_ref().and_then(Exporter::observer).into_iter().collect()
    }
}
