//! Reads what the gateway tells machines: scrapes by Prometheus' own library, spans by a collector.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::client::{clients, python};
use super::wait::{PATIENCE, eventually};
use super::{Ask, Gateway};

/// A script that runs with the packages of `requirements-telemetry.txt`.
fn script(name: &str) -> Command {
    assert!(clients(".venv-telemetry").exists(), "run tests/setup-clients first");
    python(".venv-telemetry", &format!("telemetry/{name}"))
}

/// What a script makes of `input`.
fn made_by(mut script: Command, input: &str) -> serde_json::Value {
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}\n{input}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The alert rules in a file's text.
pub(crate) fn alerts(text: &str) -> serde_json::Value {
    made_by(script("alerts.py"), text)
}

/// Where a gateway answers for metrics and health.
pub(crate) fn ops(gateway: &Gateway) -> SocketAddr {
    gateway.address("metrics and health")
}

/// One scrape.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    pub(crate) content_type: String,
}

/// A series: its name, and its labels in order.
pub(crate) type Series = (String, BTreeMap<String, String>);

impl Scrape {
    pub(crate) fn of(gateway: &Gateway, accept: &str) -> Self {
        let answer = Ask::get("/metrics").header("Accept", accept).send(ops(gateway));
        assert_eq!(answer.status, 200);
        let content_type = answer.header("content-type").unwrap().to_owned();
        Self { text: answer.text(), content_type }
    }

    /// Families with their types, and samples, as Prometheus' library reads them.
    pub(crate) fn read(&self) -> (BTreeMap<String, String>, BTreeMap<Series, f64>) {
        let mut script = script("scrape.py");
        script.arg(&self.content_type);
        let read = made_by(script, &self.text);
        let samples: Vec<(String, BTreeMap<String, String>, f64)> =
            serde_json::from_value(read["samples"].clone()).unwrap();
        let samples = samples.into_iter().map(|(name, labels, value)| ((name, labels), value));
        (serde_json::from_value(read["families"].clone()).unwrap(), samples.collect())
    }

    /// The sum of all samples of this name whose labels include these.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("coppice_gateway_{name}");
        let (_, samples) = self.read();
        let mut found = samples.iter().filter(|((own, of_it), _)| {
            *own == name
                && labels
                    .iter()
                    .all(|(label, value)| of_it.get(*label).map(String::as_str) == Some(*value))
        });
        let first = found.next().unwrap_or_else(|| panic!("no {name} {labels:?}: {}", self.text));
        first.1 + found.map(|(_, value)| value).sum::<f64>()
    }

    /// Every series, as it is written.
    pub(crate) fn series(&self) -> Vec<String> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    }
}

/// An OTLP receiver; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Collector {
    child: Child,
    port: u16,
    spans: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Collector {
    /// One that first turns this many requests away.
    pub(crate) fn start(refusals: usize) -> Self {
        let mut script = script("collector.py");
        script.arg(refusals.to_string());
        Self::run(script)
    }

    /// One that appends to a file whatever it is sent, byte by byte.
    pub(crate) fn keeping(file: &Path) -> Self {
        let mut script = script("collector.py");
        script.arg("0").arg(file);
        Self::run(script)
    }

    fn run(mut script: Command) -> Self {
        script.stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: serde_json::Value =
            serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let spans: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let writer = Arc::clone(&spans);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                writer.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, port: first["port"].as_u64().unwrap().try_into().unwrap(), spans }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn spans(&self) -> Vec<serde_json::Value> {
        self.spans.lock().unwrap().clone()
    }

    /// The span of the request with this id, once it is there.
    pub(crate) fn span_of(&self, request_id: &str) -> serde_json::Value {
        let mut found = None;
        eventually(&format!("a span of {request_id}"), PATIENCE, || {
            let mut spans = self.spans().into_iter();
            found = spans.find(|span| span["attributes"]["coppice.request.id"] == request_id);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
