//! Every route, tried as everybody, on a private, a public and a missing project (AZ-01). What must
//! come back is computed from `permissions.txt` and the role matrix below, which is written down here
//! a second time on purpose: the platform's own matrix is what is under test.
//!
//! Requests that would change something aim at things that do not exist, or say nothing: permission is
//! decided before anything is looked up, so a 404 or 400 shows the gate open as well as a 200.

use std::collections::{BTreeMap, BTreeSet};

use cli::{Role as Service, Route};
use hythe_testbed::{Answer, Bed, Client, Credentials, Image, Options, Project, Role, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::contract::own::Own;
use crate::support::{random_digest, random_uuid};

/// Rights of project administrator, maintainer, developer, guest and limited guest, as far
/// as a route asks for them.
const MATRIX: &[(&str, [&str; 5])] = &[
    ("project", ["read update delete", "read", "read", "read", "read"]),
    ("member", ["create read update delete list", "read list", "read list", "read list", ""]),
    ("metadata", ["create read update delete", "read", "", "", ""]),
    ("log", ["list", "", "", "", ""]),
    (
        "repository",
        [
            "create read update delete list pull push",
            "create read update delete list pull push",
            "create read update list pull push",
            "read list pull",
            "read list pull",
        ],
    ),
    (
        "artifact",
        ["create read delete list", "create read delete list", "create read list", "read list", "read list"],
    ),
    ("tag", ["create delete list", "create delete list", "create list", "list", "list"]),
    ("accessory", ["list", "list", "list", "list", "list"]),
    ("robot", ["create read update delete list", "read list", "read list", "read list", ""]),
    ("immutable-tag", ["create update delete list", "create update delete list", "", "", ""]),
    ("configuration", ["read update", "read", "read", "read", "read"]),
    (
        "label",
        ["create read update delete list", "create read update delete list", "read list", "read list", ""],
    ),
    ("artifact-label", ["create delete", "create delete", "create delete", "", ""]),
    ("artifact-addition", ["read", "read", "read", "read", "read"]),
];

/// What a robot may be given in a project, as far as a route asks for it.
const ROBOT: &[(&str, &str)] = &[
    ("project", "read update delete"),
    ("member", "create read update delete list"),
    ("metadata", "create read update delete list"),
    ("log", "list"),
    ("repository", "read update delete list pull push"),
    ("artifact", "create read delete list"),
    ("tag", "create delete list"),
    ("accessory", "list"),
    ("robot", "create read delete list"),
    ("immutable-tag", "create update delete list"),
    ("label", "create read update delete list"),
    ("artifact-label", "create delete"),
    ("artifact-addition", "read"),
];

/// What a robot may be given on the installation, likewise.
const ROBOT_SYSTEM: &[(&str, &str)] = &[
    ("project", "create list"),
    ("catalog", "read"),
    ("robot", "create read delete list"),
    ("user", "create read update delete list"),
    ("user-group", "create read update delete list"),
    ("quota", "read update list"),
    ("system-volumes", "read"),
    ("audit-log", "list"),
    ("garbage-collection", "create read update list stop"),
];

/// Rights of everybody in a public project (7.2).
const PUBLIC: &[(&str, &str)] = &[
    ("project", "read"),
    ("repository", "list pull"),
    ("tag", "list"),
    ("artifact", "read list"),
    ("accessory", "list"),
    ("label", "read list"),
    ("artifact-addition", "read"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Nobody,
    Stranger,
    Member(Role),
    /// A robot that may pull from the projects of the test.
    RobotPull,
    /// A robot that holds everything a robot can hold in them.
    RobotFull,
    /// A robot of another project, which holds everything there.
    RobotElsewhere,
    /// A robot that holds everything in every project and on the installation.
    RobotSystem,
    /// A personal access token with this scope only, of the project administrator.
    Scoped(&'static str),
    Sysadmin,
}

/// Every scope an access token can have.
const SCOPES: [&str; 5] = ["pull", "push", "delete", "api", "api:read"];

impl Identity {
    fn is_robot(self) -> bool {
        use Identity::{RobotElsewhere, RobotFull, RobotPull, RobotSystem};
        [RobotPull, RobotFull, RobotElsewhere, RobotSystem].contains(&self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Private,
    Public,
    Missing,
}

/// How the caller shows who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Basic credentials, or none for nobody.
    Direct,
    /// A token asked for with those credentials.
    Token,
}

pub(crate) fn permissions() -> BTreeMap<&'static str, &'static str> {
    let mut table = BTreeMap::new();
    for line in include_str!("permissions.txt").lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [id, permission] => {
                assert!(table.insert(id, permission).is_none(), "{id} stands twice in permissions.txt")
            }
            _ => panic!("permissions.txt: {line:?} is not `route permission`"),
        }
    }
    table
}

#[test]
fn r12_every_route_has_a_permission_and_prefixes_are_disjoint() {
    let table = permissions();
    let routes = cli::routes();
    let ids: BTreeSet<&str> = routes.iter().map(|route| route.id).collect();
    assert_eq!(ids.len(), routes.len(), "two routes share an id");
    let missing: Vec<_> = ids.iter().filter(|id| !table.contains_key(*id)).collect();
    assert!(missing.is_empty(), "routes without a line in permissions.txt: {missing:?}");
    let stale: Vec<_> = table.keys().filter(|id| !ids.contains(*id)).collect();
    assert!(stale.is_empty(), "permissions.txt names routes that do not exist: {stale:?}");
    for permission in table.values() {
        let permission = ["login+", "page+", "page-login+"]
            .iter()
            .find_map(|prefix| permission.strip_prefix(prefix))
            .unwrap_or(permission);
        if let Some((resource, action)) = permission.split_once(':') {
            // No role lists metadata; robots can be given it.
            let known = MATRIX.iter().any(|(name, rights)| *name == resource && has(rights[0], action))
                || ROBOT.iter().any(|(name, rights)| *name == resource && has(rights, action));
            assert!(known, "{permission} is no right of the matrix");
        }
    }

    let prefixes: Vec<&str> =
        [registry::PREFIXES, auth::PREFIXES, projects::PREFIXES].into_iter().flatten().copied().collect();
    for (index, prefix) in prefixes.iter().enumerate() {
        for other in prefixes.iter().skip(index + 1) {
            let inside = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
            assert!(!inside(prefix, other) && !inside(other, prefix), "{prefix} and {other} overlap");
        }
    }
    // The console has the rest.
    for route in routes.iter().filter(|route| route.role != Service::Console) {
        let under = |prefix: &&str| route.path == *prefix || route.path.starts_with(&format!("{prefix}/"));
        assert!(prefixes.iter().any(under), "{} lies under no prefix", route.path);
    }
    assert_eq!(console::PREFIXES, ["/"]);
    for route in routes.iter().filter(|route| route.role == Service::Console) {
        let under = |prefix: &&str| route.path == *prefix || route.path.starts_with(&format!("{prefix}/"));
        assert!(
            !prefixes.iter().any(under),
            "the page {} lies under the prefix of another service",
            route.path
        );
        assert!(table[route.id].starts_with("page"), "{} is a page", route.id);
    }
}

fn has(rights: &str, action: &str) -> bool {
    rights.split(' ').any(|right| right == action)
}

/// Whether an access token with only this scope leaves a right of `/v2`.
fn leaves(scope: &str, permission: &str) -> bool {
    match permission {
        "repository:pull" => ["pull", "push"].contains(&scope),
        "repository:push" => scope == "push",
        "repository:delete" => scope == "delete",
        _ => false,
    }
}

/// Whether the caller holds a right of the project.
pub(crate) fn holds(identity: Identity, place: Place, permission: &str) -> bool {
    let (resource, action) =
        permission.split_once(':').unwrap_or_else(|| panic!("{permission} is no project right"));
    let open = place == Place::Public
        && PUBLIC.iter().any(|(name, rights)| *name == resource && has(rights, action));
    match identity {
        Identity::Sysadmin => true,
        _ if place == Place::Missing => false,
        Identity::Nobody | Identity::Stranger | Identity::RobotElsewhere => open,
        Identity::RobotPull => open || permission == "repository:pull",
        Identity::RobotFull | Identity::RobotSystem => {
            open || ROBOT.iter().any(|(name, rights)| *name == resource && has(rights, action))
        }
        Identity::Scoped(_) => holds(Identity::Member(Role::ProjectAdmin), place, permission),
        Identity::Member(role) => {
            let column = match role {
                Role::ProjectAdmin => 0,
                Role::Maintainer => 1,
                Role::Developer => 2,
                Role::Guest => 3,
                Role::LimitedGuest => 4,
            };
            open || MATRIX.iter().any(|(name, rights)| *name == resource && has(rights[column], action))
        }
    }
}

/// What may come back.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Exactly(&'static [u16]),
    /// The gate is open: a success, or an honest "no such thing" or "makes no sense".
    Open,
}

fn expected(route: &Route, permission: &str, identity: Identity, place: Place, manner: Manner) -> Expected {
    use Expected::{Exactly, Open};
    let reading = ["GET", "HEAD"].contains(&route.method);
    let nobody = identity == Identity::Nobody;
    if let Some(permission) = permission.strip_prefix("login+") {
        return if nobody { Exactly(&[401]) } else { expected(route, permission, identity, place, manner) };
    }
    if let Identity::Scoped(scope) = identity {
        let ignored = ["getVersion", "getPing", "getHealth", "getOpenApi", "jwks_get", "certificates_get"];
        let breeding = ["createCurrentUserToken", "deleteCurrentUserToken", "listCurrentUserTokens"];
        let owner = Identity::Member(Role::ProjectAdmin);
        return match (route.role, permission) {
            (_, "token" | "form" | "identity") => Exactly(&[200]),
            _ if ignored.contains(&route.id) => Exactly(&[200]),
            (Service::Registry, "catalog") => Exactly(&[401]),
            (Service::Registry, _) if leaves(scope, permission) => {
                expected(route, permission, owner, place, manner)
            }
            (Service::Registry, _) => Exactly(&[401]),
            _ if scope == "api" && breeding.contains(&route.id) => Exactly(&[403]),
            // Whether something may be deleted is asked with the right to delete.
            _ if scope == "api:read" && permission.ends_with(":delete") => Exactly(&[403]),
            _ if scope == "api" || scope == "api:read" && reading && !breeding.contains(&route.id) => {
                expected(route, permission, owner, place, manner)
            }
            _ => Exactly(&[403]),
        };
    }
    match (route.role, permission) {
        (_, "public") => Exactly(&[200]),
        (_, "token") => Exactly(&[200]),
        (_, "form") => Exactly(if nobody { &[400] } else { &[200] }),
        (_, "login") if nobody => Exactly(&[401]),
        (_, "login") => {
            if reading {
                Exactly(&[200])
            } else {
                Open
            }
        }
        (_, "sysadmin") if nobody => Exactly(&[401]),
        (_, "sysadmin") => {
            if identity == Identity::Sysadmin {
                Open
            } else {
                Exactly(&[403])
            }
        }
        // A token of nobody in particular is a valid token.
        (_, "identity") => Exactly(if nobody && manner == Manner::Direct { &[401] } else { &[200] }),
        (_, "catalog") => {
            let held = [Identity::Sysadmin, Identity::RobotSystem].contains(&identity);
            Exactly(if held { &[200] } else { &[401] })
        }
        (_, "user-change") if nobody => Exactly(&[401]),
        (_, "user-change") => {
            if identity.is_robot() {
                Exactly(&[412])
            } else {
                Open
            }
        }
        (_, "user") if nobody => Exactly(&[401]),
        (_, "user") => Exactly(if identity.is_robot() { &[412] } else { &[200] }),
        (_, "project-create") if nobody => Exactly(&[401]),
        (_, "project-create") => {
            if identity.is_robot() && identity != Identity::RobotSystem {
                Exactly(&[403])
            } else {
                Open
            }
        }
        (_, "search") if nobody => Exactly(&[401]),
        (_, "search") => Exactly(&[422]),
        (_, "robots") if nobody => Exactly(&[401]),
        (_, "robots") => {
            let held = [Identity::Sysadmin, Identity::RobotSystem].contains(&identity);
            Exactly(if held { &[200] } else { &[403] })
        }
        (_, "system") if nobody => Exactly(&[401]),
        (_, "system") => {
            if [Identity::Sysadmin, Identity::RobotSystem].contains(&identity) {
                Open
            } else {
                Exactly(&[403])
            }
        }
        (_, "project-admin") if nobody => Exactly(&[401]),
        (_, "project-admin") => {
            let admin = [Identity::Sysadmin, Identity::Member(Role::ProjectAdmin)].contains(&identity);
            Exactly(if admin { &[200] } else { &[403] })
        }
        (_, "project-name") if nobody => Exactly(&[401]),
        (_, "project-name") => {
            // A robot sees the projects it was given anything in.
            let given = place != Place::Missing && identity == Identity::RobotPull;
            let seen = place != Place::Missing && (given || holds(identity, place, "project:read"));
            Exactly(if seen { &[200] } else { &[404] })
        }
        (Service::Registry, _) => {
            let challenged = nobody && manner == Manner::Direct;
            match (place, identity) {
                // An administrator's right covers every project, a token only those that exist.
                (Place::Missing, Identity::Sysadmin) => Exactly(&[401, 404]),
                _ if challenged || !holds(identity, place, permission) => Exactly(&[401]),
                _ if reading && !route.path.contains("{upload}") => Exactly(&[200]),
                _ => Open,
            }
        }
        (_, _) => match (place, identity) {
            (Place::Missing, Identity::Sysadmin) => Exactly(&[404]),
            _ if holds(identity, place, permission) => {
                if reading {
                    Exactly(&[200])
                } else {
                    Open
                }
            }
            (_, Identity::Nobody) => Exactly(&[401]),
            _ => Exactly(&[403]),
        },
    }
}

/// A project with one image and a member of each role.
pub(crate) struct Target {
    pub place: Place,
    pub name: String,
    pub membership: i64,
    pub robot: i64,
    /// Its name inside the project.
    pub robot_name: String,
    pub image: Image,
}

pub(crate) struct Everybody {
    pub bed: Bed,
    stranger: User,
    members: Vec<(Role, User)>,
    robots: Vec<(Identity, User)>,
    /// The project administrator with an access token of each scope.
    scoped: Vec<(&'static str, User)>,
}

impl Everybody {
    pub fn identities(&self) -> Vec<Identity> {
        let members = self.members.iter().map(|(role, _)| Identity::Member(*role));
        [Identity::Nobody, Identity::Stranger]
            .into_iter()
            .chain(members)
            .chain(self.robots.iter().map(|(identity, _)| *identity))
            .chain(SCOPES.map(Identity::Scoped))
            .chain([Identity::Sysadmin])
            .collect()
    }

    pub fn user(&self, identity: Identity) -> Option<User> {
        match identity {
            Identity::Nobody => None,
            Identity::Stranger => Some(self.stranger.clone()),
            Identity::Member(role) => {
                self.members.iter().find(|(found, _)| *found == role).map(|(_, user)| user.clone())
            }
            Identity::Sysadmin => Some(self.bed.admin()),
            Identity::Scoped(scope) => {
                self.scoped.iter().find(|(found, _)| *found == scope).map(|(_, user)| user.clone())
            }
            robot => self.robots.iter().find(|(found, _)| *found == robot).map(|(_, user)| user.clone()),
        }
    }

    async fn client(&self, identity: Identity, manner: Manner, repository: &str) -> Client {
        let direct = self.user(identity).map_or_else(|| self.bed.nobody(), |user| user.client());
        match manner {
            Manner::Direct => direct,
            Manner::Token => {
                let scope = format!("repository:{repository}:pull,push,delete");
                let token = direct.token(&[&scope, "registry:catalog:*"]).await;
                self.bed.client(Credentials::Bearer(token))
            }
        }
    }
}

async fn world() -> (Everybody, Vec<Target>) {
    world_in(Bed::shared().await).await
}

pub(crate) async fn world_in(bed: Bed) -> (Everybody, Vec<Target>) {
    let mut members = Vec::new();
    for role in Role::ALL {
        members.push((role, bed.user("role").await));
    }
    let mut scoped = Vec::new();
    let (_, owner) = members.iter().find(|(role, _)| *role == Role::ProjectAdmin).expect("one of each role");
    for scope in SCOPES {
        let input = json!({"name": scope, "scopes": [scope]});
        let made = owner.client().post("/api/v2.0/users/current/tokens", input).await.expect(201).json();
        let secret = made["secret"].as_str().expect("a secret").to_owned();
        scoped.push((scope, owner.with_password(secret)));
    }
    let mut everybody = Everybody {
        stranger: bed.user("stranger").await,
        members,
        robots: Vec::new(),
        scoped,
        bed: bed.clone(),
    };
    let mut targets: Vec<Target> = Vec::new();
    for place in [Place::Private, Place::Public] {
        let builder = bed.project("matrix");
        let project: Project =
            if place == Place::Public { builder.public().create().await } else { builder.create().await };
        let mut membership = 0;
        for (role, user) in &everybody.members {
            membership = project.add_member(user, *role).await;
        }
        let image = bed.admin().registry().push_image(&project.repository("app"), "1").await;
        let permissions = json!([permission("project", &project.name, &[("tag", "list")])]);
        let robot = bed.robot("project", permissions).await;
        let robot_name = robot.name.rsplit('+').next().unwrap_or_default().to_owned();
        let robot = robot_id(&bed, &project, &robot).await;
        targets.push(Target { place, name: project.name, membership, robot, robot_name, image });
    }
    let (membership, image) = (targets[0].membership, targets[0].image.clone());
    let missing = bed.unique("missing");
    let robot_name = targets[0].robot_name.clone();
    targets.push(Target {
        place: Place::Missing,
        name: missing,
        membership,
        robot: 999_999_999,
        robot_name,
        image,
    });

    let own = [targets[0].name.as_str(), &targets[1].name];
    let in_own = |rights: &[(&str, &str)]| -> Vec<Value> {
        own.iter().map(|name| permission("project", name, rights)).collect()
    };
    let elsewhere = bed.project("elsewhere").create().await;
    let in_elsewhere = json!([permission("project", &elsewhere.name, ROBOT)]);
    let everywhere = json!([permission("project", "*", ROBOT), permission("system", "/", ROBOT_SYSTEM)]);
    everybody.robots = vec![
        (Identity::RobotPull, bed.robot("system", in_own(&[("repository", "pull")]).into()).await),
        (Identity::RobotFull, bed.robot("system", in_own(ROBOT).into()).await),
        (Identity::RobotElsewhere, bed.robot("project", in_elsewhere).await),
        (Identity::RobotSystem, bed.robot("system", everywhere).await),
    ];
    (everybody, targets)
}

/// One entry of a robot's permissions.
fn permission(kind: &str, namespace: &str, rights: &[(&str, &str)]) -> Value {
    let access: Vec<Value> = rights
        .iter()
        .flat_map(|(resource, actions)| {
            actions.split(' ').map(move |action| json!({"resource": resource, "action": action}))
        })
        .collect();
    json!({"kind": kind, "namespace": namespace, "access": access})
}

async fn robot_id(bed: &Bed, project: &Project, robot: &User) -> i64 {
    let path = format!("/api/v2.0/robots?q=Level=project,ProjectID={}", project.id);
    let listed = bed.admin().client().get(&path).await.expect(200).json();
    let found = listed.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == robot.name));
    found.and_then(|row| row["id"].as_i64()).unwrap_or_else(|| panic!("{} in {listed}", robot.name))
}

/// The path of a route with real things where it reads and unreal ones where it would change something.
fn fill(route: &Route, target: &Target) -> String {
    let reading = ["GET", "HEAD"].contains(&route.method);
    let inside_repository = route.path.contains("/artifacts");
    let mut path = String::new();
    for (index, part) in route.path.split(['{', '}']).enumerate() {
        // Every second part is the name of a placeholder.
        let value = match part {
            text if index % 2 == 0 => text.to_owned(),
            "name" => format!("{}/app", target.name),
            "project_name" | "project_name_or_id" => target.name.clone(),
            "repository_name" if reading || inside_repository => "app".to_owned(),
            "repository_name" | "tag_name" => "missing".to_owned(),
            "reference" if route.method == "DELETE" => "missing".to_owned(),
            "reference" => "1".to_owned(),
            "digest" if route.path.contains("icons") => {
                let icon = include_bytes!("../../../projects/src/icons/default.png");
                oci::Digest::of(oci::Algorithm::Sha256, icon).to_string()
            }
            "digest" if route.path.contains("referrers") => target.image.digest.to_string(),
            "digest" if reading => target.image.layer.to_string(),
            "digest" => random_digest().to_string(),
            "upload" => random_uuid(),
            "meta_name" if reading => "public".to_owned(),
            "meta_name" => "missing".to_owned(),
            "mid" if reading => target.membership.to_string(),
            "mid" => "999999999".to_owned(),
            // Nobody's, lest the matrix delete an account it needs.
            "group_id" => "999999999".to_owned(),
            "token_id" => "999999999".to_owned(),
            "user_id" => "999999999".to_owned(),
            "addition" => "build_history".to_owned(),
            "label_id" => "999999999".to_owned(),
            "immutable_rule_id" | "gc_id" => "999999999".to_owned(),
            // Of quotas, and of none that is there.
            "id" => "999999999".to_owned(),
            "robot_id" if route.method == "DELETE" => "999999999".to_owned(),
            "robot_id" => target.robot.to_string(),
            unknown => panic!("roles.rs has no value for the placeholder {unknown} of {}", route.path),
        };
        path.push_str(&value);
    }
    match route.id {
        "search" => format!("{path}?q=app"),
        "ListLabels" => format!("{path}?scope=g"),
        "headProject" => format!("{path}?project_name={}", target.name),
        "token_get" => format!("{path}?service=harbor-registry&scope=repository:{}/app:pull", target.name),
        "registry_upload_finish" => format!("{path}?digest={}", random_digest()),
        _ => path,
    }
}

async fn send(
    route: &Route,
    everybody: &Everybody,
    client: &Client,
    identity: Identity,
    target: &Target,
) -> Answer {
    let method: Method = route.method.parse().expect("a method");
    let path = fill(route, target);
    if route.id == "token_post" {
        let user = everybody.user(identity);
        let mut form = vec![("grant_type", "password"), ("service", "harbor-registry")];
        if let Some(user) = &user {
            form.extend([("username", user.name.as_str()), ("password", user.password.as_str())]);
        }
        return everybody.bed.nobody().request(method, path).form(&form).send().await;
    }
    let request = client.request(method, path);
    match route.method {
        "GET" | "HEAD" | "DELETE" => request.send().await,
        _ if route.role == Service::Registry => request.send().await,
        _ => request.json(json!({})).send().await,
    }
}

/// What reads over the REST API, with real things of a private project, and an administrator who may read it all.
pub(crate) struct Reading {
    pub admin: Client,
    own: Target,
    other: Target,
}

pub(crate) async fn reading() -> Reading {
    // A server of its own: lists are compared, and on the shared one they grow.
    let (everybody, targets) = world_in(Bed::own(Options::default()).await).await;
    let mut targets = targets.into_iter();
    let (own, other) = (targets.next().expect("a private project"), targets.next().expect("a public one"));
    Reading { admin: everybody.client(Identity::Sysadmin, Manner::Direct, "").await, own, other }
}

impl Reading {
    fn table() -> impl Iterator<Item = Route> {
        cli::routes()
            .into_iter()
            .filter(|route| route.method == "GET" && route.path.starts_with("/api/v2.0/"))
    }

    /// The id and the path of every reading route.
    pub fn routes(&self) -> Vec<(&'static str, String)> {
        Self::table().map(|route| (route.id, fill(&route, &self.own))).collect()
    }

    /// The same for what is named by an id inside a project, with the id of one project and the name of another.
    pub fn elsewhere(&self) -> Vec<(&'static str, String)> {
        let mixed = Target {
            name: self.other.name.clone(),
            image: self.other.image.clone(),
            robot_name: self.own.robot_name.clone(),
            ..self.own
        };
        Self::table()
            .filter(|route| {
                route.path.contains("{project")
                    && route.path.split('{').skip(2).any(|part| {
                        let name = part.split('}').next().unwrap_or_default();
                        name == "mid" || name.ends_with("_id") && !name.starts_with("project")
                    })
            })
            .map(|route| (route.id, fill(&route, &mixed)))
            .collect()
    }
}

#[tokio::test]
async fn az_01_every_route_as_everybody() {
    let table = permissions();
    let (everybody, targets) = world().await;
    let own = Own::of(&everybody.bed).await;
    let mut cells = 0;
    let mut wrong = Vec::new();
    for target in &targets {
        for identity in everybody.identities() {
            for manner in [Manner::Direct, Manner::Token] {
                let client = everybody.client(identity, manner, &format!("{}/app", target.name)).await;
                // Pages are for browsers: see pages.rs.
                for route in cli::routes().into_iter().filter(|route| route.role != Service::Console) {
                    if manner == Manner::Token && route.role != Service::Registry {
                        continue;
                    }
                    let permission =
                        table.get(route.id).unwrap_or_else(|| panic!("{} has no permission", route.id));
                    let expected = expected(&route, permission, identity, target.place, manner);
                    let answer = send(&route, &everybody, &client, identity, target).await;
                    let right = match &expected {
                        Expected::Exactly(statuses) => statuses.contains(&answer.status),
                        Expected::Open => answer.status < 500 && ![401, 403, 405].contains(&answer.status),
                    };
                    cells += 1;
                    if route.role == Service::Projects {
                        // What the server says about itself holds for everybody.
                        wrong.extend(own.complaints(route.id, &answer));
                    }
                    if !right {
                        wrong.push(format!(
                            "{} ({permission}) as {identity:?} by {manner:?} on {:?}: expected {expected:?}, got {answer}",
                            route.id, target.place
                        ));
                    }
                }
            }
        }
    }
    println!("AZ-01: {cells} cells");
    assert!(wrong.is_empty(), "{} of {cells} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn az_01_methods_outside_the_table_do_nothing() {
    let (everybody, targets) = world().await;
    let routes: Vec<_> = cli::routes().into_iter().filter(|route| route.role != Service::Console).collect();
    let mut taken: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for route in &routes {
        taken.entry(route.path).or_default().insert(route.method);
    }
    let mut wrong = Vec::new();
    for route in &routes {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            // `{upload}` and `{digest}` are two names for the same segment only on paper.
            if taken[route.path].contains(method) {
                continue;
            }
            for identity in [Identity::Nobody, Identity::Sysadmin] {
                let client = everybody.client(identity, Manner::Direct, "").await;
                let request = client.request(method.parse().expect("a method"), fill(route, &targets[0]));
                let answer = request.json(json!({})).send().await;
                if ![400, 401, 403, 404, 405, 501].contains(&answer.status) {
                    wrong.push(format!("{method} {} as {identity:?}: {answer}", route.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "methods nobody listed:\n{}", wrong.join("\n"));
}
