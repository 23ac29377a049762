//! Garbage collection over REST: runs, their logs, and the schedule.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use catalog::{CollectGarbage, Collection, CollectionSchedule};
use serde::{Deserialize, Serialize};
use tenancy::{CreateCollection, ListCollections, ReadCollection, StopCollection, UpdateCollections};
use utoipa::ToSchema;

use crate::answer::{Time, created, done, json};
use crate::context::Context;
use crate::error::Failure;

/// How each kind of schedule is written as an expression.
const KINDS: [(&str, &str); 3] =
    [("Hourly", "0 0 * * * *"), ("Daily", "0 0 0 * * *"), ("Weekly", "0 0 0 * * 0")];

#[derive(Serialize, ToSchema)]
#[schema(as = GCHistory)]
pub(crate) struct Output {
    id: i64,
    job_name: &'static str,
    /// `MANUAL` or `SCHEDULE`.
    job_kind: &'static str,
    /// What the run was told, as JSON in a text.
    job_parameters: String,
    schedule: ScheduleOutput,
    /// `Pending`, `Running`, `Success`, `Error` or `Stopped`.
    job_status: &'static str,
    deleted: bool,
    /// What it removed so far, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultOutput>,
    /// Why it ended as it did, when it did not end well.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    creation_time: Time,
    update_time: Time,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GCResult)]
pub(crate) struct ResultOutput {
    sessions: u64,
    manifests: u64,
    blobs: u64,
    bytes: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleObj)]
pub(crate) struct ScheduleOutput {
    r#type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    cron: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_scheduled_time: Option<Time>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct Input {
    schedule: ScheduleInput,
    #[serde(default)]
    parameters: ParametersInput,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleObjInput)]
pub(crate) struct ScheduleInput {
    /// `Manual` begins a run now; `Hourly`, `Daily`, `Weekly` and `Custom` with `cron` begin them by themselves; `None` ends that.
    r#type: String,
    #[serde(default)]
    cron: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = GCParameters)]
#[serde(default)]
pub(crate) struct ParametersInput {
    /// Artifacts without a tag go once the grace is over, whatever the policies say.
    delete_untagged: bool,
    /// Say what would go, and change nothing.
    dry_run: bool,
    /// 1 to 10; kept and told again.
    workers: Option<i64>,
}

impl ParametersInput {
    fn job(&self) -> Result<CollectGarbage, Failure> {
        let workers = match self.workers {
            None => 1,
            Some(workers @ 1..=10) => workers as u8,
            Some(other) => return Err(Failure::bad_request(format!("workers is {other}, not 1 to 10"))),
        };
        Ok(CollectGarbage { dry_run: self.dry_run, delete_untagged: self.delete_untagged, workers })
    }
}

fn parameters(asked: CollectGarbage) -> String {
    serde_json::json!({
        "delete_untagged": asked.delete_untagged, "dry_run": asked.dry_run, "workers": asked.workers,
    })
    .to_string()
}

impl From<Collection> for Output {
    fn from(run: Collection) -> Self {
        let collected = run.collected;
        let result = (run.status != "Pending").then_some(ResultOutput {
            sessions: collected.sessions,
            manifests: collected.manifests,
            blobs: collected.blobs,
            bytes: collected.bytes,
        });
        Self {
            id: run.id,
            job_name: "GARBAGE_COLLECTION",
            job_kind: if run.scheduled { "SCHEDULE" } else { "MANUAL" },
            job_parameters: parameters(run.asked),
            schedule: ScheduleOutput {
                r#type: if run.scheduled { "Schedule" } else { "Manual" },
                cron: String::new(),
                next_scheduled_time: None,
            },
            job_status: run.status,
            deleted: false,
            result,
            message: run.message,
            creation_time: Time(run.created_at),
            update_time: Time(run.updated_at),
        }
    }
}

impl From<CollectionSchedule> for Output {
    fn from(schedule: CollectionSchedule) -> Self {
        let kind = KINDS.iter().find(|(_, cron)| *cron == schedule.cron).map_or("Custom", |(kind, _)| kind);
        Self {
            id: 0,
            job_name: "GARBAGE_COLLECTION",
            job_kind: "SCHEDULE",
            job_parameters: parameters(schedule.asked),
            schedule: ScheduleOutput {
                r#type: kind,
                cron: schedule.cron,
                next_scheduled_time: Some(Time(schedule.next_run_at)),
            },
            job_status: "Pending",
            deleted: false,
            result: None,
            message: String::new(),
            creation_time: Time(schedule.updated_at),
            update_time: Time(schedule.updated_at),
        }
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ListCollections>(&context.caller, None).await?;
    let params = context.params()?;
    let page = context.state.catalog.collections.page(&permit, &params.list_query()?).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ReadCollection>(&context.caller, None).await?;
    let run = context.state.catalog.collections.get(&permit, context.id("gc_id")?).await?;
    Ok(json(&Output::from(run)))
}

pub(crate) async fn log(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ReadCollection>(&context.caller, None).await?;
    let id = context.id("gc_id")?;
    let collections = context.state.catalog.collections.clone();
    // The first page says whether there is such a run; the others follow while they are sent.
    let first = collections.log(&permit, id, 0).await?;
    let lines = futures_util::stream::try_unfold(Some(first), move |page| {
        let (collections, permit) = (collections.clone(), permit.clone());
        async move {
            let Some(page) = page else { return Ok::<_, actix_web::Error>(None) };
            let Some(last) = page.last().map(|line| line.number) else { return Ok(None) };
            let text = page.iter().fold(String::new(), |mut text, line| {
                text.push_str(&line.at.format("%Y-%m-%dT%H:%M:%SZ ").to_string());
                text.push_str(&line.line);
                text.push('\n');
                text
            });
            let next = collections
                .log(&permit, id, last)
                .await
                .map_err(actix_web::error::ErrorInternalServerError)?;
            Ok(Some((actix_web::web::Bytes::from(text), Some(next).filter(|next| !next.is_empty()))))
        }
    });
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).streaming(lines))
}

pub(crate) async fn stop(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<StopCollection>(&context.caller, None).await?;
    context.state.catalog.collections.stop(&permit, context.id("gc_id")?).await?;
    Ok(done())
}

pub(crate) async fn schedule(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ReadCollection>(&context.caller, None).await?;
    match context.state.catalog.collections.schedule(&permit).await? {
        Some(schedule) => Ok(json(&Output::from(schedule))),
        None => Ok(done()),
    }
}

pub(crate) async fn create_schedule(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<CreateCollection>(&context.caller, None).await?;
    let input: Input = context.json().await?;
    match input.cron()? {
        Asked::Now => {
            let id = context.state.catalog.collections.start(&permit, input.parameters.job()?).await?;
            Ok(created(format!("/api/v2.0/system/gc/{id}")))
        }
        Asked::Schedule(cron) => {
            let permit =
                context.state.tenancy.system_permit::<UpdateCollections>(&context.caller, None).await?;
            let job = input.parameters.job()?;
            context.state.catalog.collections.set_schedule(&permit, cron.as_deref(), job, true).await?;
            Ok(created("/api/v2.0/system/gc/schedule".to_owned()))
        }
    }
}

pub(crate) async fn update_schedule(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<UpdateCollections>(&context.caller, None).await?;
    let input: Input = context.json().await?;
    let job = input.parameters.job()?;
    match input.cron()? {
        Asked::Now => {
            let permit =
                context.state.tenancy.system_permit::<CreateCollection>(&context.caller, None).await?;
            context.state.catalog.collections.start(&permit, job).await?;
        }
        Asked::Schedule(cron) => {
            context.state.catalog.collections.set_schedule(&permit, cron.as_deref(), job, false).await?;
        }
    }
    Ok(done())
}

/// What a client wants to happen.
enum Asked {
    Now,
    /// By this expression; by none, never again.
    Schedule(Option<String>),
}

impl Input {
    fn cron(&self) -> Result<Asked, Failure> {
        let ScheduleInput { r#type, cron } = &self.schedule;
        let known = KINDS.iter().find(|(kind, _)| kind == r#type);
        match (r#type.as_str(), known) {
            ("Manual", _) => Ok(Asked::Now),
            ("None", _) => Ok(Asked::Schedule(None)),
            (_, Some((_, usual))) if cron.is_empty() => Ok(Asked::Schedule(Some((*usual).to_owned()))),
            ("Custom" | "Schedule", _) | (_, Some(_)) => Ok(Asked::Schedule(Some(cron.clone()))),
            (other, None) => Err(Failure::bad_request(format!(
                "schedule type {other:?} is none of Manual, Hourly, Daily, Weekly, Custom and None"
            ))),
        }
    }
}
