//! What a process tells its operators over HTTP: `/healthz`, `/readyz`, `/metrics`.
//!
//! Each part of a process writes itself into a [`StatusPage`], which is made anew for every question. Metrics are in
//! Prometheus' text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::GateLimits;
use crate::gate::{Listener, serve};

/// Most connections of operators at a time; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;

/// Readiness and metrics of a process at one moment.
#[derive(Debug, Default)]
pub struct StatusPage {
    not_ready: Option<String>,
    /// By name.
    metrics: BTreeMap<String, Metric>,
}

/// A metric: its kind, and a value for each owner, as a label.
#[derive(Debug)]
struct Metric {
    kind: &'static str,
    values: Vec<(String, u64)>,
}

impl StatusPage {
    /// Says why the process takes nobody just now; the first reason stays.
    pub fn not_ready(&mut self, why: impl Into<String>) {
        self.not_ready.get_or_insert_with(|| why.into());
    }

    /// A number that only grows. Several owners of one name are told apart by a label, such as `("node", "node-1")`.
    pub fn counter(&mut self, name: &str, owner: Option<(&str, &str)>, value: u64) {
        self.add(format!("tiltyard_{name}_total"), "counter", owner, value);
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, owner: Option<(&str, &str)>, value: u64) {
        self.add(format!("tiltyard_{name}"), "gauge", owner, value);
    }

    fn add(&mut self, name: String, kind: &'static str, owner: Option<(&str, &str)>, value: u64) {
        // Names of processes have no letter that a label would have to escape.
        let label = owner.map(|(kind, name)| format!("{{{kind}=\"{name}\"}}")).unwrap_or_default();
        let metric = self.metrics.entry(name).or_insert_with(|| Metric { kind, values: Vec::new() });
        metric.values.push((label, value));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, Metric { kind, values }) in &self.metrics {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# TYPE {name} {kind}");
            for (label, value) in values {
                let _ = writeln!(text, "{name}{label} {value}");
            }
        }
        text
    }
}

/// Fills in the page of a process.
pub type WritePage = Arc<dyn Fn(&mut StatusPage) + Send + Sync>;

/// The endpoints for operators, served until it is dropped.
#[derive(Debug)]
pub struct StatusServer {
    address: SocketAddr,
    /// Dropping it ends the server.
    _stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl StatusServer {
    /// Serves what `write` fills in. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(address: SocketAddr, write: WritePage) -> io::Result<Self> {
        let listener = Listener::bind(address).await?;
        let address = listener.address();
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(write);
        let (stop, stopped) = watch::channel(false);
        let limits = GateLimits { connections_max: CONNECTIONS_MAX, ..GateLimits::default() };
        let task = tokio::spawn(serve(listener, routes, limits, Arc::default(), stopped));
        Ok(Self { address, _stop: stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn page(write: &WritePage) -> StatusPage {
    let mut page = StatusPage::default();
    write(&mut page);
    page
}

async fn ready(State(write): State<WritePage>) -> Response {
    match page(&write).not_ready {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(write): State<WritePage>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page(&write).text()).into_response()
}

#[cfg(test)]
mod tests {
    use super::StatusPage;

    #[test]
    fn values_of_one_name_stand_together_under_one_type() {
        let mut page = StatusPage::default();
        page.counter("late_ticks", Some(("node", "node-1")), 3);
        page.gauge("players", None, 7);
        page.counter("late_ticks", Some(("node", "node-2")), 0);
        page.not_ready("draining");
        page.not_ready("something else");
        assert_eq!(page.not_ready.as_deref(), Some("draining"));
        let expected = "# TYPE tiltyard_late_ticks_total counter\n\
                        tiltyard_late_ticks_total{node=\"node-1\"} 3\n\
                        tiltyard_late_ticks_total{node=\"node-2\"} 0\n\
                        # TYPE tiltyard_players gauge\n\
                        tiltyard_players 7\n";
        assert_eq!(page.text(), expected);
    }
}
