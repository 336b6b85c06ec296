//! Traces in the hands of a real collector: rotel (`scripts/rotel.sh`), named by `STOPWATT_ROTEL`.

#![cfg(feature = "external-tests")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "it/support.rs"]
mod support;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use stopwatt_load::Target;
use stopwatt_ops::feedback::Feedback;
use stopwatt_ops::proxy::Tracing;
use stopwatt_ops::trace::{Endpoint, Exporter, Ids};
use support::{Proxy, engine, spec, wait_for};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_collector_takes_every_span_and_reads_its_attributes() {
    let program = std::env::var("STOPWATT_ROTEL").expect("STOPWATT_ROTEL names the program");
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (http, grpc) = (free(), free());
    let _collector = Ended(
        Command::new(program)
            .args(["start", "--exporter", "blackhole", "--debug-log", "traces"])
            .args(["--debug-log-verbosity", "detailed", "--otlp-http-endpoint", &http.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string()])
            .args(["--otlp-receiver-traces-http-path", "/api/public/otel/v1/traces"])
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::from(file))
            .spawn()
            .expect("rotel starts"),
    );
    wait_for("the collector to listen", || TcpStream::connect(http).is_ok());
    let engine = engine(|_| {});
    let target = Target::parse(&format!("http://{http}")).unwrap();
    let endpoint = Endpoint::new(target, "/api/public/otel/v1/traces", None).unwrap();
    // Names of upstreams are asked of a fleet; this one stands for the proxy's own.
    let parsed =
        vec![stopwatt_ops::upstream::Spec::parse(&format!("{},name=a,variant=v", spec(&engine))).unwrap()];
    let fleet = Arc::new(
        stopwatt_ops::fleet::Fleet::new(parsed, stopwatt_ops::fleet::Settings::default(), |_| None).unwrap(),
    );
    let exporter = Exporter::start(endpoint, &fleet, false).unwrap();
    let feedback = Arc::new(Feedback::new(false, None));
    let observers = exporter.observer().into_iter().collect();
    let proxy = Proxy::observed(&[format!("{},name=a,variant=v", spec(&engine))], observers, |s| {
        s.tracing = Some(Tracing { ids: Ids::new(), names: false });
        s.feedback = Some(feedback);
    });
    proxy.telemetry.add(exporter.source());
    let ids: Vec<String> =
        (0..20).map(|_| proxy.chat().header("x-stopwatt-trace-id").unwrap().to_owned()).collect();
    let read = || std::fs::read_to_string(&log).unwrap().to_lowercase();
    wait_for("the collector to tell every trace", || {
        let told = read();
        ids.iter().all(|id| told.contains(id.as_str()))
    });
    let told = read();
    for wanted in [
        "chat stopwatt-exact",
        "langfuse.observation.completion_start_time",
        "langfuse.observation.usage_details",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.output_tokens",
        "langfuse.trace.tags",
        "variant:v",
        "attempt a",
    ] {
        assert!(told.contains(wanted), "{wanted} in {}", &told[..told.len().min(4000)]);
    }
    wait_for("the proxy to count them", || {
        let page = proxy.get("/metrics").body;
        page.contains("stopwatt_spans_sent_total 40") && page.contains("{reason=\"refused\"} 0")
    });
}
