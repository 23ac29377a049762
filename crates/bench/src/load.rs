//! Closed loops: some connections, each sending its next request when the last answer has been read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::http::{Body, Connection, Head, Sink};

/// What a run did, as the client saw it.
#[derive(Default)]
pub struct Sample {
    pub operations: u64,
    /// Bytes of blobs moved, for cases that move blobs.
    pub bytes: u64,
    pub elapsed: Duration,
    pub latencies: Vec<Duration>,
}

/// A request that is sent many times, and the status that it must have.
pub struct Repeated {
    pub head: Head,
    pub status: u16,
}

/// When a loop ends.
#[derive(Clone, Copy)]
pub enum Limit {
    /// After this time, but not before each connection has done one request.
    For(Duration),
    /// After so many requests altogether.
    Count(u64),
}

/// Sends the requests in turn, over and over. Connections begin at different places of the list.
pub async fn hammer(
    address: SocketAddr,
    requests: &Arc<Vec<Repeated>>,
    connections: usize,
    limit: Limit,
) -> Result<Sample> {
    ensure!(!requests.is_empty(), "nothing to send");
    let done = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..connections {
        let (requests, done) = (requests.clone(), done.clone());
        workers.spawn(async move {
            let mut connection = Connection::new(address);
            let mut latencies = Vec::with_capacity(16 * 1024);
            let mut next = worker * requests.len() / connections;
            loop {
                match limit {
                    Limit::For(time) if begin.elapsed() >= time && !latencies.is_empty() => break,
                    Limit::Count(count) if done.fetch_add(1, Ordering::Relaxed) >= count => break,
                    Limit::For(_) | Limit::Count(_) => {}
                }
                let request = &requests[next % requests.len()];
                next += 1;
                let sent = Instant::now();
                let answer = connection.exchange(&request.head, Body::None, &mut Sink::Discard).await?;
                latencies.push(sent.elapsed());
                if answer.status != request.status {
                    // Once more, to have the server's words for it.
                    connection.expect(request.status, &request.head, Body::None).await?;
                }
            }
            anyhow::Ok(latencies)
        });
    }
    let mut sample = Sample::default();
    while let Some(latencies) = workers.join_next().await {
        sample.latencies.extend(latencies??);
    }
    sample.elapsed = begin.elapsed();
    sample.operations = sample.latencies.len() as u64;
    Ok(sample)
}

/// Does each of the jobs once, `parallel` at a time, each connection taking the next one that is left. A job tells
/// how many bytes it moved.
pub async fn each<J, F, R>(address: SocketAddr, jobs: &Arc<Vec<J>>, parallel: usize, job: F) -> Result<Sample>
where
    J: Send + Sync + 'static,
    F: Fn(Connection, Arc<Vec<J>>, usize) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(Connection, u64)>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..parallel.min(jobs.len()) {
        let (jobs, next, job) = (jobs.clone(), next.clone(), job.clone());
        workers.spawn(async move {
            let mut connection = Connection::new(address);
            let mut bytes = 0;
            let mut latencies = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= jobs.len() {
                    return anyhow::Ok((bytes, latencies));
                }
                let sent = Instant::now();
                let moved;
                (connection, moved) = job(connection, jobs.clone(), index).await?;
                latencies.push(sent.elapsed());
                bytes += moved;
            }
        });
    }
    let mut sample = Sample::default();
    while let Some(worker) = workers.join_next().await {
        let (bytes, latencies) = worker??;
        sample.bytes += bytes;
        sample.latencies.extend(latencies);
    }
    sample.elapsed = begin.elapsed();
    sample.operations = sample.latencies.len() as u64;
    Ok(sample)
}
