//! Labels on one artifact: which there are to choose from, putting one on, taking one off.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use catalog::{Artifact, Error, Label};
use oci::{Digest, Reference};
use tenancy::list::{Query, Value};
use tenancy::roles::{Action, Resource};
use tenancy::{CreateArtifactLabel, DeleteArtifactLabel, ListLabels, Permit, ReadArtifact};

use super::address;
use super::artifact::{self, digest, place};
use crate::failure::Failure;
use crate::shell::Told;
use crate::view::View;

/// Labels of the project, and as many of the installation, that the form proposes. Others are typed.
const PROPOSED_MAX: i64 = 100;

/// What an artifact's page shows about labels.
pub(super) struct Choice {
    pub may_add: bool,
    pub may_remove: bool,
    /// Names to choose from, without those that it wears.
    pub proposed: Vec<String>,
    /// What was typed, and what is wrong with it.
    pub typed: String,
    pub problem: Option<String>,
}

impl Choice {
    pub async fn of(
        view: &View,
        permit: &Permit<ReadArtifact>,
        artifact: &Artifact,
    ) -> Result<Self, Failure> {
        let may = |action| permit.rights().allow(Resource::ArtifactLabel, action);
        let may_add = may(Action::Create) && permit.rights().allow(Resource::Label, Action::List);
        let mut proposed = Vec::new();
        if may_add {
            let query =
                Query { sort: vec![("name".to_owned(), false)], page_size: PROPOSED_MAX, ..Query::default() };
            let all = labels(view, &query).await?;
            let new = |label: &Label| artifact.labels.iter().all(|worn| worn.id != label.id);
            proposed = all.into_iter().filter(new).map(|label| label.name).collect();
            proposed.dedup();
        }
        Ok(Self { may_add, may_remove: may(Action::Delete), proposed, typed: String::new(), problem: None })
    }
}

/// Labels of the project of the path, then those of the installation.
async fn labels(view: &View, query: &Query) -> Result<Vec<Label>, Failure> {
    let permit = view.permit::<ListLabels>().await?;
    let labels = &view.state.catalog.labels;
    let mut all = labels.list(&permit, None, query).await?.rows;
    all.extend(labels.list_global(None, query).await?.rows);
    Ok(all)
}

pub(crate) async fn add(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let digest = digest(view)?;
    let permit = view.permit::<CreateArtifactLabel>().await?;
    let name = view.repository(&permit)?;
    let typed = form.text("label").to_owned();
    let exact = vec![("name".to_owned(), Value::Exact(typed.clone()))];
    let found = labels(view, &Query { terms: exact, ..Query::default() }).await?;
    let reference = Reference::Digest(digest.clone());
    let mut problem = view.language.text("label-unknown", &[("name", typed.as_str().into())]);
    // A project and the installation may have labels of the same name: whichever it does not wear yet.
    for label in found {
        let added = async {
            view.state.tenancy.require_writable().await?;
            view.state.catalog.labels.attach(&permit, &name, &reference, label.id).await
        };
        match added.await {
            Ok(()) => {
                let page = place(&address(name.as_str()), &digest);
                return Ok(view.done(&page, Told::new("told-label-added", label.name)));
            }
            Err(Error::Conflict(_)) => {
                problem = view.language.text("label-worn", &[("name", typed.as_str().into())]);
            }
            Err(err) => return Err(err.into()),
        }
    }
    let read = view.permit::<ReadArtifact>().await?;
    let mut page = artifact::page(view, &read, reference, String::new(), None).await?;
    page.labels.typed = typed;
    page.labels.problem = Some(problem);
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

pub(crate) async fn remove(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let digest: Digest = digest(view)?;
    let permit = view.permit::<DeleteArtifactLabel>().await?;
    let name = view.repository(&permit)?;
    let label: i64 = form.text("label").parse().map_err(|_| Failure::hidden())?;
    let (_, found) = view.state.catalog.labels.find(label).await?;
    view.state.tenancy.require_writable().await?;
    view.state.catalog.labels.detach(&permit, &name, &Reference::Digest(digest.clone()), label).await?;
    let page = place(&address(name.as_str()), &digest);
    // It was on this artifact, so its name may be told.
    let removed = found.map(|label| label.name).unwrap_or_default();
    let mut told = Told::new("told-label-removed", removed.clone());
    if permit.rights().allow(Resource::ArtifactLabel, Action::Create) {
        told = told.undo(format!("{page}/labels"), vec![("label".to_owned(), removed)]);
    }
    Ok(view.done(&page, told))
}
