//! Immutable tag rules over REST.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actix_web::HttpResponse;
use catalog::{ImmutableRule, RuleInput, Selector};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{CreateImmutableRule, DeleteImmutableRule, ListImmutableRules, UpdateImmutableRule};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::answer::{created, done, zero};
use crate::context::Context;
use crate::error::Failure;

/// The one thing a rule does, and the one way to say so.
const ACTION: &str = "immutable";
const TEMPLATE: &str = "immutable_template";

/// How a [`Selector`] is described: the domain it comes from knows nothing of descriptions.
pub(crate) struct SelectorShape;

impl PartialSchema for SelectorShape {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        ObjectBuilder::new()
            .property("kind", text("`doublestar`"))
            .property(
                "decoration",
                text("`matches`, `excludes`; of repositories `repoMatches`, `repoExcludes`"),
            )
            .property("pattern", text("a pattern with `*`, `**`, `?` and `{a,b}`"))
            .property("extras", text("kept and returned"))
            .into()
    }
}

impl ToSchema for SelectorShape {
    fn name() -> Cow<'static, str> {
        "Selector".into()
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ImmutableRuleInput)]
pub(crate) struct Input {
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    action: String,
    #[serde(default)]
    template: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Value,
    #[serde(default)]
    #[schema(value_type = Option<Vec<SelectorShape>>)]
    tag_selectors: Option<Vec<Selector>>,
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Vec<SelectorShape>>>)]
    scope_selectors: Option<BTreeMap<String, Vec<Selector>>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ImmutableRule)]
pub(crate) struct Output {
    id: i64,
    #[serde(skip_serializing_if = "zero")]
    priority: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
    action: &'static str,
    template: &'static str,
    #[serde(skip_serializing_if = "crate::answer::nothing")]
    #[schema(value_type = Object)]
    params: Value,
    #[schema(value_type = Vec<SelectorShape>)]
    tag_selectors: Vec<Selector>,
    #[schema(value_type = BTreeMap<String, Vec<SelectorShape>>)]
    scope_selectors: BTreeMap<String, Vec<Selector>>,
}

impl From<ImmutableRule> for Output {
    fn from(rule: ImmutableRule) -> Self {
        Self {
            id: rule.id,
            priority: rule.priority.into(),
            disabled: rule.disabled,
            action: ACTION,
            template: TEMPLATE,
            params: rule.params,
            tag_selectors: rule.tag_selectors,
            scope_selectors: rule.scope_selectors,
        }
    }
}

impl Input {
    fn checked(self) -> Result<RuleInput, Failure> {
        for (key, given, only) in [("action", &self.action, ACTION), ("template", &self.template, TEMPLATE)] {
            if !given.is_empty() && given != only {
                return Err(Failure::bad_request(format!("{key} is {only:?}, not {given:?}")));
            }
        }
        Ok(RuleInput {
            disabled: self.disabled,
            priority: self.priority,
            tag_selectors: self.tag_selectors.unwrap_or_default(),
            scope_selectors: self.scope_selectors.unwrap_or_default(),
            params: self.params,
        })
    }
}

pub(crate) async fn list(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<ListImmutableRules>().await?;
    let params = context.params()?;
    let page = context.state.catalog.immutable.list(&permit, &params.list_query()?).await?;
    let mut response = HttpResponse::Ok();
    params.paging()?.headers(&mut response, context.path(), &params, page.total);
    Ok(response.json(page.rows.into_iter().map(Output::from).collect::<Vec<_>>()))
}

pub(crate) async fn create(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<CreateImmutableRule>().await?;
    let input = context.json::<Input>().await?.checked()?;
    let id = context.state.catalog.immutable.create(&permit, &input).await?;
    Ok(created(format!("{}/{id}", context.path())))
}

pub(crate) async fn update(mut context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<UpdateImmutableRule>().await?;
    let id = context.id("immutable_rule_id")?;
    let input = context.json::<Input>().await?.checked()?;
    context.state.catalog.immutable.update(&permit, id, &input).await?;
    Ok(done())
}

pub(crate) async fn delete(context: Context) -> Result<HttpResponse, Failure> {
    let permit = context.permit::<DeleteImmutableRule>().await?;
    let id = context.id("immutable_rule_id")?;
    context.state.catalog.immutable.delete(&permit, id).await?;
    Ok(done())
}
