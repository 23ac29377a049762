//! What robots may hold, by the names that people read, as the lines of a form.

use tenancy::roles::{self, Action};

use crate::view::View;

/// Key of the name of what a right is about.
pub(super) fn resource_key(resource: &str) -> &'static str {
    match resource {
        "project" => "right-project",
        "member" => "right-member",
        "metadata" => "right-metadata",
        "log" => "right-log",
        "label" => "right-label",
        "quota" => "right-quota",
        "repository" => "right-repository",
        "immutable-tag" => "right-immutable-tag",
        "robot" => "right-robot",
        "artifact" => "right-artifact",
        "artifact-addition" => "right-artifact-addition",
        "tag" => "right-tag",
        "accessory" => "right-accessory",
        "artifact-label" => "right-artifact-label",
        "audit-log" => "right-audit-log",
        "system-volumes" => "right-system-volumes",
        "catalog" => "right-catalog",
        "user" => "right-user",
        "user-group" => "right-user-group",
        _ => "right-other",
    }
}

/// Key of what a right lets somebody do.
pub(super) fn action_key(action: &str) -> &'static str {
    match action {
        "create" => "action-create",
        "read" => "action-read",
        "update" => "action-update",
        "delete" => "action-delete",
        "list" => "action-list",
        "pull" => "action-pull",
        "push" => "action-push",
        _ => "action-other",
    }
}

/// Rights of features that are not there cannot be given here; the API knows them for the sake of its clients.
fn offered(resource: &str) -> bool {
    resource_key(resource) != "right-other"
}

/// Whether the matrix shows the right `resource:action`.
pub(super) fn offered_right(right: &str) -> bool {
    right.split_once(':').is_some_and(|(resource, _)| offered(resource))
}

/// A right in words.
pub(super) fn right_name(view: &View, resource: &str, action: &str) -> String {
    let (resource, action) = (view.t(resource_key(resource)), view.t(action_key(action)));
    view.language.text("robot-right", &[("name", resource.into()), ("other", action.into())])
}

/// A line of the matrix of rights.
pub(super) struct Line {
    pub key: &'static str,
    /// `resource:action` with the key of the action.
    pub rights: Vec<(String, &'static str)>,
}

/// What robots may hold in projects.
pub(super) fn project_matrix() -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (resource, action) in roles::robot_catalogue().filter(|(resource, _)| offered(resource.as_str())) {
        let key = resource_key(resource.as_str());
        let right = (format!("{resource}:{action}"), action_key(action.as_str()));
        match lines.last_mut().filter(|line| line.key == key) {
            Some(line) => line.rights.push(right),
            None => lines.push(Line { key, rights: vec![right] }),
        }
    }
    lines
}

/// What robots may hold on the installation.
pub(super) fn system_matrix() -> Vec<Line> {
    let line = |(resource, actions): &(&'static str, &'static [Action])| Line {
        key: resource_key(resource),
        rights: actions
            .iter()
            .map(|action| (format!("{resource}:{action}"), action_key(action.as_str())))
            .collect(),
    };
    roles::ROBOT_SYSTEM.iter().filter(|(resource, _)| offered(resource)).map(line).collect()
}
