//! Rules for names: what repositories and tags may be called from now on, in the whole installation and in one project.
//!
//! A name has to match every rule for its kind as a whole. Only names that come into being are judged: a repository
//! with its first manifest, a tag that its repository does not have. What exists stays, and can be pushed to; the
//! reports (`naming_report.rs`) tell what that is.
//!
//! Which names are new is found out by the statement that locks the repository (`catalog.naming`), so that a push has
//! no further round trip; the expressions are matched here, in time linear in the name, before the transaction commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use database::{Database, Tx};
use identity::Caller;
use oci::RepositoryName;
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{
    Permit, ProjectId, ReadInstallationNaming, ReadNamingPolicy, SystemPermit, UpdateInstallationNaming,
    UpdateNamingPolicy,
};

use crate::{Error, immutable, retrying};

/// Rules of one policy.
const RULES_MAX: usize = 20;
const PATTERN_BYTES_MAX: usize = 256;
const MESSAGE_CHARS_MAX: usize = 256;
/// Bytes of one compiled expression: bounds what matching it costs for each character of a name.
const COMPILED_BYTES_MAX: usize = 32 * 1024;
/// Bytes that matching may remember for one expression.
const MATCHER_BYTES_MAX: usize = 64 * 1024;
/// Compiled expressions kept.
const COMPILED_MAX: u64 = 256;
/// The row of the installation's rules.
const INSTALLATION: i64 = 0;

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamingTarget {
    /// Names of repositories, without their project.
    Repository,
    /// Names of tags.
    Tag,
}

/// What happens to a name that a rule does not let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamingMode {
    /// It cannot be made.
    #[default]
    Enforce,
    /// It is made, and the client is told.
    Warn,
}

/// A rule: names of the target have to match the pattern from their first to their last character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamingRule {
    pub target: NamingTarget,
    pub pattern: String,
    /// What people are told whose name does not match.
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub mode: NamingMode,
}

/// What `catalog.naming` returns.
#[derive(Deserialize)]
struct ToJudge {
    #[serde(default)]
    installation: Vec<NamingRule>,
    #[serde(default)]
    project: Vec<NamingRule>,
    /// The repository is new.
    repository: bool,
    /// The tags that are new.
    tags: Vec<String>,
}

/// Compiled expressions by their text. Clones share them.
#[derive(Clone)]
pub(crate) struct Patterns(moka::sync::Cache<String, Option<Arc<Regex>>>);

/// Naming rules. Clone freely.
#[derive(Clone)]
pub struct Naming {
    pub(crate) database: Database,
    pub(crate) patterns: Patterns,
}

impl Naming {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, patterns: Patterns(moka::sync::Cache::new(COMPILED_MAX)) }
    }

    /// The rules of the whole installation, in their order.
    pub async fn of_installation(
        &self,
        _permit: &SystemPermit<ReadInstallationNaming>,
    ) -> Result<Vec<NamingRule>, Error> {
        Ok(self.policies(INSTALLATION).await?.remove(&INSTALLATION).unwrap_or_default())
    }

    /// The rules of one project, without those of the installation.
    pub async fn of_project(&self, permit: &Permit<ReadNamingPolicy>) -> Result<Vec<NamingRule>, Error> {
        let project = permit.project.0;
        Ok(self.policies(project).await?.remove(&project).unwrap_or_default())
    }

    /// Replaces the rules of the whole installation.
    ///
    /// # Errors
    /// `Invalid`, `Limit`.
    pub async fn set_for_installation(
        &self,
        permit: &SystemPermit<UpdateInstallationNaming>,
        rules: &[NamingRule],
    ) -> Result<(), Error> {
        self.set(permit.caller(), None, rules).await
    }

    /// Replaces the rules of one project.
    ///
    /// # Errors
    /// As [`Naming::set_for_installation`].
    pub async fn set_for_project(
        &self,
        permit: &Permit<UpdateNamingPolicy>,
        rules: &[NamingRule],
    ) -> Result<(), Error> {
        self.set(&permit.caller, Some(permit.project), rules).await
    }

    /// The policies of the installation and of a project, by project. The installation has the id 0.
    pub(crate) async fn policies(&self, project: i64) -> Result<BTreeMap<i64, Vec<NamingRule>>, Error> {
        let rows = sqlx::query!(
            "select project_id, rules from catalog.naming_policies where project_id in (0, $1)",
            project
        )
        .fetch_all(self.database.pool())
        .await?;
        rows.into_iter().map(|row| Ok((row.project_id, stored(row.rules)?))).collect()
    }

    async fn set(
        &self,
        caller: &Caller,
        project: Option<ProjectId>,
        rules: &[NamingRule],
    ) -> Result<(), Error> {
        check(rules)?;
        let rules = serde_json::to_value(rules).map_err(|err| Error::Invalid(err.to_string()))?;
        retrying(|| async {
            let mut tx = self.database.begin().await?;
            if let Some(project) = project {
                immutable::lock_project(&mut tx, project).await?;
            }
            sqlx::query!(
                "insert into catalog.naming_policies (project_id, rules) values ($1, $2)
                 on conflict (project_id) do update set rules = excluded.rules, updated_at = now()",
                project.map_or(INSTALLATION, |project| project.0),
                rules
            )
            .execute(&mut *tx)
            .await?;
            trail(&mut tx, caller, project).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Judges the names that a change would make, as `catalog.naming` found them. Returns what the client is to be
    /// told although the names are let through.
    ///
    /// # Errors
    /// `NameRefused` for the first name that may not be made.
    pub(crate) fn judge(
        &self,
        repository: &RepositoryName,
        found: Option<Value>,
    ) -> Result<Vec<String>, Error> {
        let Some(found) = found else { return Ok(Vec::new()) };
        let to_judge: ToJudge = stored(found)?;
        let mut warnings = Vec::new();
        for (rules, whose) in
            [(&to_judge.installation, "the installation"), (&to_judge.project, "the project")]
        {
            for rule in rules {
                let names: Vec<&str> = match rule.target {
                    NamingTarget::Repository if to_judge.repository => {
                        vec![below_project(repository.as_str())]
                    }
                    NamingTarget::Repository => Vec::new(),
                    NamingTarget::Tag => to_judge.tags.iter().map(String::as_str).collect(),
                };
                for name in names.into_iter().filter(|name| self.patterns.breaks(rule, name)) {
                    let text = explain(rule, name, whose);
                    match rule.mode {
                        NamingMode::Enforce => return Err(Error::NameRefused(text)),
                        NamingMode::Warn => warnings.push(text),
                    }
                }
            }
        }
        Ok(warnings)
    }
}

impl Patterns {
    /// Whether the rule does not let the name through. An expression that cannot be read lets nothing through.
    pub fn breaks(&self, rule: &NamingRule, name: &str) -> bool {
        if rule.target == NamingTarget::Tag && is_technical(name) {
            return false;
        }
        let compiled = match self.0.get(&rule.pattern) {
            Some(known) => known,
            None => {
                let compiled = compile(&rule.pattern).map(Arc::new);
                if let Err(error) = &compiled {
                    tracing::error!(pattern = rule.pattern, error, "a stored naming rule cannot be used");
                }
                let compiled = compiled.ok();
                self.0.insert(rule.pattern.clone(), compiled.clone());
                compiled
            }
        };
        compiled.is_none_or(|expression| !expression.is_match(name.as_bytes()))
    }
}

/// Tags that clients make by a rule of the protocol: signatures and the like of older cosign, and lists of referrers.
/// No rule of ours may keep anybody from signing.
fn is_technical(tag: &str) -> bool {
    let (algorithm, rest) = tag.split_once('-').unwrap_or_default();
    let (hex, kind) = rest.split_once('.').map_or((rest, None), |(hex, kind)| (hex, Some(kind)));
    let length = match algorithm {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length
        && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && kind.is_none_or(|kind| ["sig", "att", "sbom"].contains(&kind))
}

/// Names are ASCII, so the expression is one over bytes; classes of Unicode would only make it large.
fn compile(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(MATCHER_BYTES_MAX)
            .nest_limit(50)
            .build()
            .map_err(|err| match err {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                // The last line says what is wrong; those before it point at the place.
                other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
            })
    };
    // By itself first: one that closes a bracket too many would get out of the anchors.
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

fn check(rules: &[NamingRule]) -> Result<(), Error> {
    let invalid = |text: String| Err(Error::Invalid(text));
    if rules.len() > RULES_MAX {
        return invalid(format!("a naming policy has at most {RULES_MAX} rules"));
    }
    for NamingRule { pattern, message, .. } in rules {
        if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX || pattern.contains('\0') {
            return invalid(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes and no NUL character"));
        }
        if message.chars().count() > MESSAGE_CHARS_MAX || message.contains(char::is_control) {
            return invalid(format!(
                "a message has at most {MESSAGE_CHARS_MAX} characters and stands on one line"
            ));
        }
        if let Err(why) = compile(pattern) {
            return invalid(format!("the pattern {pattern:?} cannot be used: {why}"));
        }
    }
    Ok(())
}

/// What people read whose name is not let through.
fn explain(rule: &NamingRule, name: &str, whose: &str) -> String {
    let target = match rule.target {
        NamingTarget::Repository => "repository name",
        NamingTarget::Tag => "tag",
    };
    let hint = match rule.message.as_str() {
        "" => format!("it has to match {}", rule.pattern),
        message => message.to_owned(),
    };
    format!("the {target} {name} breaks a naming rule of {whose}: {hint}")
}

pub(crate) fn below_project(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, name)| name)
}

fn stored<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value)
        .map_err(|err| Error::Storage(database::Error::Other(sqlx::Error::Decode(err.into()))))
}

async fn trail(tx: &mut Tx, caller: &Caller, project: Option<ProjectId>) -> Result<(), Error> {
    audit::append(
        tx,
        &audit::Entry {
            actor: caller.actor(),
            action: "naming_policy_update",
            object: audit::Object { kind: "naming_policy", id: String::new(), name: "" },
            project: project.map(|project| project.0),
            outcome: audit::Outcome::Done,
            origin: &caller.origin,
            changed: &["rules"],
        },
    )
    .await?;
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_a_whole() {
        for (pattern, name, fits) in [
            ("v[0-9]+", "v12", true),
            ("v[0-9]+", "v12-rc", false),
            ("v[0-9]+", "xv12", false),
            ("^v1$", "v1", true),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("(?i)latest", "LATEST", true),
            (r"\w+", "a_1", true),
            (".*", "team/app", true),
            ("(a+)+b", &"a".repeat(128), false),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_a_rule_may_not_be() {
        let rule = |pattern: &str, message: &str| NamingRule {
            target: NamingTarget::Tag,
            pattern: pattern.to_owned(),
            message: message.to_owned(),
            mode: NamingMode::Enforce,
        };
        assert!(check(&[rule("a", "Größe: use a version")]).is_ok());
        for (bad, text) in [
            (vec![rule("", "")], "1 to 256 bytes"),
            (vec![rule(&"a".repeat(257), "")], "1 to 256 bytes"),
            (vec![rule("a\0", "")], "NUL"),
            (vec![rule("a", "two\nlines")], "one line"),
            (vec![rule("a", &"m".repeat(257))], "256 characters"),
            (vec![rule("(", "")], "cannot be used"),
            (vec![rule("a)|(b", "")], "cannot be used"),
            (vec![rule(r"(a)\1", "")], "cannot be used"),
            (vec![rule("(?=a)", "")], "cannot be used"),
            (vec![rule("((a{99}){99}){99}", "")], "too large"),
            (vec![rule("a", ""); RULES_MAX + 1], "at most 20 rules"),
        ] {
            let refused = check(&bad).unwrap_err().to_string();
            assert!(refused.contains(text), "{refused}");
        }
    }

    #[test]
    fn tags_of_the_protocol() {
        let hex = "0123456789abcdef".repeat(4);
        for (tag, technical) in [
            (format!("sha256-{hex}.sig"), true),
            (format!("sha256-{hex}.sbom"), true),
            (format!("sha256-{hex}"), true),
            (format!("sha512-{hex}{hex}.att"), true),
            (format!("sha512-{hex}"), false),
            (format!("sha256-{hex}.latest"), false),
            (format!("sha256-{hex}.sig.x"), false),
            ("sha256-x".to_owned(), false),
            ("latest".to_owned(), false),
        ] {
            assert_eq!(is_technical(&tag), technical, "{tag}");
        }
    }
}
