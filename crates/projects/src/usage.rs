//! What happened by day, of a project and of the installation: what charts show.

use actix_web::HttpResponse;
use catalog::{DAYS_KEPT, Day};
use serde::Serialize;
use tenancy::ReadProject;
use utoipa::ToSchema;

use crate::answer::json;
use crate::context::Context;
use crate::error::Failure;

/// Days that are told unless another number is asked for.
const DAYS_DEFAULT: i32 = 30;

#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageOutput {
    /// In order, today last.
    days: Vec<DayOutput>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UsageDay)]
pub(crate) struct DayOutput {
    /// Of UTC: `2026-11-22`.
    day: String,
    /// Bytes charged at the end of the day, or now; null when that is not known, or not for the caller to know.
    storage: Option<i64>,
    pulls: i64,
    pushes: i64,
}

impl From<Vec<Day>> for UsageOutput {
    fn from(days: Vec<Day>) -> Self {
        let days = days.into_iter().map(|day| DayOutput {
            day: day.day.to_string(),
            storage: day.used,
            pulls: day.pulls,
            pushes: day.pushes,
        });
        Self { days: days.collect() }
    }
}

fn days(context: &Context) -> Result<i32, Failure> {
    let asked = context.params()?.integer("days")?.unwrap_or(DAYS_DEFAULT.into());
    i32::try_from(asked).ok().filter(|days| (1..=DAYS_KEPT).contains(days)).ok_or_else(|| {
        Failure::unprocessable(format!("days in query should be between 1 and {DAYS_KEPT}: {asked}"))
    })
}

pub(crate) async fn of_project(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadProject>().await?;
    let days = context.state.catalog.days.of_project(&permit, days(&context)?).await?;
    Ok(json(&UsageOutput::from(days)))
}

pub(crate) async fn of_installation(context: Context) -> Result<HttpResponse, Failure> {
    context.state.tenancy.require_volumes(&context.caller).await?;
    let days = context.state.catalog.days.of_installation(days(&context)?).await?;
    Ok(json(&UsageOutput::from(days)))
}
