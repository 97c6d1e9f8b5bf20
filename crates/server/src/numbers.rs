//! Metrics in Prometheus's format.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The time between two passes that sum up the recorded values.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts to record metrics. Call it once in a process.
///
/// # Errors
/// Another recorder is installed already.
pub(crate) fn install() -> io::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().map_err(io::Error::other)
}

/// Sums up the recorded values at intervals, as long as it is polled.
pub(crate) async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

/// Serves `/metrics`.
pub(crate) fn routes(handle: PrometheusHandle) -> Router {
    let render =
        async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render());
    Router::new().route("/metrics", get(render))
}
