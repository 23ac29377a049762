//! Registry tokens: what they say, how they are signed and when they are honoured (Docker token specification).
//!
//! The key decides the algorithm, never the token's header; a header may hold `alg`, `typ` and `kid` and
//! nothing else. Decoding is pure: no file, no network, no database, whatever the token says.
//!
//! Invariant: a token never says that its holder is a system administrator, and it is bound to project ids and
//! to the epochs known when it was made.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use oci::{Action, RepositoryName};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::Config;
use crate::epochs::Subject;
use crate::keys::{Key, Ring};
use crate::principal::{Limits, Principal, Robot, RobotId, User, UserId};
use crate::strict_json;

/// Seconds that clocks may differ (`exp`, `nbf`, `iat`).
pub const LEEWAY_SECONDS: i64 = 60;

/// Longer tokens are refused before anything of them is read.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Longer tokens are not made: they have to fit into the head of a request together with everything else.
const ISSUED_BYTES_MAX: usize = 15 * 1024;

/// One granted scope. An entry without actions grants nothing; it answers a scope that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `repository` or `registry`, or whatever was asked for.
    pub kind: String,
    /// For a repository its full name, project included.
    pub name: String,
    /// `pull`, `push`, `delete` in this order, or `*`.
    pub actions: Vec<String>,
    /// Id and epoch of the project when the grant was made; `None` where nothing is granted in a project.
    pub project: Option<(i64, i64)>,
}

impl Access {
    /// A grant on one repository.
    pub fn repository(name: &RepositoryName, actions: &[Action], project: Option<(i64, i64)>) -> Self {
        Self {
            kind: "repository".to_owned(),
            name: name.as_str().to_owned(),
            actions: actions.iter().map(|action| action.as_str().to_owned()).collect(),
            project,
        }
    }

    /// The answer to a scope that grants nothing.
    pub fn nothing(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), actions: Vec::new(), project: None }
    }

    /// Permission to list all repositories.
    pub fn catalog() -> Self {
        Self {
            kind: "registry".to_owned(),
            name: "catalog".to_owned(),
            actions: vec!["*".to_owned()],
            project: None,
        }
    }

    /// Whether this entry allows the action on exactly this repository. Without a project id it allows nothing.
    pub fn allows(&self, repository: &RepositoryName, action: Action) -> bool {
        self.kind == "repository"
            && self.project.is_some()
            && self.name == repository.as_str()
            && self.actions.iter().any(|one| one == action.as_str() || one == "*")
    }

    /// Whether this entry allows listing all repositories.
    pub fn allows_catalog(&self) -> bool {
        self.kind == "registry" && self.name == "catalog" && self.actions.iter().any(|one| one == "*")
    }
}

/// A token just made.
#[derive(Clone)]
pub struct Issued {
    pub token: String,
    /// Seconds, never below 60.
    pub expires_in: i64,
    pub issued_at: DateTime<Utc>,
}

/// What kind of principal a token was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    Anonymous,
    User,
    Robot,
}

/// The contents of a token whose signature, issuer, audience and times are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub principal_kind: PrincipalKind,
    /// Number of the user or robot; 0 for anonymous.
    pub id: i64,
    /// Name at issue; empty for anonymous.
    pub name: String,
    /// Epoch of the account at issue; 0 for anonymous.
    pub epoch: i64,
    /// Number and epoch of the personal access token it was issued for.
    pub access_token: Option<(i64, i64)>,
    pub access: Vec<Access>,
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Verified {
    /// The principal the token speaks for. Never a system administrator: a token carries its grants itself.
    pub fn principal(&self) -> Principal {
        match self.principal_kind {
            PrincipalKind::Anonymous => Principal::Anonymous,
            PrincipalKind::User => Principal::User(User {
                id: UserId(self.id),
                name: self.name.clone(),
                sysadmin: false,
                epoch: self.epoch,
                limits: self.access_token.map(|(id, epoch)| Limits::unknown(id, epoch).into()),
            }),
            PrincipalKind::Robot => Principal::Robot(Robot {
                id: RobotId(self.id),
                name: self.name.clone(),
                // The token ends with it.
                expires_at: None,
                epoch: self.epoch,
            }),
        }
    }

    /// Whether its time is over, leeway included.
    pub(crate) fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.timestamp().saturating_add(LEEWAY_SECONDS) <= now.timestamp()
    }

    /// Whether its time has begun. A clock that is set back can take that away again.
    pub(crate) fn has_begun(&self, now: DateTime<Utc>) -> bool {
        self.issued_at.timestamp() <= now.timestamp().saturating_add(LEEWAY_SECONDS)
    }

    /// Every subject the token depends on, with the epoch known at issue.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = (Subject, i64)> {
        let account = match self.principal_kind {
            PrincipalKind::Anonymous => None,
            PrincipalKind::User => Some((Subject::User(self.id), self.epoch)),
            PrincipalKind::Robot => Some((Subject::Robot(self.id), self.epoch)),
        };
        let token = self.access_token.map(|(id, epoch)| (Subject::AccessToken(id), epoch));
        let account = account.into_iter().chain(token);
        let projects = self.access.iter().filter_map(|entry| entry.project);
        account.chain(projects.map(|(id, epoch)| (Subject::Project(id), epoch)))
    }
}

/// Why a token is not honoured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a token of ours, or damaged. 401 `invalid_token`.
    #[error("the token is not valid")]
    Invalid,
    /// Everything but the time is right, and nothing was revoked since. 401, except for an upload session of the
    /// same principal whose account is active and may still push.
    #[error("the token has expired")]
    Expired(Box<Verified>),
    /// Rights were taken away after the token was made. 401 `invalid_token`.
    #[error("the token was revoked")]
    Revoked,
    /// The epochs are older than five seconds and the database could not be asked. 503.
    #[error("revocations are not known")]
    Stale,
}

/// Makes a token. `access` is the grant as `tenancy` decided it.
pub(crate) fn sign(
    key: &Key,
    config: &Config,
    now: DateTime<Utc>,
    principal: &Principal,
    access: &[Access],
) -> Result<Issued, crate::Error> {
    let mut seconds = config.token_seconds();
    let end = match principal {
        Principal::Robot(robot) => robot.expires_at,
        other => other.limits().and_then(|limits| limits.expires_at),
    };
    if let Some(end) = end {
        // The token ends with what it was issued for, leeway included; in its last minute there is no time left to grant.
        seconds = seconds.min(end.timestamp() - LEEWAY_SECONDS - now.timestamp());
        if seconds <= 0 {
            return Err(crate::Error::Disabled);
        }
    }
    let issued_at = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    let iat = issued_at.timestamp();
    let mut projects = BTreeMap::new();
    for entry in access {
        if let Some(project) = entry.project {
            projects.insert(project_of(&entry.name), project);
        }
    }
    let (kind, id, epoch, name) = match principal {
        Principal::Anonymous => ("anonymous", None, 0, ""),
        Principal::User(user) => ("user", Some(user.id.0), user.epoch, user.name.as_str()),
        Principal::Robot(robot) => ("robot", Some(robot.id.0), robot.epoch, robot.name.as_str()),
    };
    let mut claims = json!({
        "iss": config.token_issuer,
        "sub": name,
        "aud": config.token_service,
        "exp": iat + seconds,
        "nbf": iat,
        "iat": iat,
        "jti": Uuid::new_v4().simple().to_string(),
        "access": access
            .iter()
            .map(|entry| json!({"type": entry.kind, "name": entry.name, "actions": entry.actions}))
            .collect::<Vec<_>>(),
        "hythe": {"kind": kind, "id": id, "epoch": epoch, "projects": projects},
    });
    if let Some(limits) = principal.limits() {
        claims["hythe"]["access_token"] = json!([limits.token, limits.epoch]);
    }
    let header = json!({"alg": key.algorithm.as_str(), "typ": "JWT", "kid": key.kid});
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = key.sign(message.as_bytes()).ok_or(crate::Error::NoSigningKey)?;
    let token = format!("{message}.{signature}");
    if token.len() > ISSUED_BYTES_MAX {
        return Err(crate::Error::Invalid("the token would be too long: ask for fewer scopes"));
    }
    Ok(Issued { token, expires_in: seconds.max(60), issued_at })
}

/// Reads a token: `Invalid`, or its contents and whether its time is over. Knows nothing about epochs.
pub(crate) fn decode(
    token: &str,
    ring: &Ring,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<(Verified, bool), Error> {
    read(token, ring, config, now.timestamp()).ok_or(Error::Invalid)
}

fn read(token: &str, ring: &Ring, config: &Config, now: i64) -> Option<(Verified, bool)> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    if claims.contains('.') {
        return None;
    }
    let key = key_of(header, ring)?;
    if !key.verifies(message.as_bytes(), signature) {
        return None;
    }
    let claims = strict_json::parse(&URL_SAFE_NO_PAD.decode(claims).ok()?)?;
    contents(&claims, config, now)
}

/// The `kid` of a token that was decoded before.
pub(crate) fn kid_of(token: &str) -> Option<String> {
    let (header, _) = token.split_once('.')?;
    let header = strict_json::parse(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
    header.get("kid")?.as_str().map(str::to_owned)
}

/// The key the header names, when the header says nothing that could change how the token is checked.
fn key_of<'r>(header: &str, ring: &'r Ring) -> Option<&'r Key> {
    let header = strict_json::parse(&URL_SAFE_NO_PAD.decode(header).ok()?)?;
    let header = header.as_object()?;
    if header.len() != 3 || header.get("typ")?.as_str()? != "JWT" {
        return None;
    }
    let key = ring.find(header.get("kid")?.as_str()?)?;
    (header.get("alg")?.as_str()? == key.algorithm.as_str()).then_some(key)
}

fn contents(claims: &Value, config: &Config, now: i64) -> Option<(Verified, bool)> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64).filter(|value| *value >= 0);
    if text("iss")? != config.token_issuer || text("aud")? != config.token_service {
        return None;
    }
    if text("jti")?.is_empty() {
        return None;
    }
    let (exp, nbf, iat) = (seconds("exp")?, seconds("nbf")?, seconds("iat")?);
    let latest = now.checked_add(LEEWAY_SECONDS)?;
    if nbf > latest || iat > latest || exp < iat {
        return None;
    }
    // The feed knows epochs only for as long as tokens live now; one made when they lived longer ends earlier.
    let exp = exp.min(iat.checked_add(config.token_seconds())?);

    let own = claims.get("hythe")?;
    let (principal_kind, id) = match own.get("kind")?.as_str()? {
        "anonymous" => (PrincipalKind::Anonymous, 0),
        "user" => (PrincipalKind::User, own.get("id")?.as_i64()?),
        "robot" => (PrincipalKind::Robot, own.get("id")?.as_i64()?),
        _ => return None,
    };
    let projects = own.get("projects")?.as_object()?;
    let verified = Verified {
        principal_kind,
        id,
        name: text("sub")?.to_owned(),
        epoch: own.get("epoch")?.as_i64()?,
        access_token: match own.get("access_token") {
            Some(pair) => Some((pair.get(0)?.as_i64()?, pair.get(1)?.as_i64()?)),
            None => None,
        },
        access: claims
            .get("access")?
            .as_array()?
            .iter()
            .map(|entry| access_of(entry, projects))
            .collect::<Option<_>>()?,
        issued_at: DateTime::from_timestamp(iat, 0)?,
        expires_at: DateTime::from_timestamp(exp, 0)?,
    };
    let over = exp.checked_add(LEEWAY_SECONDS)? <= now;
    Some((verified, over))
}

fn access_of(entry: &Value, projects: &serde_json::Map<String, Value>) -> Option<Access> {
    let kind = entry.get("type")?.as_str()?.to_owned();
    let name = entry.get("name")?.as_str()?.to_owned();
    let actions: Vec<String> = entry
        .get("actions")?
        .as_array()?
        .iter()
        .map(|action| action.as_str().map(str::to_owned))
        .collect::<Option<_>>()?;
    let project = match projects.get(project_of(&name)) {
        Some(pair) if kind == "repository" && !actions.is_empty() => {
            Some((pair.get(0)?.as_i64()?, pair.get(1)?.as_i64()?))
        }
        _ => None,
    };
    Some(Access { kind, name, actions, project })
}

/// Grants of one project share one entry in the token, which keeps a token with many scopes small.
fn project_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}
