//! One's own access tokens.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use chrono::{Days, NaiveDate};
use tenancy::{ShownToken, TokenInput, TokensPermit};

use crate::failure::Failure;
use crate::form::Form;
use crate::list::List;
use crate::pages::me::me_shell;
use crate::problem::Problem;
use crate::shell::{Shell, Told};
use crate::view::View;

/// An account has no more.
const TOKENS_MAX: i64 = 100;

/// Days before the end at which a token is marked.
const NEAR_DAYS: i64 = 14;

/// What a token can be made for, with the keys of what it is called and what it opens.
const SCOPES: [(&str, &str, &str); 5] = [
    ("pull", "token-scope-pull", "token-scope-pull-hint"),
    ("push", "token-scope-push", "token-scope-push-hint"),
    ("delete", "token-scope-delete", "token-scope-delete-hint"),
    ("api:read", "token-scope-api-read", "token-scope-api-read-hint"),
    ("api", "token-scope-api", "token-scope-api-hint"),
];

/// Days until the end to choose from.
const ENDS: [&str; 5] = ["30", "90", "365", "date", "never"];

#[derive(Template)]
#[template(path = "me/tokens.html")]
struct TokensPage {
    s: Shell,
    l: List,
    tokens: Vec<ShownToken>,
}

impl TokensPage {
    /// Key of how an end is called, and the class of its badge.
    fn end(&self, token: &ShownToken) -> (&'static str, &'static str) {
        match token.token.expires_at {
            None => ("token-ends-never", ""),
            Some(end) if end <= self.s.now => ("token-ended", "bad"),
            Some(end) if (end - self.s.now).num_days() < NEAR_DAYS => ("token-ends-soon", "warn"),
            Some(_) => ("token-ends", ""),
        }
    }
}

async fn own(view: &View) -> Result<TokensPermit, Failure> {
    Ok(view.state.tenancy.tokens_permit(&view.caller, view.user()?.user.id).await?)
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = own(view).await?;
    let mut l = List::of(view, &["name"], &[]);
    let page = view.state.tenancy.access_token_list(&permit, l.page, l.size).await?;
    l.total = page.total;
    view.page(&TokensPage { s: me_shell(view, "me-tab-tokens", "me-tokens-title"), l, tokens: page.rows })
}

#[derive(Template)]
#[template(path = "me/token_new.html")]
struct NewPage {
    s: Shell,
    problem: Problem,
    scopes: [(&'static str, &'static str, &'static str); 5],
    ends: [&'static str; 5],
    typed: Typed,
}

#[derive(Default)]
struct Typed {
    name: String,
    scopes: Vec<String>,
    /// Names of projects, as typed.
    projects: String,
    end: String,
    date: String,
}

impl Typed {
    fn of(form: &Form) -> Self {
        Self {
            name: form.text("name").to_owned(),
            scopes: form.all("scope").into_iter().map(ToOwned::to_owned).collect(),
            projects: form.text("projects").to_owned(),
            end: form.text("end").to_owned(),
            date: form.text("date").to_owned(),
        }
    }

    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|chosen| chosen == scope)
    }

    /// What to ask of the domain; days end at their midnight.
    fn input(&self, view: &View) -> Result<TokenInput, Problem> {
        let days = |days: u64| view.now.checked_add_days(Days::new(days));
        let expires_at = match self.end.as_str() {
            "never" => None,
            "30" => days(30),
            "365" => days(365),
            "date" => {
                let end = self.date.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(23, 59, 59));
                Some(end.ok_or_else(|| Problem::new("date", view.t("token-date-bad")))?.and_utc())
            }
            _ => days(90),
        };
        if expires_at.is_some_and(|end| end <= view.now) {
            return Err(Problem::new("date", view.t("token-date-past")));
        }
        if self.scopes.is_empty() {
            return Err(Problem::new("scope-pull", view.t("token-scope-none")));
        }
        let names = self.projects.split(|c: char| c == ',' || c.is_whitespace());
        Ok(TokenInput {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            projects: names.filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect(),
            expires_at,
        })
    }
}

impl NewPage {
    fn new(view: &View, typed: Typed, problem: Problem) -> Self {
        let s =
            me_shell(view, "me-tab-tokens", "token-new-title").crumb(view.t("me-tokens-title"), "/me/tokens");
        Self { s, problem, scopes: SCOPES, ends: ENDS, typed }
    }
}

pub(crate) async fn new(view: &mut View) -> Result<HttpResponse, Failure> {
    let typed = Typed { end: "90".to_owned(), scopes: vec!["pull".to_owned()], ..Typed::default() };
    view.page(&NewPage::new(view, typed, Problem::default()))
}

#[derive(Template)]
#[template(path = "me/token_made.html")]
struct MadePage<'a> {
    s: Shell,
    name: String,
    user: String,
    secret: &'a str,
}

/// The answer is the only page that ever shows the secret; nothing on the way keeps it.
pub(crate) async fn create(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = own(view).await?;
    let typed = Typed::of(&form);
    let made = match typed.input(view) {
        Ok(input) => view.state.tenancy.access_token_create(&permit, input).await.map_err(|err| {
            let taken = matches!(err, tenancy::Error::Identity(identity::Error::Taken(_)));
            let text = err.to_string();
            if taken {
                Ok(Problem::new("name", view.t("token-name-taken")))
            } else if text.starts_with("project ") {
                Ok(Problem::new("projects", view.t("token-project-unknown")))
            } else if matches!(err, tenancy::Error::Identity(identity::Error::Invalid(text)) if text.contains("name")) {
                Ok(Problem::new("name", view.t("token-name-bad")))
            } else {
                Problem::of("name", err.into())
            }
        }),
        Err(problem) => Err(Ok(problem)),
    };
    match made {
        Ok((_, secret)) => {
            let s = me_shell(view, "me-tab-tokens", "token-made-title");
            let (name, user) = (typed.name, view.user()?.user.name.clone());
            view.page(&MadePage { s, name, user, secret: secret.expose_str().unwrap_or_default() })
        }
        Err(problem) => {
            view.page_with(StatusCode::UNPROCESSABLE_ENTITY, &NewPage::new(view, typed, problem?))
        }
    }
}

#[derive(Template)]
#[template(path = "me/token_delete.html")]
struct DeletePage {
    s: Shell,
    shown: ShownToken,
}

/// The token that the path names.
async fn named(view: &View, permit: &TokensPermit) -> Result<ShownToken, Failure> {
    let name = view.segment("token");
    let page = view.state.tenancy.access_token_list(permit, 1, TOKENS_MAX).await?;
    page.rows.into_iter().find(|shown| shown.token.name == name).ok_or_else(Failure::hidden)
}

pub(crate) async fn ask_delete(view: &mut View) -> Result<HttpResponse, Failure> {
    let shown = named(view, &own(view).await?).await?;
    let s =
        me_shell(view, "me-tab-tokens", "token-delete-title").crumb(view.t("me-tokens-title"), "/me/tokens");
    view.page(&DeletePage { s, shown })
}

pub(crate) async fn delete(view: &mut View) -> Result<HttpResponse, Failure> {
    view.form().await?;
    let permit = own(view).await?;
    let shown = named(view, &permit).await?;
    view.state.tenancy.access_token_delete(&permit, shown.token.id).await?;
    Ok(view.done("/me/tokens", Told::new("told-token-deleted", shown.token.name)))
}
