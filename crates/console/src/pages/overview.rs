//! The first page of a project: how full it is, what was pushed, what is in force, and how to push to it.

use actix_web::HttpResponse;
use askama::Template;
use catalog::{Day, Repository, TagEntry};
use tenancy::list::Query;
use tenancy::roles::{Action, Resource};
use tenancy::{ListRepositories, ListTags, Permit, Project, Quota, ReadProject, Role, Summary};

use crate::chart::{self, Chart};
use crate::failure::Failure;
use crate::pages::members::role_key;
use crate::pages::policies::Policies;
use crate::pages::projects::project_shell;
use crate::shell::{Shell, segment};
use crate::view::View;

/// Rows of the short lists.
const SHORT: i64 = 5;

/// Clients and systems that the page has commands for; the first is the usual one.
const CLIENTS: [(&str, &str); 8] = [
    ("docker", "Docker"),
    ("podman", "Podman"),
    ("nerdctl", "nerdctl"),
    ("helm", "Helm"),
    ("oras", "ORAS"),
    ("skopeo", "skopeo"),
    ("github", "GitHub Actions"),
    ("gitlab", "GitLab CI"),
];

/// What a client has to be told: one command or one file each.
fn commands(client: &str, host: &str, project: &str, user: &str) -> Vec<String> {
    let place = format!("{host}/{project}");
    let engine = |name: &str| {
        vec![
            format!("{name} login {host} -u {user}"),
            format!("{name} tag IMAGE {place}/IMAGE:TAG"),
            format!("{name} push {place}/IMAGE:TAG"),
        ]
    };
    match client {
        "podman" | "nerdctl" => engine(client),
        "helm" => vec![
            format!("helm registry login {host} -u {user}"),
            format!("helm push CHART-1.0.0.tgz oci://{place}"),
        ],
        "oras" => vec![format!("oras login {host} -u {user}"), format!("oras push {place}/NAME:TAG FILE")],
        "skopeo" => vec![
            format!("skopeo login {host} -u {user}"),
            format!("skopeo copy docker-daemon:IMAGE:TAG docker://{place}/IMAGE:TAG"),
        ],
        "github" => vec![format!(
            "- uses: docker/login-action@v3\n  with:\n    registry: {host}\n    username: ${{{{ secrets.REGISTRY_USER }}}}\n    \
             password: ${{{{ secrets.REGISTRY_PASSWORD }}}}\n- uses: docker/build-push-action@v6\n  with:\n    push: true\n    \
             tags: {place}/IMAGE:${{{{ github.sha }}}}"
        )],
        "gitlab" => vec![format!(
            "build:\n  image: docker:27\n  services: [docker:27-dind]\n  script:\n    - echo \"$REGISTRY_PASSWORD\" | docker \
             login {host} -u \"$REGISTRY_USER\" --password-stdin\n    - docker build -t \
             {place}/IMAGE:$CI_COMMIT_SHORT_SHA .\n    - docker push {place}/IMAGE:$CI_COMMIT_SHORT_SHA"
        )],
        _ => engine("docker"),
    }
}

/// How full a project is.
struct Fill {
    quota: Quota,
    left: i64,
}

impl Fill {
    fn new(quota: Quota) -> Self {
        Self { quota, left: (quota.hard - quota.used).max(0) }
    }

    fn limited(&self) -> bool {
        self.quota.hard >= 0
    }

    /// Key and class of the badge; nothing while there is room.
    fn badge(&self) -> Option<(&'static str, &'static str)> {
        let percent = i128::from(self.quota.used) * 100 / i128::from(self.quota.hard.max(1));
        match percent {
            _ if !self.limited() => None,
            100.. => Some(("project-quota-full", "bad")),
            95.. => Some(("project-quota-nearly-full", "bad")),
            80.. => Some(("project-quota-getting-full", "warn")),
            _ => None,
        }
    }
}

#[derive(Template)]
#[template(path = "projects/overview.html")]
struct OverviewPage {
    s: Shell,
    base: String,
    project: Project,
    /// Whether the viewer has marked it; nothing for visitors.
    favourite: Option<bool>,
    summary: Summary,
    fill: Option<Fill>,
    /// Members by key of their role.
    members: Vec<(&'static str, i64)>,
    /// With their names inside the project.
    repositories: Vec<(String, Repository)>,
    largest: Vec<(String, Repository)>,
    /// None until something was pushed.
    charts: Vec<Chart>,
    tags: Vec<(String, TagEntry)>,
    policies: Policies,
    may_push: bool,
    client: &'static str,
    clients: [(&'static str, &'static str); 8],
    commands: Vec<String>,
}

fn inside(path: &str) -> String {
    path.split_once('/').map_or(path, |(_, name)| name).to_owned()
}

/// The repositories with the most of something, with their names inside the project.
async fn most(
    view: &View,
    list: &Permit<ListRepositories>,
    sort: &str,
) -> Result<Vec<(String, Repository)>, Failure> {
    let query = Query { sort: vec![(sort.to_owned(), true)], page_size: SHORT, ..Query::default() };
    let page = view.state.catalog.repositories.list(list, &query).await?;
    Ok(page.rows.into_iter().map(|row| (inside(&row.path), row)).collect())
}

/// What happened lately; nothing in a project that nothing happened in.
fn charts(s: &Shell, days: &[Day]) -> Vec<Chart> {
    if days.iter().all(|day| day.used.unwrap_or_default() == 0 && day.pulls == 0 && day.pushes == 0) {
        return Vec::new();
    }
    Chart::storage(s, days).into_iter().chain([Chart::pulls(s, days), Chart::pushes(s, days)]).collect()
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit = view.permit::<ReadProject>().await?;
    let state = &view.state;
    let project = state.tenancy.project_get(&permit).await?;
    let summary = state.tenancy.project_summary(&permit).await?;
    let favourite = match view.signed_in {
        Some(_) => Some(state.tenancy.is_favourite(&permit).await?),
        None => None,
    };
    let may = |resource, action| permit.rights().allow(resource, action);
    let (mut repositories, mut largest) = (Vec::new(), Vec::new());
    if may(Resource::Repository, Action::List) {
        let list = view.permit::<ListRepositories>().await?;
        repositories = most(view, &list, "pull_count").await?;
        largest = most(view, &list, "size").await?;
    }
    let days = state.catalog.days.of_project(&permit, chart::DAYS).await?;
    let mut tags = Vec::new();
    if may(Resource::Tag, Action::List) {
        let list = view.permit::<ListTags>().await?;
        let query = Query { page_size: SHORT, ..Query::default() };
        let page = state.catalog.history.project_tags(&list, &query).await?;
        tags = page.rows.into_iter().map(|row| (inside(&row.repository), row)).collect();
    }
    let policies = Policies::of(view, &permit).await?;
    let counts = summary.members.unwrap_or_default();
    let members = [
        (Role::ProjectAdmin, counts.project_admin),
        (Role::Maintainer, counts.maintainer),
        (Role::Developer, counts.developer),
        (Role::Guest, counts.guest),
        (Role::LimitedGuest, counts.limited_guest),
    ];
    let asked = view.query("client").unwrap_or_default();
    let client = CLIENTS.iter().map(|(id, _)| *id).find(|id| *id == asked).unwrap_or(CLIENTS[0].0);
    let s = project_shell(view, &permit, "project-tab-overview", project.name.clone());
    let charts = charts(&s, &days);
    let commands = commands(client, &s.host, &project.name, s.user.as_deref().unwrap_or_default());
    view.page(&OverviewPage {
        base: format!("/projects/{}", s.segment(&project.name)),
        s,
        fill: summary.quota.map(Fill::new),
        members: members
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(role, count)| (role_key(role), count))
            .collect(),
        repositories,
        largest,
        charts,
        tags,
        policies,
        may_push: may(Resource::Repository, Action::Push),
        client,
        clients: CLIENTS,
        commands,
        project,
        favourite,
        summary,
    })
}

/// Marks the project for the viewer, or takes the mark away.
pub(crate) async fn mark(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let permit = view.permit::<ReadProject>().await?;
    let marked = form.text("marked") == "yes";
    view.state.tenancy.favourite_set(&permit, marked).await?;
    Ok(view.go(&format!("/projects/{}", segment(permit.name.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_a_project_is() {
        let badge = |used, hard| Fill::new(Quota { hard, used }).badge().map(|(key, _)| key);
        for (used, hard, expected) in [
            (0, -1, None),
            (i64::MAX, -1, None),
            (79, 100, None),
            (80, 100, Some("project-quota-getting-full")),
            (95, 100, Some("project-quota-nearly-full")),
            (120, 100, Some("project-quota-full")),
            (i64::MAX - 1, i64::MAX, Some("project-quota-nearly-full")),
        ] {
            assert_eq!(badge(used, hard), expected, "{used} of {hard}");
        }
    }

    #[test]
    fn commands_carry_the_place() {
        for (client, _) in CLIENTS {
            let text = commands(client, "hub.example:8080", "shop", "ana").join("\n");
            assert!(text.contains("hub.example:8080") && text.contains("/shop"), "{client}: {text}");
        }
    }
}
