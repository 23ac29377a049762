//! Naming policies and what breaks them, over REST.
//!
//! A report is paged by place and not by number: names are judged as they are read, so nobody knows how many findings
//! there are before the last. `Link` tells where the next page begins, until there is none; a page may be short.

use std::borrow::Cow;

use actix_web::HttpResponse;
use catalog::{NamingFinding, NamingMode, NamingReport, NamingRule, NamingTarget, ReportPlace};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tenancy::{
    ReadInstallationNaming, ReadNamingPolicy, ReadNamingReport, UpdateInstallationNaming, UpdateNamingPolicy,
};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::answer::{done, json};
use crate::context::Context;
use crate::error::Failure;
use crate::params::Params;

/// How a [`NamingRule`] is described: the domain it comes from knows nothing of descriptions.
pub(crate) struct RuleShape;

impl PartialSchema for RuleShape {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        ObjectBuilder::new()
            .property("target", text("`repository` or `tag`"))
            .property("pattern", text("a regular expression that the whole name has to match"))
            .property("message", text("what somebody is told whose name does not"))
            .property("mode", text("`enforce` or `warn`"))
            .into()
    }
}

impl ToSchema for RuleShape {
    fn name() -> Cow<'static, str> {
        "NamingRule".into()
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NamingPolicyInput)]
pub(crate) struct PolicyInput {
    #[schema(value_type = Vec<RuleShape>)]
    rules: Vec<NamingRule>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NamingPolicy)]
pub(crate) struct PolicyOutput {
    #[schema(value_type = Vec<RuleShape>)]
    rules: Vec<NamingRule>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NamingFinding)]
pub(crate) struct FindingOutput {
    project_name: String,
    repository_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[schema(value_type = String)]
    target: NamingTarget,
    pattern: String,
    message: String,
    #[schema(value_type = String)]
    mode: NamingMode,
}

impl From<NamingFinding> for FindingOutput {
    fn from(finding: NamingFinding) -> Self {
        let NamingRule { target, pattern, message, mode } = finding.rule;
        let project = finding.repository.split('/').next().unwrap_or_default().to_owned();
        Self {
            project_name: project,
            repository_name: finding.repository,
            tag: finding.tag,
            target,
            pattern,
            message,
            mode,
        }
    }
}

pub(crate) async fn get(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadNamingPolicy>().await?;
    Ok(json(&PolicyOutput { rules: context.state.catalog.naming.of_project(&permit).await? }))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<UpdateNamingPolicy>().await?;
    let PolicyInput { rules } = context.json().await?;
    context.state.catalog.naming.set_for_project(&permit, &rules).await?;
    Ok(done())
}

pub(crate) async fn get_for_installation(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ReadInstallationNaming>(&context.caller, None).await?;
    Ok(json(&PolicyOutput { rules: context.state.catalog.naming.of_installation(&permit).await? }))
}

pub(crate) async fn update_for_installation(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit =
        context.state.tenancy.system_permit::<UpdateInstallationNaming>(&context.caller, None).await?;
    let PolicyInput { rules } = context.json().await?;
    context.state.catalog.naming.set_for_installation(&permit, &rules).await?;
    Ok(done())
}

pub(crate) async fn report(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ReadNamingReport>().await?;
    let asked = Asked::of(&context.params()?)?;
    let report =
        context.state.catalog.naming.report_of_project(&permit, asked.place.clone(), asked.size).await?;
    Ok(asked.answer(context.path(), report))
}

pub(crate) async fn report_for_installation(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.state.tenancy.system_permit::<ReadInstallationNaming>(&context.caller, None).await?;
    let asked = Asked::of(&context.params()?)?;
    let report =
        context.state.catalog.naming.report_of_installation(&permit, asked.place.clone(), asked.size).await?;
    Ok(asked.answer(context.path(), report))
}

/// Which page of a report.
struct Asked {
    place: ReportPlace,
    size: usize,
}

impl Asked {
    fn of(params: &Params) -> Result<Self, Failure> {
        let place = params.text("after").map(str::parse).transpose()?.unwrap_or_default();
        let size = usize::try_from(params.paging()?.size).unwrap_or(1);
        Ok(Self { place, size })
    }

    fn answer(&self, path: &str, report: NamingReport) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        match &report.next {
            Some(next) => {
                let next = next.to_string();
                let after = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                let link = format!("<{path}?page_size={}&after={after}>; rel=\"next\"", self.size);
                response.insert_header(("Link", link));
            }
            // The number is known when one page has them all.
            None if self.place == ReportPlace::default() => {
                response.insert_header(("X-Total-Count", report.findings.len().to_string()));
            }
            None => {}
        }
        response.json(report.findings.into_iter().map(FindingOutput::from).collect::<Vec<_>>())
    }
}
