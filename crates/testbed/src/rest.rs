//! Projects and members through the REST API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Bed, User};

/// The five roles, by the ids of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ProjectAdmin = 1,
    Developer = 2,
    Guest = 3,
    Maintainer = 4,
    LimitedGuest = 5,
}

impl Role {
    pub const ALL: [Role; 5] =
        [Role::ProjectAdmin, Role::Maintainer, Role::Developer, Role::Guest, Role::LimitedGuest];
}

/// A project about to be made.
pub struct ProjectBuilder {
    bed: Bed,
    name: String,
    public: bool,
    storage_limit: Option<i64>,
    members: Vec<(User, Role)>,
}

impl ProjectBuilder {
    pub(crate) fn new(bed: Bed, name: String) -> ProjectBuilder {
        ProjectBuilder { bed, name, public: false, storage_limit: None, members: Vec::new() }
    }

    pub fn public(mut self) -> ProjectBuilder {
        self.public = true;
        self
    }

    /// Quota in bytes.
    pub fn storage_limit(mut self, bytes: i64) -> ProjectBuilder {
        self.storage_limit = Some(bytes);
        self
    }

    pub fn member(mut self, user: &User, role: Role) -> ProjectBuilder {
        self.members.push((user.clone(), role));
        self
    }

    /// Takes this very name, for a project that comes back.
    pub fn named(mut self, name: &str) -> ProjectBuilder {
        self.name = name.to_owned();
        self
    }

    /// Makes the project as the administrator and adds the members.
    pub async fn create(self) -> Project {
        let admin = self.bed.admin().client();
        let mut body = json!({"project_name": self.name, "metadata": {"public": self.public.to_string()}});
        if let Some(bytes) = self.storage_limit {
            body["storage_limit"] = bytes.into();
        }
        let answer = admin.post("/api/v2.0/projects", body).await.expect(201);
        let id = answer.header("location").rsplit('/').next().and_then(|id| id.parse().ok());
        let id = id.unwrap_or_else(|| panic!("no project id in Location {:?}", answer.header("location")));
        let project = Project { bed: self.bed, name: self.name, id };
        for (user, role) in &self.members {
            project.add_member(user, *role).await;
        }
        project
    }
}

/// A project.
#[derive(Clone)]
pub struct Project {
    bed: Bed,
    pub name: String,
    pub id: i64,
}

impl Project {
    /// A repository name in this project.
    pub fn repository(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name)
    }

    /// Path of the project in the REST API, followed by `rest`.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v2.0/projects/{}{rest}", self.name)
    }

    /// Adds a member and returns the id of the membership.
    pub async fn add_member(&self, user: &User, role: Role) -> i64 {
        let body = json!({"role_id": role as i32, "member_user": {"username": user.name}});
        let answer = self.bed.admin().client().post(self.path("/members"), body).await.expect(201);
        let id = answer.header("location").rsplit('/').next().and_then(|id| id.parse().ok());
        id.unwrap_or_else(|| panic!("no member id in Location {:?}", answer.header("location")))
    }

    pub async fn remove_member(&self, member: i64) {
        self.bed.admin().client().delete(self.path(&format!("/members/{member}"))).await.expect(200);
    }

    pub async fn set_public(&self, public: bool) {
        let body = json!({"metadata": {"public": public.to_string()}});
        self.bed.admin().client().put(self.path(""), body).await.expect(200);
    }

    /// Deletes all repositories and the project.
    pub async fn delete(&self) {
        let admin = self.bed.admin().client();
        let listed = admin
            .request(Method::GET, self.path("/repositories"))
            .query("page_size", 100)
            .send()
            .await
            .expect(200)
            .json();
        for repository in listed.as_array().map(Vec::as_slice).unwrap_or_default() {
            let name = repository["name"].as_str().unwrap_or_default();
            let rest = name.strip_prefix(&format!("{}/", self.name)).unwrap_or(name).replace('/', "%252F");
            admin.delete(self.path(&format!("/repositories/{rest}"))).await.expect(200);
        }
        admin.delete(self.path("")).await.expect(200);
    }

    /// Bytes counted against the quota.
    pub async fn quota_used(&self) -> i64 {
        let summary: Value = self.bed.admin().client().get(self.path("/summary")).await.expect(200).json();
        summary["quota"]["used"]["storage"].as_i64().unwrap_or_else(|| panic!("no quota in {summary}"))
    }
}
