//! The operations listener: `/livez` (also `/healthz`), `/readyz`, `/startupz`, `/metrics`, `/version`.
//!
//! It is a listener of its own and never part of the public one. It needs no login, tells no address and
//! no credential, and ends last, so that a balancer sees "not ready" until the very end.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};

use crate::{Health, Metrics, Shutdown, answer};

/// Probes are small and rare: one thread is enough, and it is not one of those that serve clients.
const WORKERS: usize = 1;
const CONNECTIONS_MAX: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 1;

/// What the operations listener shows.
#[derive(Clone)]
pub struct Operations {
    pub health: Health,
    pub metrics: Metrics,
    /// Version of the program, for `/version`.
    pub version: &'static str,
}

/// Serves the operations endpoints until `shutdown` has finished.
pub async fn run_operations(
    listener: TcpListener,
    operations: Operations,
    shutdown: Shutdown,
) -> io::Result<()> {
    let data = web::Data::new(operations);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .route("/livez", web::get().to(livez))
            .route("/healthz", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/startupz", web::get().to(startupz))
            .route("/metrics", web::get().to(metrics))
            .route("/version", web::get().to(version))
            .default_service(web::to(|| async { answer::not_found() }))
    })
    .workers(WORKERS)
    .worker_max_blocking_threads(1)
    .max_connections(CONNECTIONS_MAX)
    .client_request_timeout(HEAD_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS)
    .shutdown_signal(shutdown.finished().cancelled_owned())
    .listen(listener)?
    .run();
    server.await
}

fn status(passed: bool, body: serde_json::Value) -> HttpResponse {
    let mut answer = if passed { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

async fn livez() -> HttpResponse {
    status(true, serde_json::json!({ "status": "ok" }))
}

async fn startupz(operations: web::Data<Operations>) -> HttpResponse {
    let started = operations.health.is_started();
    let word = if started { "ok" } else { "starting" };
    status(started, serde_json::json!({ "status": word }))
}

async fn readyz(operations: web::Data<Operations>) -> HttpResponse {
    let health = &operations.health;
    if health.is_draining() {
        return status(false, serde_json::json!({ "status": "draining" }));
    }
    if !health.is_started() {
        return status(false, serde_json::json!({ "status": "starting" }));
    }
    let report = health.report().await;
    let checks: Vec<_> = report
        .checks
        .iter()
        .map(|(name, word)| serde_json::json!({ "name": name, "status": word }))
        .collect();
    status(report.passed(), serde_json::json!({ "status": report.word(), "checks": checks }))
}

async fn metrics(operations: web::Data<Operations>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(operations.metrics.render())
}

async fn version(operations: web::Data<Operations>) -> HttpResponse {
    status(true, serde_json::json!({ "version": operations.version }))
}
