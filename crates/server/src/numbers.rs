//! Metrics in Prometheus's format.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// How often what was recorded is taken together.
const UPKEEP: Duration = Duration::from_secs(5);

/// From now on counts what happens. Once in a process.
///
/// # Errors
/// Another recorder was installed already.
pub(crate) fn install() -> io::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().map_err(io::Error::other)
}

/// Takes together what was recorded, for as long as it is polled.
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
