//! The endpoints for operators: `/healthz`, `/readyz`, `/metrics`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::lobby::Status;

/// Routes over a lobby's status.
pub(crate) fn operator_routes(status: Arc<Status>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(status)
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    match status.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Counters and gauges in Prometheus' text format, version 0.0.4.
async fn metrics(State(status): State<Arc<Status>>) -> Response {
    let mut text = String::new();
    for (name, value) in status.counters() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# TYPE tiltyard_{name}_total counter\ntiltyard_{name}_total {value}");
    }
    for (name, value) in status.gauges() {
        let _ = writeln!(text, "# TYPE tiltyard_{name} gauge\ntiltyard_{name} {value}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
