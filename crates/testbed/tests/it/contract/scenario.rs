//! Every operation in use, in an order in which each finds what it needs.

use hythe_testbed::{Answer, Bed, Client, Credentials, Image, Project, User};
use oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Map, Value, json};

use super::{Call, Contract, call};

/// A person and a project with an image, its signature, and an index around it.
pub struct Scenario {
    bed: Bed,
    ana: User,
    project: Project,
    image: Image,
}

/// The last segment of `Location`.
fn made(answer: &Answer) -> String {
    answer.header("location").rsplit('/').next().unwrap_or_default().to_owned()
}

impl Scenario {
    pub async fn new(bed: &Bed) -> Self {
        let ana = bed.user("ana").await;
        let project = bed.project("content").create().await;
        let registry = bed.admin().registry();
        let repository = project.repository("team/app");
        let image = registry.push_image(&repository, "v1").await;
        registry.push_image(&repository, "v2").await;
        registry.push_image(&project.repository("other"), "v1").await;
        let config = registry.push_blob(&repository, b"{}").await;
        let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "annotations": {"kind": "index"},
            "manifests": [{"mediaType": OCI_MANIFEST, "digest": image.digest, "size": image.manifest.len(),
                "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}, "annotations": {"a": "b"}}]});
        let index = index.to_string();
        registry.put_manifest(&repository, "all", OCI_INDEX, index.as_bytes()).await.expect(201);
        let index_digest = oci::Digest::of(oci::Algorithm::Sha256, index.as_bytes());
        for (kind, digest, size) in
            [(OCI_MANIFEST, &image.digest, image.manifest.len()), (OCI_INDEX, &index_digest, index.len())]
        {
            for artifact_type in ["application/vnd.cncf.notary.signature", "application/spdx+json"] {
                let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
                    "config": empty, "layers": [empty],
                    "subject": {"mediaType": kind, "digest": digest, "size": size}});
                let manifest = manifest.to_string();
                let digest = oci::Digest::of(oci::Algorithm::Sha256, manifest.as_bytes());
                registry
                    .put_manifest(&repository, digest, OCI_MANIFEST, manifest.as_bytes())
                    .await
                    .expect(201);
            }
        }
        Self { bed: bed.clone(), ana, project, image }
    }

    pub async fn run(&self, contract: &mut Contract) {
        self.installation(contract).await;
        self.configuration(contract).await;
        self.users(contract).await;
        self.groups(contract).await;
        self.projects(contract).await;
        self.metadata(contract).await;
        self.members(contract).await;
        self.labels(contract).await;
        self.content(contract).await;
        self.tags(contract).await;
        self.immutable(contract).await;
        self.robots(contract).await;
        self.quotas(contract).await;
        self.collections(contract).await;
        self.trail(contract).await;
        self.deletions(contract).await;
    }

    async fn read(&self, contract: &mut Contract, call: Call) -> Value {
        contract.succeeds(call).await.json()
    }

    async fn installation(&self, contract: &mut Contract) {
        for id in ["getPing", "getHealth", "getVolumes", "getStatistic", "getPermissions"] {
            contract.succeeds(call(id)).await;
        }
        let info = self.read(contract, call("getSystemInfo")).await;
        for key in [
            "registry_url",
            "external_url",
            "harbor_version",
            "project_creation_restriction",
            "has_ca_root",
            "registry_storage_provider_name",
            "read_only",
            "notification_enable",
            "current_time",
        ] {
            contract
                .expect("getSystemInfo", info.get(key).is_some(), || format!("no {key} after signing in"));
        }
        let found = self.read(contract, call("search").query("q", &self.project.name)).await;
        for list in ["project", "repository"] {
            contract.expect("search", found[list].get(0).is_some(), || format!("no {list} in {found}"));
        }
    }

    async fn configuration(&self, contract: &mut Contract) {
        let before = self.read(contract, call("getConfigurations")).await;
        let documented = contract.fact("getConfigurations");
        let shape = documented.success[&200].body.clone().unwrap_or_default();
        for key in shape.as_object().into_iter().flat_map(Map::keys) {
            // There are no scans whose schedule could be shown, and secrets are written only.
            let there =
                before.get(key).is_some() || ["scan_all_policy", "uaa_client_secret"].contains(&key.as_str());
            contract.expect("getConfigurations", there, || format!("no {key}"));
        }
        // Another value of the same type for everything that can be changed.
        let unset: &[(&str, &str)] = &[
            ("audit_log_forward_endpoint", "nothing is forwarded yet"),
            ("auth_mode", "there are no other ways to sign in yet"),
            ("disabled_audit_log_event_types", "takes few texts: tried in a test of its own"),
            ("ldap_search_password", "a secret: written only"),
            ("oidc_client_secret", "a secret: written only"),
            ("primary_auth_mode", "there are no other ways to sign in yet"),
            ("quota_per_project_enable", "later steps need quotas"),
            ("read_only", "tried by itself, below"),
            ("robot_name_prefix", "takes few texts: tried in a test of its own"),
            ("scanner_skip_update_pulltime", "there are no scanners yet"),
            ("self_registration", "nobody makes their own account yet"),
            ("skip_audit_log_database", "nothing is forwarded yet"),
            ("token_expiration", "comes from the start-up configuration"),
            ("uaa_client_secret", "a secret: written only"),
        ];
        let request = contract.fact("updateConfigurations").request.unwrap_or_default();
        let mut changes = Map::new();
        for key in request.as_object().into_iter().flat_map(Map::keys) {
            if unset.iter().any(|(name, _)| name == key) {
                continue;
            }
            let value = match (key.as_str(), &before[key]["value"]) {
                ("project_creation_restriction", _) => json!("adminonly"),
                ("ldap_scope" | "ldap_group_search_scope", _) => json!(1),
                (_, Value::Bool(flag)) => json!(!flag),
                (_, Value::Number(number)) => json!(number.as_i64().unwrap_or_default() + 1_000_000),
                _ => json!("{\"contract\":\"yes\"}"),
            };
            changes.insert(key.clone(), value);
        }
        let sent = Value::Object(changes);
        contract.succeeds(call("updateConfigurations").body(&sent)).await;
        let read = self.read(contract, call("getConfigurations")).await;
        let keys: Vec<String> = sent.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        let pointers: Vec<String> = keys.iter().map(|key| format!("/{key}/value")).collect();
        let back: Vec<(&str, &str)> =
            keys.iter().map(String::as_str).zip(pointers.iter().map(String::as_str)).collect();
        contract.kept("updateConfigurations", &sent, &read, &back, unset);
        for read_only in [true, false] {
            contract.succeeds(call("updateConfigurations").body(&json!({"read_only": read_only}))).await;
            let read = self.read(contract, call("getConfigurations")).await;
            contract.expect("updateConfigurations", read["read_only"]["value"] == read_only, || {
                format!("read_only is not {read_only}")
            });
        }
        // Clients send everything back that they read, flat.
        let all: Map<String, Value> = before
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, held)| (key.clone(), held["value"].clone()))
            .collect();
        contract.succeeds(call("updateConfigurations").body(&Value::Object(all))).await;
        let after = self.read(contract, call("getConfigurations")).await;
        contract.expect("updateConfigurations", after == before, || "it is not as it was".to_owned());
    }

    fn as_user(&self, name: &str, password: &str) -> Client {
        self.bed.client(Credentials::Basic { name: name.to_owned(), password: password.to_owned() })
    }

    async fn users(&self, contract: &mut Contract) {
        let name = self.bed.unique("cleo");
        let sent = json!({"username": name, "email": format!("{name}@example.org"), "realname": "Cleo",
            "comment": "from afar", "password": "Lantern-Quay-77a"});
        let user = made(&contract.succeeds(call("createUser").body(&sent)).await);
        let user = user.as_str();
        let read = self.read(contract, call("getUser").at("user_id", user)).await;
        let back = [
            ("username", "/username"),
            ("email", "/email"),
            ("realname", "/realname"),
            ("comment", "/comment"),
        ];
        contract.kept("createUser", &sent, &read, &back, &[("password", "never shown; it signs in, below")]);
        self.read(contract, call("listUsers").query("username", "cle")).await;
        self.read(contract, call("listUsers").query("email", &name)).await;
        self.read(contract, call("searchUsers").query("username", "cle")).await;
        let cleo = self.as_user(&name, "Lantern-Quay-77a");
        let own = self.read(contract, call("getCurrentUserInfo").by(&cleo)).await;
        contract.expect("createUser", own["username"] == name, || format!("who signed in is {own}"));
        let scope = format!("/project/{}", self.project.id);
        self.read(
            contract,
            call("getCurrentUserPermissions").query("scope", &scope).query("relative", "true"),
        )
        .await;

        let sent =
            json!({"email": format!("{name}@example.net"), "realname": "Cleo P.", "comment": "from here"});
        contract.succeeds(call("updateUserProfile").at("user_id", user).body(&sent)).await;
        let read = self.read(contract, call("getUser").at("user_id", user)).await;
        contract.kept("updateUserProfile", &sent, &read, &back[1..], &[]);
        for flag in [true, false] {
            let sent = json!({"sysadmin_flag": flag});
            contract.succeeds(call("setUserSysAdmin").at("user_id", user).body(&sent)).await;
            let read = self.read(contract, call("getUser").at("user_id", user)).await;
            contract.kept("setUserSysAdmin", &sent, &read, &[("sysadmin_flag", "/sysadmin_flag")], &[]);
        }
        let sent = json!({"old_password": "Lantern-Quay-77a", "new_password": "Harbour-Light-88b"});
        contract.succeeds(call("updateUserPassword").at("user_id", user).by(&cleo).body(&sent)).await;
        let unset = [("old_password", "checked only"), ("new_password", "never shown; it signs in, below")];
        contract.kept("updateUserPassword", &sent, &Value::Null, &[], &unset);
        let cleo = self.as_user(&name, "Harbour-Light-88b");
        contract.succeeds(call("getCurrentUserInfo").by(&cleo)).await;
        contract.succeeds(call("deleteUser").at("user_id", user)).await;
    }

    async fn groups(&self, contract: &mut Contract) {
        let (name, dn) = (self.bed.unique("crew"), format!("cn={},dc=example", self.bed.unique("crew")));
        let sent = json!({"group_name": name, "group_type": 1, "ldap_group_dn": dn, "id": 77});
        // With a slash at the end; Location has none.
        let group = made(&contract.succeeds(call("createUserGroup").slash(true).body(&sent)).await);
        let read = self.read(contract, call("getUserGroup").at("group_id", &group)).await;
        let back = [
            ("group_name", "/group_name"),
            ("group_type", "/group_type"),
            ("ldap_group_dn", "/ldap_group_dn"),
        ];
        contract.kept("createUserGroup", &sent, &read, &back, &[("id", "given by the server")]);
        self.read(contract, call("listUserGroups").query("group_name", "cre").query("ldap_group_dn", &dn))
            .await;
        self.read(contract, call("searchUserGroups").query("groupname", "cre")).await;
        let sent =
            json!({"group_name": self.bed.unique("cast"), "group_type": 1, "ldap_group_dn": dn, "id": 77});
        contract.succeeds(call("updateUserGroup").at("group_id", &group).body(&sent)).await;
        let read = self.read(contract, call("getUserGroup").at("group_id", &group)).await;
        let unset = [
            ("id", "given by the server"),
            ("group_type", "a group does not change its source"),
            ("ldap_group_dn", "a group does not change its source"),
        ];
        contract.kept("updateUserGroup", &sent, &read, &back[..1], &unset);
        contract.succeeds(call("deleteUserGroup").at("group_id", &group)).await;
    }

    async fn projects(&self, contract: &mut Contract) {
        let name = self.bed.unique("plan");
        let metadata = json!({"public": "false", "severity": "high", "reuse_sys_cve_allowlist": "true",
            "prevent_vul": "false", "auto_scan": "false", "auto_sbom_generation": "false",
            "enable_content_trust": "false", "enable_content_trust_cosign": "false"});
        let sent =
            json!({"project_name": name, "public": true, "storage_limit": 5_000_000, "metadata": metadata});
        let answer = contract.succeeds(call("createProject").body(&sent)).await;
        let id = made(&answer);
        let read = self.read(contract, call("getProject").at("project_name_or_id", &name)).await;
        contract.expect("createProject", read["project_id"].as_i64() == id.parse().ok(), || {
            format!("{id} is {read}")
        });
        let fields: Vec<String> = metadata
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .map(|key| format!("metadata/{key}"))
            .collect();
        let pointers: Vec<String> = fields.iter().map(|field| format!("/{field}")).collect();
        let mut back: Vec<(&str, &str)> =
            fields.iter().map(String::as_str).zip(pointers.iter().map(String::as_str)).collect();
        let unset = [
            ("public", "metadata.public says it when both are there; tried by itself, below"),
            ("storage_limit", "read with the quota, below"),
            ("registry_id", "there are no proxy caches yet"),
            ("cve_allowlist", "there are no scans yet"),
            ("metadata/retention_id", "set by the server"),
            ("metadata/max_upstream_conn", "there are no proxy caches yet"),
            ("metadata/proxy_cache_filter_kind", "there are no proxy caches yet"),
            ("metadata/proxy_cache_filter_pattern", "there are no proxy caches yet"),
            ("metadata/proxy_cache_local_on_not_found", "there are no proxy caches yet"),
            ("metadata/proxy_referrer_api", "there are no proxy caches yet"),
            ("metadata/proxy_speed_kb", "there are no proxy caches yet"),
        ];
        back.push(("project_name", "/name"));
        contract.kept("createProject", &sent, &read, &back, &unset);
        let summary = self.read(contract, call("getProjectSummary").at("project_name_or_id", &name)).await;
        let limit = &summary["quota"]["hard"]["storage"];
        contract.expect("createProject", *limit == sent["storage_limit"], || format!("the limit is {limit}"));
        self.read(contract, call("getProjectDeletable").at("project_name_or_id", &name)).await;
        self.read(contract, call("listProjects").query("name", "c").query("owner", "admin")).await;
        contract.succeeds(call("headProject").query("project_name", &name)).await;

        // By its id, and named in Location.
        self.read(contract, call("getProject").at("project_name_or_id", &self.project.name)).await;
        let other = json!({"project_name": self.bed.unique("plan"), "public": true});
        let by_name = call("createProject").header("X-Resource-Name-In-Location", "true").body(&other);
        let answer = contract.succeeds(by_name).await;
        contract.expect("createProject", made(&answer) == other["project_name"], || {
            format!("Location {}", answer.header("location"))
        });
        let public = call("getProject").at("project_name_or_id", made(&answer)).open();
        let read = self.read(contract, public).await;
        contract
            .expect("createProject", read["metadata"]["public"] == "true", || format!("not public: {read}"));

        // Clients send everything back that they read.
        let changed = json!({"public": "true", "severity": "low", "reuse_sys_cve_allowlist": "false",
            "prevent_vul": "false", "auto_scan": "false", "auto_sbom_generation": "false",
            "enable_content_trust": "false", "enable_content_trust_cosign": "false"});
        let sent = json!({"project_name": name, "public": false, "metadata": changed,
            "cve_allowlist": {"project_id": 0, "items": []}});
        contract.succeeds(call("updateProject").at("project_name_or_id", &id).body(&sent)).await;
        let read = self.read(contract, call("getProject").at("project_name_or_id", &name).open()).await;
        let mut unset = unset.to_vec();
        unset.push(("project_name", "a project keeps its name"));
        back.pop();
        contract.kept("updateProject", &sent, &read, &back, &unset);
        contract.succeeds(call("deleteProject").at("project_name_or_id", &id)).await;
    }

    async fn metadata(&self, contract: &mut Contract) {
        let at = |id| call(id).at("project_name_or_id", &self.project.name);
        contract.succeeds(at("addProjectMetadatas").body(&json!({"severity": "high"}))).await;
        let read = self.read(contract, at("listProjectMetadatas")).await;
        let expected = json!({"public": "false", "severity": "high"});
        contract.expect("addProjectMetadatas", read == expected, || format!("added: {read}"));
        let read = self.read(contract, at("getProjectMetadata").at("meta_name", "severity")).await;
        contract
            .expect("getProjectMetadata", read == json!({"severity": "high"}), || format!("one key: {read}"));
        let update = at("updateProjectMetadata").at("meta_name", "severity");
        contract.succeeds(update.body(&json!({"severity": "low"}))).await;
        let read = self.read(contract, at("getProjectMetadata").at("meta_name", "severity")).await;
        contract.expect("updateProjectMetadata", read == json!({"severity": "low"}), || format!("is {read}"));
        contract.succeeds(at("deleteProjectMetadata").at("meta_name", "severity")).await;
        let read = self.read(contract, at("listProjectMetadatas")).await;
        contract
            .expect("deleteProjectMetadata", read == json!({"public": "false"}), || format!("left: {read}"));
    }

    async fn members(&self, contract: &mut Contract) {
        let at = |id| call(id).at("project_name_or_id", &self.project.name);
        let ana = self.ana.client().get("/api/v2.0/users/current").await.expect(200).json();
        let group = json!({"group_name": self.bed.unique("crew"), "group_type": 2});
        let group_id = made(&contract.succeeds(call("createUserGroup").body(&group)).await);
        let ldap = json!({"group_name": self.bed.unique("crew"), "group_type": 1,
            "ldap_group_dn": format!("cn={},dc=example", self.bed.unique("crew"))});
        contract.succeeds(call("createUserGroup").body(&ldap)).await;
        let id: i64 = group_id.parse().expect("the id of a group");
        // Every way to say who it is.
        for (who, name, kind) in [
            (json!({"member_user": {"user_id": ana["user_id"]}}), &ana["username"], "u"),
            (json!({"member_user": {"username": ana["username"]}}), &ana["username"], "u"),
            (json!({"member_group": {"id": id}}), &group["group_name"], "g"),
            (json!({"member_group": group}), &group["group_name"], "g"),
            (json!({"member_group": {"ldap_group_dn": ldap["ldap_group_dn"]}}), &ldap["group_name"], "g"),
        ] {
            let mut sent = who.clone();
            sent["role_id"] = json!(2);
            let member = made(&contract.succeeds(at("createProjectMember").body(&sent)).await);
            let read = self.read(contract, at("getProjectMember").at("mid", &member)).await;
            let named = "one of several ways to name a member, each of which is tried";
            let unset = [("member_user", named), ("member_group", named)];
            contract.kept("createProjectMember", &sent, &read, &[("role_id", "/role_id")], &unset);
            contract.expect(
                "createProjectMember",
                read["entity_name"] == *name && read["entity_type"] == kind,
                || format!("{who} made {read}"),
            );
            self.read(
                contract,
                at("listProjectMembers").query("entityname", name.as_str().unwrap_or_default()),
            )
            .await;
            let sent = json!({"role_id": 3});
            contract.succeeds(at("updateProjectMember").at("mid", &member).body(&sent)).await;
            let read = self.read(contract, at("getProjectMember").at("mid", &member)).await;
            contract.kept("updateProjectMember", &sent, &read, &[("role_id", "/role_id")], &[]);
            contract.succeeds(at("deleteProjectMember").at("mid", &member)).await;
        }
        contract.succeeds(call("deleteUserGroup").at("group_id", &group_id)).await;
    }

    async fn labels(&self, contract: &mut Contract) {
        let back = [
            ("name", "/name"),
            ("description", "/description"),
            ("color", "/color"),
            ("scope", "/scope"),
            ("project_id", "/project_id"),
        ];
        let unset = [
            ("id", "given by the server"),
            ("creation_time", "given by the server"),
            ("update_time", "given by the server"),
        ];
        let sent = json!({"name": "stable", "description": "for all", "color": "#00ff00", "scope": "p",
            "project_id": self.project.id, "id": 7, "creation_time": "2020-01-01T00:00:00.000Z"});
        let label = made(&contract.succeeds(call("CreateLabel").body(&sent)).await);
        let read = self.read(contract, call("GetLabelByID").at("label_id", &label)).await;
        contract.kept("CreateLabel", &sent, &read, &back, &unset);
        let global = json!({"name": self.bed.unique("best"), "scope": "g"});
        let global = made(&contract.succeeds(call("CreateLabel").body(&global)).await);
        let sent = json!({"name": "steady", "description": "for some", "color": "#0000ff", "scope": "g"});
        contract.succeeds(call("UpdateLabel").at("label_id", &label).body(&sent)).await;
        let read = self.read(contract, call("GetLabelByID").at("label_id", &label)).await;
        let mut stays = unset.to_vec();
        stays.extend([("scope", "a label stays where it is"), ("project_id", "a label stays where it is")]);
        contract.kept("UpdateLabel", &sent, &read, &back[..3], &stays);
        let list = call("ListLabels").query("scope", "p").query("project_id", self.project.id);
        self.read(contract, list.query("name", "stead")).await;

        // On an artifact and off it.
        let id: i64 = label.parse().expect("the id of a label");
        let at = |id| self.artifact(id);
        let sent = json!({"id": id, "name": "whatever"});
        contract.succeeds(at("addLabel").body(&sent)).await;
        let read = self.read(contract, at("getArtifact").query("with_label", "true")).await;
        let mut only = unset[1..].to_vec();
        only.extend(
            ["name", "description", "color", "scope", "project_id"].map(|field| (field, "the id says which")),
        );
        contract.kept("addLabel", &sent, &read, &[("id", "/labels/0/id")], &only);
        contract.succeeds(at("removeLabel").at("label_id", &label)).await;
        contract.succeeds(at("addLabel").body(&sent)).await;
        contract.succeeds(call("DeleteLabel").at("label_id", &global)).await;
    }

    fn repository(&self, id: &'static str) -> Call {
        call(id).at("project_name", &self.project.name).at("repository_name", "team%252Fapp")
    }

    fn artifact(&self, id: &'static str) -> Call {
        self.repository(id).at("reference", &self.image.digest)
    }

    async fn content(&self, contract: &mut Contract) {
        self.read(contract, call("listAllRepositories")).await;
        self.read(contract, call("listRepositories").at("project_name", &self.project.name)).await;
        let sent = json!({"description": "<b>as typed</b>", "name": "x", "id": 7, "pull_count": 9});
        contract.succeeds(self.repository("updateRepository").body(&sent)).await;
        let read = self.read(contract, self.repository("getRepository")).await;
        let unset =
            ["artifact_count", "creation_time", "id", "name", "project_id", "pull_count", "update_time"]
                .map(|field| (field, "only the description is written by people"));
        contract.kept("updateRepository", &sent, &read, &[("description", "/description")], &unset);
        let once = call("getRepository").at("project_name", &self.project.name);
        let once = self.read(contract, once.at("repository_name", "team%2Fapp")).await;
        contract.expect("getRepository", once == read, || format!("encoded once: {once}"));

        let everything = |call: Call| {
            ["with_label", "with_immutable_status", "with_inherited_accessory", "with_scan_overview"]
                .iter()
                .fold(call, |call, flag| call.query(flag, "true"))
                .query("page_size", "100")
        };
        self.read(contract, everything(self.repository("listArtifacts"))).await;
        let of_project = |id| everything(call(id).at("project_name_or_id", &self.project.name));
        self.read(contract, of_project("listArtifactsOfProject")).await;
        let newest = of_project("listArtifactsOfProject")
            .query("latest_in_repository", "true")
            .query("q", "media_type=application/vnd.oci.image.config.v1+json");
        let fact = contract.fact("listArtifactsOfProject");
        let newest = contract.send(&fact, &newest).await;
        contract.expect("listArtifactsOfProject", newest.header("x-total-count") == "2", || {
            format!("the newest of two repositories: {newest}")
        });
        let read = self.read(contract, everything(self.artifact("getArtifact"))).await;
        for pointer in [
            "/extra_attrs/architecture",
            "/tags/0/immutable",
            "/labels/0/id",
            "/accessories/1/type",
            "/inherited_accessories/0/digest",
            "/addition_links/build_history/href",
            "/addition_links/build_history/absolute",
        ] {
            contract
                .expect("getArtifact", read.pointer(pointer).is_some(), || format!("no {pointer} in {read}"));
        }
        let index =
            self.read(contract, everything(self.repository("getArtifact").at("reference", "all"))).await;
        for pointer in [
            "/references/0/parent_id",
            "/references/0/child_id",
            "/references/0/child_digest",
            "/references/0/platform/architecture",
            "/references/0/annotations/a",
            "/annotations/kind",
        ] {
            contract.expect("getArtifact", index.pointer(pointer).is_some(), || {
                format!("no {pointer} in {index}")
            });
        }
        self.read(contract, self.artifact("listAccessories")).await;
        contract.succeeds(self.artifact("getAddition").at("addition", "build_history")).await;

        let from = format!("{}:v1", self.project.repository("other"));
        contract.succeeds(self.repository("CopyArtifact").query("from", &from).body(&json!({}))).await;
    }

    async fn tags(&self, contract: &mut Contract) {
        let sent = json!({"name": "extra", "id": 7, "immutable": true});
        contract.succeeds(self.artifact("createTag").body(&sent)).await;
        let list = self.artifact("listTags").query("q", "name=extra").query("with_immutable_status", "true");
        let fact = contract.fact("listTags");
        let found = contract.send(&fact, &list).await.json();
        contract.kept(
            "createTag",
            &sent,
            &found,
            &[("name", "/0/name")],
            &[
                ("id", "given by the server"),
                ("repository_id", "said by the path"),
                ("artifact_id", "said by the path"),
                ("push_time", "given by the server"),
                ("pull_time", "given by the server"),
                ("immutable", "said by the rules"),
            ],
        );
        self.read(contract, self.artifact("listTags")).await;
        contract.succeeds(self.artifact("deleteTag").at("tag_name", "extra")).await;
    }

    async fn immutable(&self, contract: &mut Contract) {
        let at = |id| call(id).at("project_name_or_id", &self.project.name);
        let selector = |decoration: &str, pattern: &str| json!({"kind": "doublestar", "decoration": decoration, "pattern": pattern, "extras": "{}"});
        let rule = |pattern: &str, disabled: bool, priority: i64| {
            json!({"action": "immutable", "template": "immutable_template", "disabled": disabled,
                "priority": priority, "params": {"a": "b"}, "id": 7,
                "tag_selectors": [selector("matches", pattern)],
                "scope_selectors": {"repository": [selector("repoMatches", "**")]}})
        };
        let back = [
            ("action", "/0/action"),
            ("template", "/0/template"),
            ("disabled", "/0/disabled"),
            ("priority", "/0/priority"),
            ("params", "/0/params"),
            ("tag_selectors", "/0/tag_selectors"),
            ("scope_selectors", "/0/scope_selectors"),
        ];
        let sent = rule("never-*", true, 3);
        let made = made(&contract.succeeds(at("CreateImmuRule").body(&sent)).await);
        let read = self.read(contract, at("ListImmuRules")).await;
        contract.kept("CreateImmuRule", &sent, &read, &back, &[("id", "given by the server")]);
        let sent = rule("nor-*", true, 5);
        contract.succeeds(at("UpdateImmuRule").at("immutable_rule_id", &made).body(&sent)).await;
        let read = self.read(contract, at("ListImmuRules")).await;
        contract.kept("UpdateImmuRule", &sent, &read, &back, &[("id", "given by the server")]);
        contract.succeeds(at("DeleteImmuRule").at("immutable_rule_id", &made)).await;
    }

    async fn robots(&self, contract: &mut Contract) {
        let rights = |kind: &str, namespace: &str, access: &[(&str, &str)]| {
            let access: Vec<Value> = access
                .iter()
                .map(|(resource, action)| json!({"resource": resource, "action": action, "effect": "allow"}))
                .collect();
            json!({"kind": kind, "namespace": namespace, "access": access})
        };
        let name = self.bed.unique("ci");
        let sent = json!({"name": name, "description": "builds", "level": "project", "duration": 30,
            "disable": false, "secret": "Chosen-Secret-99",
            "permissions": [rights("project", &self.project.name, &[("repository", "pull")])]});
        let made = self.read(contract, call("CreateRobot").body(&sent)).await;
        let id = made["id"].to_string();
        let read = self.read(contract, call("GetRobotByID").at("robot_id", &id)).await;
        let full = format!("robot${}+{name}", self.project.name);
        contract
            .expect("CreateRobot", made["name"] == full && read["name"] == full, || format!("{made} {read}"));
        let back = [
            ("description", "/description"),
            ("level", "/level"),
            ("duration", "/duration"),
            ("disable", "/disable"),
            ("permissions", "/permissions"),
        ];
        let unset = [("name", "read with its prefix"), ("secret", "made by the server")];
        contract.kept("CreateRobot", &sent, &read, &back, &unset);

        // Clients send the whole robot back.
        let mut sent = read.clone();
        for (key, value) in [
            ("description", json!("builds and pushes")),
            ("duration", json!(60)),
            ("disable", json!(true)),
            ("secret", json!("Chosen-Secret-99")),
            (
                "permissions",
                json!([rights(
                    "project",
                    &self.project.name,
                    &[("repository", "pull"), ("repository", "push")]
                )]),
            ),
        ] {
            sent[key] = value;
        }
        contract.succeeds(call("UpdateRobot").at("robot_id", &id).body(&sent)).await;
        let read = self.read(contract, call("GetRobotByID").at("robot_id", &id)).await;
        let mut back = back.to_vec();
        back.push(("name", "/name"));
        let unset = [
            ("secret", "changed by an operation of its own"),
            ("id", "given by the server"),
            ("expires_at", "follows from the duration"),
            ("editable", "given by the server"),
            ("creator_type", "given by the server"),
            ("creator_ref", "given by the server"),
            ("creation_time", "given by the server"),
            ("update_time", "given by the server"),
        ];
        contract.kept("UpdateRobot", &sent, &read, &back, &unset);
        for chosen in ["", "Chosen-Secret-99"] {
            let sent = json!({"secret": chosen});
            let answer = self.read(contract, call("RefreshSec").at("robot_id", &id).body(&sent)).await;
            contract
                .expect("RefreshSec", (answer["secret"] == "") != chosen.is_empty(), || answer.to_string());
        }
        let of_project = format!("Level=project,ProjectID={}", self.project.id);
        let fact = contract.fact("ListRobot");
        let listed = contract.send(&fact, &call("ListRobot").query("q", of_project)).await;
        contract.expect("ListRobot", listed.header("x-total-count") == "1", || {
            format!("of the project: {listed}")
        });
        for number in 0..2 {
            let system = json!({"name": format!("{name}-{number}"), "level": "system", "duration": -1,
                "permissions": [rights("system", "/", &[("catalog", "read")]),
                    rights("project", "*", &[("repository", "pull")])]});
            contract.succeeds(call("CreateRobot").body(&system)).await;
        }
        self.read(contract, call("ListRobot")).await;
        contract.succeeds(call("DeleteRobot").at("robot_id", &id)).await;
    }

    async fn quotas(&self, contract: &mut Contract) {
        let of_project = |call: Call| {
            call.query("reference", "project")
                .query("reference_id", self.project.id)
                .query("sort", "-used.storage")
        };
        let listed = self.read(contract, of_project(call("listQuotas"))).await;
        self.read(contract, call("listQuotas")).await;
        let id = listed[0]["id"].to_string();
        let sent = json!({"hard": {"storage": 7_000_000}});
        contract.succeeds(call("updateQuota").at("id", &id).body(&sent)).await;
        let read = self.read(contract, call("getQuota").at("id", &id)).await;
        contract.kept("updateQuota", &sent, &read, &[("hard", "/hard")], &[]);
    }

    async fn collections(&self, contract: &mut Contract) {
        let run = json!({"schedule": {"type": "Manual"},
                         "parameters": {"delete_untagged": false, "dry_run": true, "workers": 2}});
        contract.succeeds(call("createGCSchedule").body(&run)).await;
        let mut listed = self.read(contract, call("getGCHistory")).await;
        for _ in 0..200 {
            if listed[0]["job_status"] == "Success" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            listed = self.read(contract, call("getGCHistory").query("sort", "-id")).await;
        }
        assert_eq!(listed[0]["job_status"], "Success", "{listed}");
        let told = listed[0]["job_parameters"].as_str().unwrap_or_default();
        let told: serde_json::Value = serde_json::from_str(told).unwrap_or_default();
        assert_eq!(told, run["parameters"]);
        let id = listed[0]["id"].to_string();
        self.read(contract, call("getGC").at("gc_id", &id)).await;
        contract.succeeds(call("getGCLog").at("gc_id", &id)).await;
        contract.succeeds(call("stopGC").at("gc_id", &id)).await;
        let daily = json!({"schedule": {"type": "Custom", "cron": "0 15 3 * * *"}, "parameters": {}});
        contract.succeeds(call("createGCSchedule").body(&daily)).await;
        let weekly = json!({"schedule": {"type": "Weekly", "cron": "0 0 0 * * 0"}, "parameters": {"delete_untagged": true}});
        contract.succeeds(call("updateGCSchedule").body(&weekly)).await;
        let read = self.read(contract, call("getGCSchedule")).await;
        assert_eq!(
            (&read["schedule"]["type"], &read["schedule"]["cron"]),
            (&json!("Weekly"), &json!("0 0 0 * * 0"))
        );
        contract.succeeds(call("updateGCSchedule").body(&json!({"schedule": {"type": "None"}}))).await;
    }

    async fn trail(&self, contract: &mut Contract) {
        for id in ["listAuditLogs", "listAuditLogExts", "listAuditLogEventTypes"] {
            self.read(contract, call(id)).await;
        }
        for id in ["getLogs", "getLogExts"] {
            self.read(contract, call(id).at("project_name", &self.project.name)).await;
        }
    }

    async fn deletions(&self, contract: &mut Contract) {
        contract.succeeds(self.repository("deleteArtifact").at("reference", "v2")).await;
        let other = call("deleteRepository").at("project_name", &self.project.name);
        contract.succeeds(other.at("repository_name", "other")).await;
    }
}
