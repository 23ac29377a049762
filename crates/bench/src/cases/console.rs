//! Pages of the web console, as twenty people who are signed in ask for them at the same time.
//!
//! The pages come from the program's own table (`hythe config pages`), so that none is forgotten. They show three projects,
//! sixty repositories and one repository with ten thousand tags. The peer has no console.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::bench::{Bench, Plan};
use crate::http::{Answer, Body, Connection, Head, Sink};
use crate::load::{Limit, Repeated, hammer};
use crate::registry::{Form, Image, PUBLIC, Registry};
use crate::report::{Aim, Kind};
use crate::server::ADMIN;

/// People who look at pages at the same time, each with a session and a connection.
const SESSIONS: usize = 20;
const REPOSITORIES: usize = 60;
/// Tags that one push of a manifest sets.
const TAGS_A_PUSH: usize = 100;
/// The repository with the tags, inside its project.
const MANY: &str = "many";

const AIMS: &[Aim] = &[Aim::P95Ms(50.0)];
/// Of the pages of the repository with the tags.
const AIMS_MANY: &[Aim] = &[Aim::P95Ms(100.0)];

/// What stands for the placeholders of the table.
struct Things {
    values: Vec<(&'static str, String)>,
}

impl Things {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The address of a page; nothing when a placeholder stands for nothing here.
    fn address(&self, path: &str) -> Option<String> {
        let mut address = String::new();
        for (index, part) in path.split(['{', '}']).enumerate() {
            address.push_str(if index % 2 == 0 { part } else { self.get(part)? });
        }
        Some(address)
    }
}

impl Bench {
    pub async fn console(&mut self) -> Result<()> {
        let registry = self.ours;
        let things = self.fill(&registry).await?;
        let sessions = sign_in(&registry).await?;
        let mut missing = Vec::new();
        let mut pages = Vec::new();
        for line in self.table().await? {
            let Some(path) = things.address(&line.path) else {
                missing.push(line.id);
                continue;
            };
            let aims = if line.path.contains("{repository}") { AIMS_MANY } else { AIMS };
            pages.push((line.id, format!("{path}{}", query(&line.path)), aims));
        }
        let last = self.size.tags.div_ceil(50).max(1);
        let tags = format!("/projects/{PUBLIC}/repositories/{MANY}");
        for (name, page) in [("page 1", 1), ("the last page", last)] {
            let path = format!("{tags}?sort=natural&size=50&page={page}");
            pages.push((format!("{name} of {} tags", self.size.tags), path, AIMS_MANY));
        }
        tokio::time::sleep(self.size.rest).await;
        for (name, path, aims) in pages {
            let status = status(&registry, &path, &sessions[0]).await?;
            // A page that a setting hides, or that sends on, says nothing about time.
            if status != 200 {
                missing.push(format!("{name} ({status})"));
                continue;
            }
            let requests: Vec<Repeated> =
                sessions.iter().map(|session| Repeated { head: page(&path, session), status: 200 }).collect();
            let requests = Arc::new(requests);
            let plan = Plan { name: format!("console: {name}"), kind: Kind::Requests, aims, peer: false };
            let run = Limit::For(self.size.run);
            self.case(plan, async |registry, _| hammer(registry.address, &requests, SESSIONS, run).await)
                .await?;
        }
        self.notes
            .push(format!("pages of the console: {SESSIONS} sessions, each on a connection of its own"));
        if !missing.is_empty() {
            self.notes.push(format!("pages of the console that were not measured: {}", missing.join(", ")));
        }
        Ok(())
    }

    /// Every page there is that shows something of its own.
    async fn table(&self) -> Result<Vec<Line>> {
        let output = Command::new(&self.hythe).args(["config", "pages"]).output().await?;
        ensure!(output.status.success(), "hythe config pages: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let mut lines = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(method), Some(path), Some(id)) = (words.next(), words.next(), words.next()) else {
                bail!("hythe config pages prints: {line}");
            };
            // Signing in shows nothing to those who are, and signing out ends the session.
            if method == "GET" && !["console_login", "console_client_logout"].contains(&id) {
                lines.push(Line { path: path.to_owned(), id: id.to_owned() });
            }
        }
        Ok(lines)
    }

    /// Projects, repositories, tags, and one of everything else that pages show.
    async fn fill(&mut self, registry: &Registry) -> Result<Things> {
        let image = Image::new(self.next_seed());
        let repository = format!("{PUBLIC}/{MANY}");
        let mut connection = registry.connect();
        let authorization = registry.pusher(&mut connection, &repository).await?;
        let named = ("latest", &image);
        registry
            .push_image(&mut connection, &repository, authorization.as_deref(), named, Form::TwoRequests)
            .await?;
        for first in (0..self.size.tags).step_by(TAGS_A_PUSH) {
            let tags: Vec<String> = (first..self.size.tags.min(first + TAGS_A_PUSH))
                .map(|number| format!("tag=build-{number:05}"))
                .collect();
            let path = format!("/v2/{repository}/manifests/{}?{}", image.digest, tags.join("&"));
            let headers = [("Content-Type", crate::registry::MANIFEST)];
            let length = Some(image.manifest.len() as u64);
            let head = Head::new("PUT", &path, authorization.as_deref(), &headers, length);
            connection.expect(201, &head, Body::Bytes(&image.manifest)).await?;
        }
        for number in 1..REPOSITORIES.min(self.size.repositories) {
            let name = format!("{PUBLIC}/services/service-{number:02}");
            registry.copy_image(&mut connection, &repository, &name, &image).await?;
        }
        let mut api = Api { connection, authorization: basic() };
        api.send("POST", "/projects", &json!({"project_name": "console-empty", "metadata": {}})).await?;
        let access = json!([{"resource": "repository", "action": "pull"}]);
        for (name, level) in [("ci", "project"), ("builder", "system")] {
            let permissions = json!([{"kind": "project", "namespace": PUBLIC, "access": access}]);
            let robot = json!({"name": name, "duration": 30, "level": level, "permissions": permissions});
            api.send("POST", "/robots", &robot).await?;
        }
        let rule = json!({
            "action": "immutable", "template": "immutable_template",
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "1.2.*"}],
            "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "backend/**"}]},
        });
        api.send("POST", &format!("/projects/{PUBLIC}/immutabletagrules"), &rule).await?;
        api.send("POST", "/users/current/tokens", &json!({"name": "laptop", "scopes": ["pull"]})).await?;
        let group =
            api.send("POST", "/usergroups", &json!({"group_name": "builders", "group_type": 2})).await?;
        let rule = first(&api.get(&format!("/projects/{PUBLIC}/immutabletagrules")).await?, "id")?;
        let member = first(&api.get(&format!("/projects/{PUBLIC}/members")).await?, "id")?;
        let group = group.location.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        Ok(Things {
            values: vec![
                ("project", PUBLIC.to_owned()),
                ("repository", MANY.to_owned()),
                ("tag", "build-00001".to_owned()),
                ("digest", image.digest),
                ("robot", "ci".to_owned()),
                ("rule", rule),
                ("member", member),
                ("group", group.to_owned()),
                ("token", "laptop".to_owned()),
                ("user", ADMIN.0.to_owned()),
                ("operation", "listProjects".to_owned()),
                ("document", "cli".to_owned()),
            ],
        })
    }
}

/// A page of the table.
struct Line {
    path: String,
    id: String,
}

/// What a page needs besides its path in order to show something.
fn query(path: &str) -> &'static str {
    match path {
        "/search" => "?q=service",
        path if path.ends_with("/-/delete-tags") => "?tag=build-00001",
        _ => "",
    }
}

fn basic() -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
    format!("Basic {pair}")
}

fn page(path: &str, session: &str) -> Head {
    Head::new("GET", path, None, &[("Cookie", session), ("Accept-Language", "en")], None)
}

async fn status(registry: &Registry, path: &str, session: &str) -> Result<u16> {
    let mut connection = registry.connect();
    Ok(connection.exchange(&page(path, session), Body::None, &mut Sink::Discard).await?.status)
}

/// A field of the first row of a list, as it stands in addresses.
fn first(list: &Value, field: &str) -> Result<String> {
    let value = &list[0][field];
    value.as_i64().map(|number| number.to_string()).with_context(|| format!("no {field} in {list}"))
}

/// The REST API as the administrator.
struct Api {
    connection: Connection,
    authorization: String,
}

impl Api {
    async fn send(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let text = body.to_string();
        let head = Head::new(
            method,
            &format!("/api/v2.0{path}"),
            Some(&self.authorization),
            &[("Content-Type", "application/json")],
            Some(text.len() as u64),
        );
        self.connection.expect(201, &head, Body::Bytes(text.as_bytes())).await
    }

    async fn get(&mut self, path: &str) -> Result<Value> {
        let head = Head::new("GET", &format!("/api/v2.0{path}"), Some(&self.authorization), &[], None);
        let mut text = Vec::new();
        let answer = self.connection.exchange(&head, Body::None, &mut Sink::Collect(&mut text)).await?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, String::from_utf8_lossy(&text));
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Opens the sessions, and gives the cookie of each.
async fn sign_in(registry: &Registry) -> Result<Vec<String>> {
    let mut sessions = Vec::with_capacity(SESSIONS);
    let mut connection = registry.connect();
    for _ in 0..SESSIONS {
        let mut html = Vec::new();
        let head = Head::new("GET", "/login", None, &[], None);
        let answer = connection.exchange(&head, Body::None, &mut Sink::Collect(&mut html)).await?;
        let cookie = answer.cookies.first().context("the page to sign in sets a cookie")?;
        let html = String::from_utf8(html)?;
        let token = html.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let token = token.context("the page to sign in has a form")?;
        let body = format!("csrf={token}&principal={}&password={}", ADMIN.0, ADMIN.1);
        let headers = [("Cookie", cookie.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        let head = Head::new("POST", "/c/login", None, &headers, Some(body.len() as u64));
        let answer = connection.expect(200, &head, Body::Bytes(body.as_bytes())).await?;
        let session = answer.cookies.into_iter().find(|cookie| cookie.starts_with("hythe="));
        sessions.push(session.context("signing in sets a cookie")?);
    }
    Ok(sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_of_what_is_there() {
        let values = vec![("project", "bench".to_owned()), ("tag", "1".to_owned())];
        let things = Things { values };
        assert_eq!(things.address("/projects/{project}/-/{tag}").as_deref(), Some("/projects/bench/-/1"));
        assert_eq!(things.address("/jobs/{job}"), None);
    }
}
