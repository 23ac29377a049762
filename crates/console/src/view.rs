//! One request, as pages see it: who looks, in which language, what the address and the form say.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    LOCATION, ORIGIN, REFERRER_POLICY, RETRY_AFTER, USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use askama::Template;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use identity::browser::{TOKEN_HEADER, from_another_site};
use identity::{Caller, Origin, Principal, SignedIn};
use oci::RepositoryName;
use percent_encoding::percent_decode_str;
use tenancy::{CreationRestriction, ListUsers, Permit, ProjectAction, ProjectRef, SystemPermit};

use crate::State;
use crate::cookies::{self, Kind};
use crate::failure::Failure;
use crate::form::{self, Form};
use crate::list::List;
use crate::shell::{Around, Banner, Shell, Theme, Told};
use crate::text::Language;

/// Nothing from elsewhere, nothing inside the page, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A request for a page.
pub(crate) struct View {
    pub state: web::Data<State>,
    pub caller: Caller,
    pub signed_in: Option<SignedIn>,
    pub language: Language,
    pub theme: Theme,
    pub now: DateTime<Utc>,
    /// What every page shows around itself.
    pub around: Around,
    /// The token for forms of this page.
    pub token: String,
    /// The token of forms that were made for a session which ended.
    lapsed: Option<String>,
    request: HttpRequest,
    payload: Option<web::Payload>,
    secure: bool,
    told: Option<Told>,
    /// To set with the answer.
    cookies: Vec<Cookie<'static>>,
}

impl View {
    /// Finds out who is looking. A cookie that is no session is nobody.
    pub async fn new(request: HttpRequest, payload: web::Payload) -> Result<Self, Failure> {
        let state = request.app_data::<web::Data<State>>().cloned().ok_or_else(Failure::hidden)?;
        let header = |name: &str| {
            request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let secure = match &state.config.external_url {
            Some(url) => url.starts_with("https://"),
            None => header("x-hythe-scheme") == "https",
        };
        let mut origin = Origin {
            request_id: header("x-request-id"),
            address: header("x-hythe-peer"),
            client: header(USER_AGENT.as_str()).chars().take(255).collect(),
            method: "anonymous",
        };
        let cookie = cookies::read(&request, Kind::Session, secure);
        let signed_in = match &cookie {
            Some(cookie) => state.identity.session(cookie).await?,
            None => None,
        };
        let mut set = Vec::new();
        let (principal, token) = match (&signed_in, &cookie) {
            (Some(signed_in), Some(cookie)) => {
                origin.method = "session";
                (Principal::User(signed_in.user.clone()), form::token(cookie))
            }
            _ => {
                let visitor = cookies::read(&request, Kind::Form, secure).filter(|value| value.len() == 32);
                let visitor = visitor.unwrap_or_else(|| {
                    let fresh = format!("{:032x}", rand::random::<u128>());
                    set.push(cookies::make(Kind::Form, fresh.clone(), secure));
                    fresh
                });
                (Principal::Anonymous, form::token(&visitor))
            }
        };
        let query = request.query_string().to_owned();
        let asked = field(&query, "lang").as_deref().and_then(Language::parse);
        let chosen = signed_in.as_ref().map(|signed_in| signed_in.preferences.clone()).unwrap_or_default();
        let language = Language::parse(&chosen.language)
            .or(asked)
            .or_else(|| Language::parse(&cookies::read(&request, Kind::Language, secure)?))
            .or_else(|| Language::accepted(&header(ACCEPT_LANGUAGE.as_str())))
            .unwrap_or(Language::English);
        let theme = match chosen.theme.as_str() {
            "" => Theme::parse(&cookies::read(&request, Kind::Theme, secure).unwrap_or_default()),
            theme => Theme::parse(theme),
        };
        let told = cookies::read(&request, Kind::Told, secure);
        if told.is_some() {
            set.push(cookies::remove(Kind::Told, secure));
        }
        let caller = Caller::new(principal, origin);
        let around = around(&state, &caller).await;
        Ok(Self {
            around,
            now: state.tenancy.now(),
            lapsed: cookie.filter(|_| signed_in.is_none()).map(|cookie| form::token(&cookie)),
            state,
            caller,
            signed_in,
            language,
            theme,
            token,
            request,
            payload: Some(payload),
            secure,
            told: told.as_deref().and_then(Told::parse),
            cookies: set,
        })
    }

    /// The person who is signed in.
    pub fn user(&self) -> Result<&SignedIn, Failure> {
        self.signed_in.as_ref().ok_or_else(Failure::sign_in)
    }

    /// Rows on a page of a list, unless the address says otherwise.
    pub fn page_size(&self) -> i64 {
        self.signed_in.as_ref().map_or(0, |signed_in| signed_in.preferences.page_size).into()
    }

    /// The proof that the viewer administers the system. Comes before everything below `/admin`.
    pub async fn sysadmin(&self) -> Result<SystemPermit<ListUsers>, Failure> {
        Ok(self.state.tenancy.system_permit(&self.caller, None).await?)
    }

    /// A text of this page.
    pub fn t(&self, key: &str) -> String {
        self.language.text(key, &[])
    }

    /// A segment of the path, decoded once; empty when the route has none of this name.
    pub fn segment(&self, name: &str) -> String {
        let text = self.request.match_info().get(name).unwrap_or_default();
        percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |text| text.into_owned())
    }

    /// A number of the path; what is none does not exist.
    pub fn number(&self, name: &str) -> Result<i64, Failure> {
        self.segment(name).parse().map_err(|_| Failure::hidden())
    }

    /// A value of the query; `None` when it is absent or empty.
    pub fn query(&self, name: &str) -> Option<String> {
        field(self.request.query_string(), name).filter(|value| !value.is_empty())
    }

    /// The whole query, as sent.
    pub fn query_string(&self) -> &str {
        self.request.query_string()
    }

    /// The path as sent.
    pub fn path(&self) -> &str {
        self.request.path()
    }

    pub fn method(&self) -> &actix_web::http::Method {
        self.request.method()
    }

    /// The project of the path, which is always a name.
    pub fn project(&self) -> ProjectRef {
        ProjectRef::parse(&self.segment("project"), true)
    }

    /// The proof that the viewer may do `A` in the project of the path. Comes before every look inside it. A visitor is
    /// told what a stranger is told, with a way to sign in.
    pub async fn permit<A: ProjectAction>(&self) -> Result<Permit<A>, Failure> {
        self.state.tenancy.permit::<A>(&self.caller, &self.project()).await.map_err(|err| match err {
            tenancy::Error::Unauthenticated => Failure::hidden(),
            other => other.into(),
        })
    }

    /// The repository of the path, inside the project of the permit.
    pub fn repository<A>(&self, permit: &Permit<A>) -> Result<RepositoryName, Failure> {
        format!("{}/{}", permit.name, self.segment("repository")).parse().map_err(|_| Failure::hidden())
    }

    /// Scheme and authority of this installation.
    pub fn external_url(&self) -> String {
        if let Some(url) = &self.state.config.external_url {
            return url.trim_end_matches('/').to_owned();
        }
        let host = self.request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        };
        let host = if !host.is_empty() && host.bytes().all(plain) { host } else { "localhost" };
        format!("{}://{host}", if self.secure { "https" } else { "http" })
    }

    /// What stands before a repository's name in a reference: host and port.
    pub fn host(&self) -> String {
        let url = self.external_url();
        url.split_once("://").map_or(url.clone(), |(_, host)| host.to_owned())
    }

    /// Reads the form of this request and makes sure that this console made it, for this session. Everything that changes
    /// something begins with this.
    pub async fn form(&mut self) -> Result<Form, Failure> {
        let form = self.unchecked_form().await?;
        if self.made(&form, &self.token) { Ok(form) } else { Err(Failure::stale_form()) }
    }

    /// Whether the browser still holds a session that ended.
    pub fn has_lapsed(&self) -> bool {
        self.lapsed.is_some()
    }

    /// A form that this console made for a session that has ended. For showing what was typed, and for nothing else.
    pub async fn lapsed_form(&mut self) -> Result<Form, Failure> {
        let form = self.unchecked_form().await?;
        match &self.lapsed {
            Some(token) if self.made(&form, token) => Ok(form),
            _ => Err(Failure::stale_form()),
        }
    }

    /// From here on the viewer is who has just signed in with this cookie.
    pub async fn becomes(&mut self, cookie: &str) -> Result<(), Failure> {
        self.signed_in = self.state.identity.session(cookie).await?;
        if let Some(signed_in) = &self.signed_in {
            self.token = form::token(cookie);
            self.caller.principal = Principal::User(signed_in.user.clone());
            self.caller.origin.method = "session";
        }
        Ok(())
    }

    /// Whether the form was made by this console, with this token, and sent by a page of its own.
    fn made(&self, form: &Form, token: &str) -> bool {
        let headers = self.request.headers();
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
        let foreign_origin = text(ORIGIN.as_str()).is_some_and(|origin| {
            origin.split_once("://").map(|(_, host)| host) != text(HOST.as_str()).as_deref()
                && origin != self.external_url()
        });
        let shown = text(TOKEN_HEADER).unwrap_or_else(|| form.raw(form::TOKEN).to_owned());
        !self.is_from_another_site() && !foreign_origin && form::same(&shown, token)
    }

    /// Whether the browser says that another site caused this request.
    pub fn is_from_another_site(&self) -> bool {
        let said = self.request.headers().get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
        from_another_site(said)
    }

    /// An answer for a program, which has no page to show.
    pub fn status(&self, status: StatusCode) -> HttpResponse {
        self.answer(status).finish()
    }

    async fn unchecked_form(&mut self) -> Result<Form, Failure> {
        let kind = self
            .request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            return Err(Failure::stale_form());
        }
        let mut body = Vec::new();
        if let Some(mut payload) = self.payload.take() {
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|_| Failure::bad_request("the form ended early"))?;
                if body.len() + chunk.len() > form::BYTES_MAX {
                    return Err(Failure::too_large());
                }
                body.extend_from_slice(&chunk);
            }
        }
        Form::parse(&body).ok_or_else(|| Failure::bad_request("the form is not text"))
    }

    /// The frame of a page: `section` is the entry of the navigation that it belongs to.
    pub fn shell(&self, section: &'static str, title: impl Into<String>) -> Shell {
        Shell::new(self, section, title.into())
    }

    /// What the page before this one had to say.
    pub fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// Where a redirect after signing in or choosing a language leads back to.
    pub fn here(&self) -> String {
        match self.request.query_string() {
            "" => self.request.path().to_owned(),
            query => format!("{}?{query}", self.request.path()),
        }
    }

    /// A choice that the visitor made before.
    pub fn choice(&self, kind: Kind) -> Option<String> {
        cookies::read(&self.request, kind, self.secure)
    }

    /// Sets a cookie with the answer.
    pub fn set(&mut self, kind: Kind, value: String) {
        self.cookies.push(cookies::make(kind, value, self.secure));
    }

    /// Takes a cookie away with the answer.
    pub fn unset(&mut self, kind: Kind) {
        self.cookies.push(cookies::remove(kind, self.secure));
    }

    /// The page.
    pub fn page(&self, page: &impl Template) -> Result<HttpResponse, Failure> {
        self.page_with(StatusCode::OK, page)
    }

    /// The page with another status: a form that was refused, with what was typed.
    pub fn page_with(&self, status: StatusCode, page: &impl Template) -> Result<HttpResponse, Failure> {
        Ok(self.answer(status).insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(page.render()?))
    }

    /// A list: all of its page, or only what changes with a filter when a script asks for that, which also hears at which
    /// address it stands then. Typing on goes on at that address; one step back is the list before anything was typed.
    pub fn list(
        &self,
        l: &List,
        page: &impl Template,
        rows: &impl Template,
    ) -> Result<HttpResponse, Failure> {
        let mut response = self.part(page, rows)?;
        let address = l.address();
        let before = self.header("hx-current-url");
        let before =
            before.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap_or_default().1;
        if self.asks_for_a_part() && address.strip_prefix('/') != Some(before) {
            let typing = l.narrows(before.split_once('?').unwrap_or_default().1);
            let name = if typing { "hx-replace-url" } else { "hx-push-url" };
            if let Ok(value) = HeaderValue::from_str(&address) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        Ok(response)
    }

    /// The page, or only the part of it that changes when a script asks for that.
    pub fn part(&self, page: &impl Template, part: &impl Template) -> Result<HttpResponse, Failure> {
        let html = if self.asks_for_a_part() { part.render()? } else { page.render()? };
        let mut response = self.answer(StatusCode::OK);
        response.insert_header((VARY, "Cookie, Accept-Language, HX-Request, HX-Request-Type"));
        Ok(response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html))
    }

    /// Whether a script of the page wants to put the answer into it.
    fn asks_for_a_part(&self) -> bool {
        self.header("hx-request") == "true" && self.header("hx-request-type") == "partial"
    }

    /// A header of the request; empty when there is none, or none that is text.
    fn header(&self, name: &str) -> &str {
        self.request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// On to another page of the console, after something was changed.
    pub fn go(&self, path: &str) -> HttpResponse {
        self.answer(StatusCode::SEE_OTHER).insert_header((LOCATION, path)).finish()
    }

    /// On to another page, which then tells what was done.
    pub fn done(&mut self, path: &str, told: Told) -> HttpResponse {
        self.set(Kind::Told, told.encode());
        self.go(path)
    }

    /// A file to keep.
    pub fn download(&self, media_type: &str, name: &str, body: impl Into<web::Bytes>) -> HttpResponse {
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+') { c } else { '-' })
            .collect();
        self.answer(StatusCode::OK)
            .insert_header((CONTENT_TYPE, media_type))
            .insert_header(("Content-Disposition", format!("attachment; filename=\"{plain}\"")))
            .body(body.into())
    }

    /// A file to keep that is made while it is read. A failure on the way ends it without its end.
    pub fn stream<S>(&self, media_type: &str, name: &str, body: S) -> HttpResponse
    where
        S: futures_util::Stream<Item = Result<web::Bytes, actix_web::Error>> + 'static,
    {
        self.answer(StatusCode::OK)
            .insert_header((CONTENT_TYPE, media_type))
            .insert_header(("Content-Disposition", format!("attachment; filename=\"{name}\"")))
            .streaming(Box::pin(body))
    }

    fn answer(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        response
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((VARY, "Cookie, Accept-Language"))
            .insert_header((CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((X_FRAME_OPTIONS, "DENY"))
            .insert_header((REFERRER_POLICY, "same-origin"))
            .insert_header((TOKEN_HEADER, self.token.as_str()));
        for cookie in &self.cookies {
            response.cookie(cookie.clone());
        }
        response
    }

    /// A failure as a page, in the language and the colours of the viewer.
    pub fn failed(&self, failure: &Failure) -> HttpResponse {
        if self.asks_for_a_part() {
            // No page belongs into a page: it is loaded anew, and shows what is wrong. What may pass is asked for again.
            let mut response = self.answer(failure.status);
            if failure.status.is_client_error() {
                response.insert_header(("hx-refresh", "true"));
            }
            return response.finish();
        }
        if failure.status == StatusCode::UNAUTHORIZED && self.request.method() == actix_web::http::Method::GET
        {
            let back: String =
                percent_encoding::utf8_percent_encode(&self.here(), percent_encoding::NON_ALPHANUMERIC)
                    .to_string();
            return self.go(&format!("/login?return={back}"));
        }
        let page = crate::pages::error::ErrorPage::new(self, failure);
        match page.render() {
            Ok(html) => {
                let mut response = self.answer(failure.status);
                if let Some(seconds) = failure.retry_after_seconds {
                    response.insert_header((RETRY_AFTER, seconds.to_string()));
                }
                response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html)
            }
            Err(err) => {
                tracing::error!(error = %err, "the page of an error failed");
                self.answer(StatusCode::INTERNAL_SERVER_ERROR).body("Something went wrong.\n")
            }
        }
    }
}

/// What every page shows around itself. A page that can be shown is shown, also when this cannot be read.
async fn around(state: &State, caller: &Caller) -> Around {
    let settings = state.tenancy.settings().await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "the settings cannot be read for a page");
        Default::default()
    });
    let (jobs, jobs_at) = match (&state.platform, &caller.principal) {
        (Some(platform), Principal::User(user)) if user.sysadmin => {
            (platform.jobs.at_work().await.unwrap_or_default(), "/admin/jobs?state=running".to_owned())
        }
        (Some(platform), Principal::User(user)) => {
            let (count, newest) = platform.jobs.unfinished_of(&user.name).await.unwrap_or_default();
            (count, newest.map(|id| format!("/jobs/{id}")).unwrap_or_default())
        }
        _ => (0, String::new()),
    };
    let open = settings.project_creation_restriction == CreationRestriction::Everyone;
    Around {
        banner: Banner::parse(&settings.banner_message, state.tenancy.now()),
        read_only: settings.read_only,
        may_create_projects: !caller.is_anonymous() && (open || caller.is_sysadmin()) && !settings.read_only,
        has_jobs: state.platform.is_some(),
        jobs,
        jobs_at,
    }
}

/// A path of this console to go back to; anything else leads home.
pub(crate) fn local(path: &str) -> &str {
    let good = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(['\\', '\r', '\n', '\t', '\0'])
        && !path.starts_with("/login")
        && !path.starts_with("/logout");
    if good { path } else { "/" }
}

/// A value of a query string.
pub(crate) fn field(query: &str, name: &str) -> Option<String> {
    let form = Form::parse(query.as_bytes())?;
    Some(form.text(name).to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_console_are_gone_back_to() {
        for (path, kept) in [
            ("/projects?q=a", true),
            ("/", true),
            ("//evil.example", false),
            ("https://evil.example", false),
            ("/\\evil.example", false),
            ("/a\r\nSet-Cookie: x", false),
            ("javascript:alert(1)", false),
            ("/login?return=/", false),
            ("", false),
        ] {
            assert_eq!(local(path), if kept { path } else { "/" });
        }
    }
}
