//! Rights that are taken away end within five seconds, for credentials and tokens alike (AZ-19).

use hythe_testbed::{Bed, Credentials, Image, Project, Registry, Role, User};
use reqwest::Method;
use serde_json::json;

use crate::support::{REVOCATION, eventually};

/// A member with a live token, a refresh token and a password, all of which work.
struct Member {
    bed: Bed,
    user: User,
    project: Project,
    membership: i64,
    image: Image,
    token: Registry,
    refresh: String,
}

impl Member {
    async fn new() -> Member {
        let bed = Bed::shared().await;
        let user = bed.user("member").await;
        let project = bed.project("revoke").create().await;
        let membership = project.add_member(&user, Role::Developer).await;
        let image = user.registry().push_image(&project.repository("app"), "1").await;
        let answer = user
            .client()
            .request(Method::GET, "/service/token")
            .query("service", "harbor-registry")
            .query("scope", format!("repository:{}:pull,push", image.repository))
            .query("offline_token", "true")
            .query("client_id", "docker")
            .send()
            .await
            .expect(200)
            .json();
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let token = Registry::new(bed.client(Credentials::Bearer(text("token"))));
        let member = Member { bed, user, project, membership, image, token, refresh: text("refresh_token") };
        member.token.get_manifest(&member.image.repository, "1").await.expect(200);
        member.token.start_upload(&member.image.repository).await;
        member
    }

    /// The live token no longer opens anything of the project.
    async fn token_ends(&self, why: &str) {
        eventually(REVOCATION, &format!("the token ends after: {why}"), async || {
            self.token.get_manifest(&self.image.repository, "1").await.status == 401
        })
        .await;
        let path = format!("/v2/{}/blobs/uploads/", self.image.repository);
        self.token.request(Method::POST, path).send().await.expect(401);
    }

    async fn login_ends(&self, why: &str) {
        eventually(REVOCATION, &format!("the password ends after: {why}"), async || {
            let client = self.user.client();
            client.get("/api/v2.0/users/current").await.status == 401
                && client.get("/v2/").await.status == 401
        })
        .await;
    }

    async fn refresh_ends(&self, why: &str) {
        eventually(REVOCATION, &format!("the refresh token ends after: {why}"), async || {
            let fields = [
                ("grant_type", "refresh_token"),
                ("service", "harbor-registry"),
                ("refresh_token", self.refresh.as_str()),
            ];
            let request = self.bed.nobody().request(Method::POST, "/service/token").form(&fields);
            request.send().await.status == 401
        })
        .await;
    }
}

#[tokio::test]
async fn az_19_a_disabled_user_is_out_everywhere() {
    let member = Member::new().await;
    let inside = member.bed.inside().await;
    let id = inside.user_id(&member.user.name).await;
    inside.identity.user_disable(&inside.admin(), id, true).await.unwrap_or_else(|err| panic!("{err}"));
    member.token_ends("disable").await;
    member.login_ends("disable").await;
    member.refresh_ends("disable").await;
    // Enabling again opens the door for the password, not for what was issued before.
    inside.identity.user_disable(&inside.admin(), id, false).await.unwrap_or_else(|err| panic!("{err}"));
    eventually(REVOCATION, "the password works again", async || {
        member.user.client().get("/api/v2.0/users/current").await.status == 200
    })
    .await;
    member.token.get_manifest(&member.image.repository, "1").await.expect(401);
}

#[tokio::test]
async fn az_19_a_deleted_user_is_out_everywhere() {
    let member = Member::new().await;
    let inside = member.bed.inside().await;
    let id = inside.user_id(&member.user.name).await;
    inside.identity.user_delete(&inside.admin(), id).await.unwrap_or_else(|err| panic!("{err}"));
    member.token_ends("delete").await;
    member.login_ends("delete").await;
    member.refresh_ends("delete").await;
}

#[tokio::test]
async fn a_new_password_ends_everything_issued_under_the_old_one() {
    let member = Member::new().await;
    let output = member
        .bed
        .run(&["admin", "reset-password", &member.user.name, "--password-stdin"], "Another-Passw0rd-9\n")
        .await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    member.token_ends("password").await;
    member.login_ends("password").await;
    member.refresh_ends("password").await;
    let credentials =
        Credentials::Basic { name: member.user.name.clone(), password: "Another-Passw0rd-9".to_owned() };
    member.bed.client(credentials).get("/api/v2.0/users/current").await.expect(200);
}

#[tokio::test]
async fn a_removed_member_is_out() {
    let member = Member::new().await;
    member.project.remove_member(member.membership).await;
    member.token_ends("removal").await;
    member.user.registry().get_manifest(&member.image.repository, "1").await.expect(401);
    member.user.client().get(member.project.path("")).await.expect(403);
}

#[tokio::test]
async fn a_lower_role_takes_effect() {
    let member = Member::new().await;
    let path = member.project.path(&format!("/members/{}", member.membership));
    let body = json!({"role_id": Role::Guest as i32});
    member.bed.admin().client().put(&path, body).await.expect(200);
    let upload = format!("/v2/{}/blobs/uploads/", member.image.repository);
    eventually(REVOCATION, "a guest no longer pushes", async || {
        member.token.request(Method::POST, &upload).send().await.status == 401
    })
    .await;
    member.user.registry().get_manifest(&member.image.repository, "1").await.expect(200);
}

/// What came through a group ends with it: when somebody leaves the group, when the group leaves the project, when it is
/// given a weaker role, and when it is deleted.
#[tokio::test]
async fn what_a_group_gave_ends_with_it() {
    let bed = Bed::shared().await;
    let inside = bed.inside().await;
    let admin = bed.admin().client();
    let user = bed.user("grouped").await;
    let id = inside.user_id(&user.name).await.0;
    let member = |group: i64, role: Role| json!({"role_id": role as i32, "member_group": {"id": group}});
    for way in ["leaving", "removal", "weaker role", "deletion"] {
        let project = bed.project("grouped").create().await;
        let image = bed.admin().registry().push_image(&project.repository("app"), "1").await;
        let body = json!({"group_name": bed.unique("group"), "group_type": 3});
        let made = admin.post("/api/v2.0/usergroups", body).await.expect(201);
        let path = made.header("location").to_owned();
        let group: i64 = path.rsplit('/').next().and_then(|id| id.parse().ok()).expect("a number");
        // What a source of groups does at login.
        let join = "insert into identity.group_members (group_id, user_id) values ($1, $2)";
        sqlx::query(join).bind(group).bind(id).execute(inside.database.pool()).await.expect("a row");
        let added = admin.post(project.path("/members"), member(group, Role::Developer)).await.expect(201);
        let membership = added.header("location").to_owned();
        let token = user.registry_with_token(&[&format!("repository:{}:pull,push", image.repository)]).await;
        token.get_manifest(&image.repository, "1").await.expect(200);
        let uploads = format!("/v2/{}/blobs/uploads/", image.repository);
        token.request(Method::POST, &uploads).send().await.expect(202);

        match way {
            "leaving" => {
                let leave = "delete from identity.group_members where group_id = $1";
                sqlx::query(leave).bind(group).execute(inside.database.pool()).await.expect("a row");
            }
            "removal" => drop(admin.delete(&membership).await.expect(200)),
            "weaker role" => {
                drop(admin.put(&membership, json!({"role_id": Role::Guest as i32})).await.expect(200))
            }
            _ => drop(admin.delete(&path).await.expect(200)),
        }
        eventually(REVOCATION, &format!("a token ends after: {way}"), async || {
            token.request(Method::POST, &uploads).send().await.status == 401
        })
        .await;
        let rest = if way == "weaker role" { 200 } else { 401 };
        user.registry().get_manifest(&image.repository, "1").await.expect(rest);
    }
}

#[tokio::test]
async fn a_project_made_private_closes_at_once() {
    let bed = Bed::shared().await;
    let project = bed.project("fade").public().create().await;
    let image = bed.admin().registry().push_image(&project.repository("app"), "1").await;
    let token = bed.nobody().token(&[&format!("repository:{}:pull", image.repository)]).await;
    let anonymous = Registry::new(bed.client(Credentials::Bearer(token)));
    anonymous.get_manifest(&image.repository, "1").await.expect(200);
    project.set_public(false).await;
    eventually(REVOCATION, "anonymous pulls end", async || {
        anonymous.get_manifest(&image.repository, "1").await.status == 401
    })
    .await;
    anonymous.get_blob(&image.repository, &image.layer).await.expect(401);
}

#[tokio::test]
async fn a_deleted_project_is_gone_at_once() {
    let member = Member::new().await;
    member.project.delete().await;
    member.token_ends("project deletion").await;
    member.user.registry().get_manifest(&member.image.repository, "1").await.expect(401);
    member.user.client().get(member.project.path("")).await.expect(403);
    member.bed.admin().client().get(member.project.path("")).await.expect(404);
}
