//! Pages of the REST API and of a large installation, which only Hythe has.
//!
//! Ten thousand projects, a hundred thousand artifacts and a million tags would take an hour to push, so their rows are
//! written with SQL, as the server's own account for its database. Nothing reads the bytes they stand for.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::bench::{Bench, Plan};
use crate::http::Head;
use crate::load::{Limit, Repeated, hammer};
use crate::report::{Aim, Kind};
use crate::server::{ADMIN, data_dir};

/// Connections that ask at the same time, one for each processor of the machine that the aim names.
const CONNECTIONS: usize = 2;
const AIMS: &[Aim] = &[Aim::P99Ms(20.0)];

/// The repository with a tenth of all artifacts and tags.
const LARGE: &str = "/api/v2.0/projects/seed-00001/repositories/large";
const FLAGS: &str = "with_tag=true&with_label=true&with_accessory=true&with_immutable_status=true&with_signature=true&\
                     with_scan_overview=true&with_sbom_overview=true";

impl Bench {
    pub async fn pages(&mut self) -> Result<()> {
        let (projects, artifacts) = (self.size.seeded_projects, self.size.seeded_artifacts);
        self.write_rows(projects, artifacts).await?;
        tokio::time::sleep(self.size.rest).await;
        let last = |rows: usize| rows.div_ceil(100).max(1);
        let pages = [
            (format!("100 of {projects} projects"), "/api/v2.0/projects?page_size=100".to_owned()),
            (
                "the last 100 of them".to_owned(),
                format!("/api/v2.0/projects?page_size=100&page={}", last(projects)),
            ),
            ("projects by part of a name".to_owned(), "/api/v2.0/projects?q=name%3D~999".to_owned()),
            ("repositories of a project".to_owned(), "/api/v2.0/projects/seed-00002/repositories".to_owned()),
            (
                format!("100 of {} artifacts, every flag", artifacts / 10),
                format!("{LARGE}/artifacts?page_size=100&{FLAGS}"),
            ),
            (
                "the last 100 of them".to_owned(),
                format!("{LARGE}/artifacts?page_size=100&page={}&{FLAGS}", last(artifacts / 10)),
            ),
            (format!("100 of {artifacts} tags, by name"), format!("{LARGE}/tags?page_size=100")),
            ("by version, newest first".to_owned(), format!("{LARGE}/tags?page_size=100&sort=-semver")),
            ("tags of a project".to_owned(), "/api/v2.0/projects/seed-00001/tags?page_size=100".to_owned()),
            (
                "artifacts of a project, every flag".to_owned(),
                format!("/api/v2.0/projects/seed-00001/artifacts?page_size=100&{FLAGS}"),
            ),
            ("search".to_owned(), "/api/v2.0/search?q=seed-000".to_owned()),
            (
                "quotas, fullest first".to_owned(),
                "/api/v2.0/quotas?page_size=100&sort=-used.storage".to_owned(),
            ),
            ("audit trail".to_owned(), "/api/v2.0/audit-logs?page_size=100".to_owned()),
            ("statistics".to_owned(), "/api/v2.0/statistics".to_owned()),
        ];
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
        let login = format!("Basic {login}");
        let run = Limit::For(self.size.run);
        for (title, path) in pages {
            let plan = Plan { name: format!("REST: {title}"), kind: Kind::Requests, aims: AIMS, peer: false };
            let request = || Repeated { head: Head::new("GET", &path, Some(&login), &[], None), status: 200 };
            self.case(plan, async |registry, _| {
                hammer(registry.address, &Arc::new(vec![request()]), CONNECTIONS, run).await
            })
            .await?;
        }
        Ok(())
    }

    /// Writes the rows through psql, as the account that owns the database's directory.
    async fn write_rows(&mut self, projects: usize, artifacts: usize) -> Result<()> {
        let data = data_dir(&self.directory);
        let owner = std::fs::metadata(data.join("postgres")).context("the database's directory")?;
        let mut command = std::process::Command::new("psql");
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "hythe_owner", "-d", "hythe", "-h"]);
        command.arg(data.join("run")).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        if nix::unistd::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("psql, of the package postgresql-client")?;
        let sql = rows(projects, artifacts);
        child.stdin.take().context("a pipe")?.write_all(sql.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        self.notes.push(format!(
            "{projects} projects, {artifacts} artifacts and {} tags of the REST pages were written with SQL",
            artifacts * 10
        ));
        Ok(())
    }
}

/// A tenth of the artifacts in one repository, the others in ten repositories of each of the first hundred projects.
fn rows(projects: usize, artifacts: usize) -> String {
    let repositories = projects.min(100) * 10;
    let large = artifacts / 10;
    let each = (artifacts - large) / repositories.max(1);
    format!(
        "begin;
         create temporary table seeded_projects as
             with made as (
                 insert into tenancy.projects (name, owner_id, public, repository_count)
                 select 'seed-' || lpad(n::text, 5, '0'), (select min(id) from identity.users), n % 2 = 0,
                        case when n <= 100 then 10 else 0 end
                 from generate_series(1, {projects}) n returning id, name)
             select id, name, row_number() over (order by name) as n from made;
         insert into tenancy.quotas (project_id, hard_bytes, used_bytes)
             select id, 1000000000000, n * 1000 from seeded_projects;
         insert into tenancy.members (project_id, entity_type, entity_id, role)
             select id, 'u', (select min(id) from identity.users), 1 from seeded_projects;
         create temporary table seeded_repositories as
             with made as (
                 insert into catalog.repositories (project_id, path, manifest_count, last_published_at)
                 select p.id, p.name || '/app-' || r, {each}, now()
                 from seeded_projects p, generate_series(1, 10) r where p.n <= 100
                 union all
                 select p.id, p.name || '/large', {large}, now() from seeded_projects p where p.n = 1
                 returning id, manifest_count)
             select id, manifest_count from made;
         create temporary table seeded_manifests as
             with made as (
                 insert into catalog.manifests
                     (repository_id, digest, media_type, config_media_type, payload, total_size, kind, facts, pushed_by, pushed_at)
                 select r.id, '\\x01'::bytea || sha256(convert_to(r.id || ':' || n, 'UTF8')),
                        'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.config.v1+json',
                        '{{}}', 1000 + n, 'IMAGE', '{{\"architecture\":\"amd64\",\"os\":\"linux\"}}', 'admin',
                        now() - make_interval(secs => n)
                 from seeded_repositories r, generate_series(1, r.manifest_count) n returning id, repository_id)
             select id, repository_id, row_number() over (partition by repository_id order by id) as n from made;
         insert into catalog.tags (repository_id, name, manifest_id, natural_key, semver_key, pushed_by)
             select repository_id, 'v1.' || n || '.' || k, id, 'v1.' || lpad(n::text, 8, '0') || '.' || k,
                    lpad(n::text, 8, '0') || k, 'admin'
             from seeded_manifests, generate_series(0, 9) k;
         commit;
         analyze;"
    )
}
