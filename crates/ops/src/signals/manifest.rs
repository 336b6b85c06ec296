//! The files, with a comment at every number.

use std::fmt::Write as _;

use super::Signals;
use super::knee::{Signal, number};

/// Seconds between two questions of KEDA: as often as Kubernetes itself decides.
const POLL_S: u32 = 15;
/// Window of the percentile in a query.
const QUANTILE_WINDOW: &str = "2m";

impl Signals {
    /// What Prometheus is asked: a sum over replicas, else what holds for all of them.
    pub fn query(&self) -> String {
        let metric = self.knee.signal.metric(self.source);
        match self.knee.signal {
            Signal::Waiting | Signal::Running => format!("sum({metric})"),
            Signal::Kv => format!("avg({metric})"),
            Signal::Ttft => {
                format!("histogram_quantile(0.95, sum by (le) (rate({metric}[{QUANTILE_WINDOW}])))")
            }
        }
    }

    /// A `ScaledObject` of KEDA, `keda.sh/v1alpha1`.
    pub fn keda(&self) -> String {
        let mut out = self.head("Apply with: kubectl apply -f FILE");
        let _ = write!(
            out,
            "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata:\n  name: {deployment}\n  namespace: {namespace}\n\
             spec:\n  scaleTargetRef:\n    name: {deployment}\n\
             \x20 pollingInterval: {POLL_S} # seconds; as often as Kubernetes' autoscaler decides\n\
             \x20 cooldownPeriod: {down} # seconds; {why}; counts only towards zero replicas\n\
             \x20 minReplicaCount: {min} # --min\n  maxReplicaCount: {max} # --max\n\
             \x20 advanced:\n    horizontalPodAutoscalerConfig:\n",
            deployment = quoted(&self.deployment),
            namespace = quoted(&self.namespace),
            down = self.down_window_s(),
            why = self.down_reason(),
            min = self.min,
            max = self.max,
        );
        self.behavior(&mut out, 6);
        let _ = write!(
            out,
            "  triggers:\n    - type: prometheus\n      metricType: {kind}\n      metadata:\n        serverAddress: {url}\n\
             \x20       query: {query}\n        threshold: {threshold} # {reason}\n\
             \x20       # When the metric is lost nothing is scaled, instead of taking it for zero.\n\
             \x20       ignoreNullValues: \"false\"\n",
            kind = self.target_kind(),
            url = quoted(&self.prometheus_url),
            query = quoted(&self.query()),
            threshold = quoted(&number(self.threshold())),
            reason = self.threshold_reason(),
        );
        out
    }

    /// A `HorizontalPodAutoscaler`, `autoscaling/v2`, over an external metric.
    pub fn hpa(&self) -> String {
        let mut out = self.head("Apply with: kubectl apply -f FILE");
        let metric = self.external_name();
        let _ = write!(
            out,
            "# An adapter must serve the external metric {metric} as:\n#   {query}\n\
             apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: {deployment}\n  namespace: {namespace}\n\
             spec:\n  scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: {deployment}\n\
             \x20 minReplicas: {min} # --min\n  maxReplicas: {max} # --max\n",
            query = self.query(),
            deployment = quoted(&self.deployment),
            namespace = quoted(&self.namespace),
            min = self.min,
            max = self.max,
        );
        self.behavior(&mut out, 2);
        let (kind, key) = match self.target_kind() {
            "AverageValue" => ("AverageValue", "averageValue"),
            _ => ("Value", "value"),
        };
        let _ = write!(
            out,
            "  metrics:\n    - type: External\n      external:\n        metric:\n          name: {metric}\n        target:\n\
             \x20         type: {kind}\n          {key}: {threshold} # {reason}\n",
            threshold = quoted(&number(self.threshold())),
            reason = self.threshold_reason(),
        );
        out
    }

    /// A file for `stopwatt watch rules`: the limit that a replica is asked to keep.
    pub fn alerts(&self) -> String {
        let mut out = self.head("Make rules of it with: stopwatt watch rules FILE");
        let (threshold, reason) = (number(self.threshold()), self.threshold_reason());
        if self.knee.signal == Signal::Ttft {
            let _ = write!(
                out,
                "objectives:\n  - name: \"ttft_at_capacity\"\n    target: 0.95 # the percentile that was read\n\
                 \x20   kind:\n      ttft:\n        limit_s: {threshold} # {reason}\n",
            );
            return out;
        }
        let _ = write!(
            out,
            "limits:\n  - name: \"StopwattReplicaFull\"\n    metric: {metric}\n    above: {threshold} # {reason}\n\
             \x20   for_s: {for_s} # seconds; {why}\n",
            metric = quoted(self.knee.signal.metric(self.source)),
            for_s = self.step_s(),
            why = self.step_reason(),
        );
        out
    }

    fn head(&self, usage: &str) -> String {
        let mut out = format!("# Written by `stopwatt watch signals`. {usage}\n");
        for line in &self.knee.from {
            let _ = writeln!(out, "# {}", one_line(line));
        }
        for line in &self.knee.warnings {
            let _ = writeln!(out, "# Careful: {}", one_line(line));
        }
        match &self.cold_start {
            Some(cold) => {
                let _ = writeln!(out, "# cold start: {} s, {}", number(cold.seconds), one_line(&cold.from));
            }
            None => {
                out.push_str("# cold start: not given, so times are Kubernetes' defaults (--cold-start)\n")
            }
        }
        out
    }

    fn behavior(&self, out: &mut String, indent: usize) {
        let (step, down) = (self.step_s(), self.down_window_s());
        let (why_step, why_down) = (self.step_reason(), self.down_reason());
        let lines = [
            "behavior:".to_owned(),
            "  scaleUp:".to_owned(),
            "    stabilizationWindowSeconds: 0 # the queue grows meanwhile; the step below holds back"
                .to_owned(),
            "    policies:".to_owned(),
            "      - type: Percent".to_owned(),
            "        value: 100 # at most twice as many at once".to_owned(),
            format!("        periodSeconds: {step} # {why_step}"),
            "  scaleDown:".to_owned(),
            format!("    stabilizationWindowSeconds: {down} # {why_down}"),
            "    policies:".to_owned(),
            "      - type: Pods".to_owned(),
            "        value: 1 # one at a time, to see what it does".to_owned(),
            format!("        periodSeconds: {step} # {why_step}"),
        ];
        for line in lines {
            let _ = writeln!(out, "{:indent$}{line}", "");
        }
    }

    fn target_kind(&self) -> &'static str {
        if self.knee.signal.is_shared() { "AverageValue" } else { "Value" }
    }

    fn external_name(&self) -> String {
        let metric = self.knee.signal.metric(self.source).replace(':', "_");
        match metric.strip_suffix("_bucket") {
            Some(base) => format!("{base}_p95"),
            None => metric,
        }
    }

    fn threshold_reason(&self) -> String {
        let each = if self.knee.signal.is_shared() { " a replica" } else { "" };
        let (value, share) = (number(self.knee.value), number(self.headroom));
        format!("{value}{each} at the highest load of run {} × {share} (--headroom)", self.knee.run_id)
    }

    fn step_reason(&self) -> &'static str {
        match self.cold_start {
            Some(_) => "a cold start, 15 to 1800: a replica on its way does not help yet",
            None => "Kubernetes' default",
        }
    }

    fn down_reason(&self) -> &'static str {
        match self.cold_start {
            Some(_) => "two cold starts, 300 to 3600: one that was ended too early costs its start again",
            None => "Kubernetes' default",
        }
    }
}

/// A string that YAML reads as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text of a record that cannot leave its comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
