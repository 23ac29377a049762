//! What breaks the naming rules today.
//!
//! Expressions are matched here and not by the database, so a report looks at the names in their order, a few thousand
//! with each request, and tells where it stopped. Nothing is held between requests, and no request costs more than
//! another, however much there is.

use oci::RepositoryName;
use tenancy::{Permit, ReadInstallationNaming, ReadNamingReport, SystemPermit};

use crate::naming::{NamingRule, NamingTarget, below_project};
use crate::{Error, Naming};

/// Names that one request looks at.
const NAMES_MAX: usize = 5_000;
/// Names after which other requests get their turn.
const TURN: usize = 100;

/// One name that one rule does not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamingFinding {
    /// With the project: `project/name`.
    pub repository: String,
    /// Nothing when it is the name of the repository.
    pub tag: Option<String>,
    pub rule: NamingRule,
}

/// Where a report goes on: at a name, behind as many of its findings as were told. As text
/// `<project id>:<repository>:<tag>:<findings told>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportPlace {
    project: i64,
    repository: String,
    /// Empty for the name of the repository itself.
    tag: String,
    told: usize,
}

/// A page of a report.
#[derive(Clone, Debug)]
pub struct NamingReport {
    pub findings: Vec<NamingFinding>,
    /// Where the next page begins, which may be empty. Nothing when every name was looked at.
    pub next: Option<ReportPlace>,
}

impl std::fmt::Display for ReportPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}:{}", self.project, self.repository, self.tag, self.told)
    }
}

impl std::str::FromStr for ReportPlace {
    type Err = Error;

    /// A place needs to exist no more; it only has to be one.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let [project, repository, tag, told] = text.split(':').collect::<Vec<_>>().try_into().ok()?;
            let _: RepositoryName = repository.parse().ok()?;
            let _: Option<oci::Tag> = if tag.is_empty() { None } else { Some(tag.parse().ok()?) };
            Some(Self {
                project: project.parse().ok()?,
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                told: told.parse().ok()?,
            })
        };
        parse().ok_or_else(|| {
            Error::BadQuery(
                "after is no place in a report: take it from the Link header of the page before".to_owned(),
            )
        })
    }
}

impl Naming {
    /// What breaks the rules in force in a project, its own and those of the installation: a page of at most
    /// `findings_max`, from `place` on.
    pub async fn report_of_project(
        &self,
        permit: &Permit<ReadNamingReport>,
        place: ReportPlace,
        findings_max: usize,
    ) -> Result<NamingReport, Error> {
        let rules = self.policies(permit.project.0).await?.into_values().flatten().collect();
        self.report(rules, Some(permit.project.0), place, findings_max).await
    }

    /// What breaks the rules of the installation, in all projects.
    pub async fn report_of_installation(
        &self,
        permit: &SystemPermit<ReadInstallationNaming>,
        place: ReportPlace,
        findings_max: usize,
    ) -> Result<NamingReport, Error> {
        let rules = self.of_installation(permit).await?;
        self.report(rules, None, place, findings_max).await
    }

    async fn report(
        &self,
        rules: Vec<NamingRule>,
        project: Option<i64>,
        place: ReportPlace,
        findings_max: usize,
    ) -> Result<NamingReport, Error> {
        let mut report = NamingReport { findings: Vec::new(), next: None };
        if rules.is_empty() {
            return Ok(report);
        }
        let names = self.names(project, &place).await?;
        for (index, name) in names.iter().enumerate() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let begun = index == 0
                && (name.project, &name.repository, &name.tag)
                    == (place.project, &place.repository, &place.tag);
            let told = if begun { place.told } else { 0 };
            let here = ReportPlace { told, ..name.clone() };
            if index == NAMES_MAX {
                report.next = Some(here);
                break;
            }
            let mut broken = rules.iter().filter(|rule| self.is_broken(rule, name)).skip(told);
            let room = findings_max - report.findings.len();
            let found: Vec<_> = broken.by_ref().take(room).map(|rule| finding(rule, name)).collect();
            let told = told + found.len();
            report.findings.extend(found);
            if broken.next().is_some() {
                report.next = Some(ReportPlace { told, ..here });
                break;
            }
        }
        Ok(report)
    }

    fn is_broken(&self, rule: &NamingRule, name: &ReportPlace) -> bool {
        match rule.target {
            NamingTarget::Repository if name.tag.is_empty() => {
                self.patterns.breaks(rule, below_project(&name.repository))
            }
            NamingTarget::Tag if !name.tag.is_empty() => self.patterns.breaks(rule, &name.tag),
            NamingTarget::Repository | NamingTarget::Tag => false,
        }
    }

    /// Names from `place` on, of repositories that have something in them, each followed by its tags. One more than
    /// are looked at, to know whether there are more.
    async fn names(&self, project: Option<i64>, place: &ReportPlace) -> Result<Vec<ReportPlace>, Error> {
        let limit = NAMES_MAX as i64 + 1;
        let rows = sqlx::query!(
            r#"select r.project_id, r.path, n.name as "name!"
               from catalog.repositories r
               cross join lateral (
                   select '' collate "C" as name
                   where $3 = '' or (r.project_id, r.path) > ($1, $2)
                   union all
                   (select t.name from catalog.tags t
                    where t.repository_id = r.id
                      and t.name >= case when (r.project_id, r.path) > ($1, $2) then '' else $3 end
                    order by t.name limit $5)
               ) n
               where (r.project_id, r.path) >= ($1, $2) and ($4::bigint is null or r.project_id = $4)
                 and r.deleted_at is null and r.last_published_at is not null
               order by r.project_id, r.path, n.name limit $5"#,
            place.project,
            place.repository,
            place.tag,
            project,
            limit
        )
        .fetch_all(self.database.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| ReportPlace { project: row.project_id, repository: row.path, tag: row.name, told: 0 })
            .collect())
    }
}

fn finding(rule: &NamingRule, name: &ReportPlace) -> NamingFinding {
    NamingFinding {
        repository: name.repository.clone(),
        tag: Some(name.tag.clone()).filter(|tag| !tag.is_empty()),
        rule: rule.clone(),
    }
}
