//! Requests for projects: who may not create one asks here, administrators decide.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use tenancy::list::Value;
use tenancy::{Error, NewProjectRequest, ProjectRequest};

use crate::failure::Failure;
use crate::list::List;
use crate::problem::Problem;
use crate::shell::{Shell, Told, segment};
use crate::size;
use crate::view::View;

/// Key and class of the badge of a request.
fn badge(request: &ProjectRequest) -> (&'static str, &'static str) {
    match request.status.as_str() {
        "approved" => ("request-approved", "ok"),
        "refused" => ("request-refused", "bad"),
        _ => ("request-pending", "warn"),
    }
}

#[derive(Template)]
#[template(path = "requests/list.html", blocks = ["rows"])]
struct ListPage {
    s: Shell,
    l: List,
    requests: Vec<ProjectRequest>,
    /// Requests are taken now.
    open: bool,
}

impl ListPage {
    fn badge(&self, request: &ProjectRequest) -> (&'static str, &'static str) {
        badge(request)
    }
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let mut l = List::of(view, &["-creation_time", "project_name", "status", "requester"], &["status"]);
    let mut query = l.query("project_name");
    if ["pending", "approved", "refused"].contains(&l.filter("status")) {
        query.terms.push(("status".to_owned(), Value::Exact(l.filter("status").to_owned())));
    }
    let page = view.state.tenancy.project_request_list(&view.caller, &query).await?;
    l.total = page.total;
    let open = view.state.tenancy.settings().await?.project_requests;
    let page = ListPage { s: view.shell("requests", view.t("requests-title")), l, requests: page.rows, open };
    view.list(&page.l, &page, &page.as_rows())
}

#[derive(Template)]
#[template(path = "requests/new.html")]
struct NewPage {
    s: Shell,
    name: String,
    public: bool,
    quota: String,
    reason: String,
    p: Problem,
}

impl NewPage {
    fn new(view: &View) -> Self {
        Self {
            s: view
                .shell("requests", view.t("request-new-title"))
                .crumb(view.t("requests-title"), "/requests"),
            name: view.query("name").unwrap_or_default(),
            public: false,
            quota: String::new(),
            reason: String::new(),
            p: Problem::default(),
        }
    }
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    if !view.state.tenancy.settings().await?.project_requests {
        return Err(Failure::hidden());
    }
    view.page(&NewPage::new(view))
}

pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let text = |name: &str| form.text(name).to_owned();
    let (name, quota, reason) = (text("name"), text("quota"), text("reason"));
    let public = form.ticked("public");
    // Nothing typed means the usual limit, not none.
    let storage_limit = if quota.is_empty() { Ok(None) } else { size::parse(&quota).map(Some).ok_or(()) };
    let problem = match storage_limit {
        Err(()) => Problem::new("quota", view.t("quota-wrong")),
        Ok(storage_limit) => {
            let request =
                NewProjectRequest { name: name.clone(), public, storage_limit, reason: reason.clone() };
            match view.state.tenancy.project_request(&view.caller, &request).await {
                Ok(_) => return Ok(view.done("/requests", Told::new("told-request-sent", name))),
                Err(Error::RequestPending(_)) => Problem::new("name", view.t("request-pending-already")),
                Err(Error::Invalid(why)) if why.starts_with("reason") => {
                    Problem::new("reason", view.t("request-reason-long"))
                }
                Err(Error::Invalid(_)) => Problem::new("name", view.t("project-name-invalid")),
                Err(err) => Problem::of("name", err.into())?,
            }
        }
    };
    let page = NewPage { name, public, quota, reason, p: problem, ..NewPage::new(view) };
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

#[derive(Template)]
#[template(path = "requests/request.html")]
struct RequestPage {
    s: Shell,
    request: ProjectRequest,
    reason: String,
    p: Problem,
}

impl RequestPage {
    async fn new(view: &View, reason: String, p: Problem) -> Result<Self, Failure> {
        let id = view.number("request")?;
        let request = view.state.tenancy.project_request_read(&view.caller, id).await?;
        let title = view.language.text("request-title", &[("name", request.name.as_str().into())]);
        let s = view.shell("requests", title).crumb(view.t("requests-title"), "/requests");
        Ok(Self { s, request, reason, p })
    }

    fn badge(&self) -> (&'static str, &'static str) {
        badge(&self.request)
    }
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    view.page(&RequestPage::new(view, String::new(), Problem::default()).await?)
}

pub(crate) async fn decide(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let (decision, reason) = (form.text("decision"), form.text("reason"));
    let id = view.number("request")?;
    let tenancy = &view.state.tenancy;
    let name = tenancy.project_request_read(&view.caller, id).await?.name;
    let problem = match tenancy.project_request_decide(&view.caller, id, decision, reason).await {
        Ok(Some(_)) => {
            let path = format!("/projects/{}", segment(&name));
            return Ok(view.done(&path, Told::new("told-project-created", name)));
        }
        Ok(None) => return Ok(view.done("/requests", Told::new("told-request-refused", name))),
        Err(Error::NameTaken(_)) => Problem::new("reason", view.t("request-name-taken")),
        Err(Error::RequestDecided(_)) => Problem::new("main", view.t("request-decided-already")),
        Err(err) => Problem::of("reason", err.into())?,
    };
    let page = RequestPage::new(view, reason.to_owned(), problem).await?;
    view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}
