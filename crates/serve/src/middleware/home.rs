//! Runs a service at home: with the main runtime entered, and with panics caught.
//!
//! Each HTTP worker has a runtime of its own that ends with it. A database connection, a timer or a task
//! made there would die with the worker or starve behind a busy one; made at home it does not. Consequence:
//! code inside a service must not use `spawn_local` (it panics); `tokio::spawn` is right.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use tokio::runtime::Handle;

/// The service panicked; the panic hook has logged where and why.
#[derive(Debug)]
pub(crate) struct Panicked;

/// `future`, polled and dropped with the runtime `home` entered.
pub(crate) fn run<F: Future>(future: F, home: Handle) -> AtHome<F> {
    AtHome { future: Some(Box::pin(future)), home }
}

pub(crate) struct AtHome<F> {
    future: Option<Pin<Box<F>>>,
    home: Handle,
}

impl<F: Future> Future for AtHome<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let home = self.home.clone();
        let _entered = home.enter();
        let Some(future) = self.future.as_mut() else {
            return Poll::Ready(Err(Panicked));
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => {
                self.future = None;
                Poll::Ready(Ok(output))
            }
            Err(_) => {
                // Dropping what is left of a panicked future may panic again; that one is not wanted either.
                let rest = self.future.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(rest)));
                Poll::Ready(Err(Panicked))
            }
        }
    }
}

impl<F> Drop for AtHome<F> {
    fn drop(&mut self) {
        let home = self.home.clone();
        let _entered = home.enter();
        self.future = None;
    }
}

/// A body that is read at home, for the same reasons.
pub(crate) struct BodyAtHome {
    body: Option<Pin<Box<BoxBody>>>,
    home: Handle,
}

impl BodyAtHome {
    /// Bodies that are there already need no runtime and stay as they are.
    pub(crate) fn wrap(body: BoxBody, home: Handle) -> BoxBody {
        match body.try_into_bytes() {
            Ok(bytes) => BoxBody::new(bytes),
            Err(body) => BoxBody::new(Self { body: Some(Box::pin(body)), home }),
        }
    }
}

impl MessageBody for BodyAtHome {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.as_ref().map_or(BodySize::None, |body| body.size())
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let home = self.home.clone();
        let _entered = home.enter();
        match self.body.as_mut() {
            Some(body) => body.as_mut().poll_next(context),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for BodyAtHome {
    fn drop(&mut self) {
        let home = self.home.clone();
        let _entered = home.enter();
        self.body = None;
    }
}
