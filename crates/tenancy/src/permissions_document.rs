//! What the permission table says, in words of a table for people: `docs/PERMISSIONS.md`.

use std::fmt::Write;

use crate::roles::{self, Action, ROBOT_SYSTEM, Resource, Role, SYSTEM};

const HEAD: &str = "# Permissions

Made by `hythe config permissions` from the table that decides (`crates/tenancy/src/roles.rs`); do not edit.

System administrators may do everything. Everybody else has, in one project, what their role, the grants of their robot and
the publicity of the project give them together. What nobody gave is refused: with 401 to callers who are not signed in and
with 403 to others, whether or not the project exists; `/v2` always refuses with 401.
";

fn listed(may: impl Fn(Action) -> bool) -> String {
    let held: Vec<&str> =
        Action::ALL.iter().filter(|action| may(**action)).map(|action| action.as_str()).collect();
    held.join(" ")
}

fn row(text: &mut String, cells: &[&str]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn table(text: &mut String, title: &str, columns: &[&str]) {
    let _ = writeln!(text, "\n## {title}\n");
    row(text, columns);
    row(text, &vec!["---"; columns.len()]);
}

fn system(text: &mut String, title: &str, rights: &[(&str, &[Action])]) {
    table(text, title, &["resource", "actions"]);
    for (resource, actions) in rights {
        row(text, &[resource, &listed(|action| actions.contains(&action))]);
    }
}

/// The document, for `docs/PERMISSIONS.md`.
pub fn permissions_document() -> String {
    let mut text = HEAD.to_owned();
    let mut columns = vec!["resource"];
    columns.extend(Role::ALL.iter().map(|role| role.name()));
    columns.push("public project, anybody");
    table(&mut text, "In a project", &columns);
    for resource in Resource::ALL {
        let mut cells = vec![resource.to_string()];
        cells.extend(Role::ALL.iter().map(|role| listed(|action| roles::permits(*role, *resource, action))));
        cells.push(listed(|action| roles::public_permits(*resource, action)));
        row(&mut text, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table(&mut text, "What a robot can be given in a project", &["resource", "actions"]);
    for resource in Resource::ALL {
        let held = listed(|action| roles::robot_may_hold(resource.as_str(), action.as_str()));
        if !held.is_empty() {
            row(&mut text, &[resource.as_str(), &held]);
        }
    }
    system(&mut text, "What a robot can be given on the installation", ROBOT_SYSTEM);
    system(&mut text, "On the installation, as clients are told: system administrators", SYSTEM);
    text
}
