//! Who is asking: users, robots, principals, callers, and what was presented to prove it.
//!
//! A `Principal` exists only after `Identity::authenticate`, a verified token or an exchanged refresh token.
//! Nothing here decides what a principal may do in a project; that is `tenancy`.
//!
//! Invariant: presented secrets live in `sealed::Secret`, and `Presented` has no `Debug`, so no log can show them.

use std::sync::Arc;

use audit::{Actor, Origin};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sealed::Secret;
use serde::{Deserialize, Serialize};

use crate::epochs::Subject;
use crate::error::Error;

/// Number of a user, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub struct UserId(pub i64);

impl std::fmt::Display for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A person who proved to be themselves, as known at that moment (at most five seconds ago).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// User name as stored, not as typed.
    pub name: String,
    /// Whether the user is a system administrator. Decided now, never read from a token.
    pub sysadmin: bool,
    /// The user's epoch this value was read under; see [`crate::epochs`].
    pub epoch: i64,
    /// What is left of the user's rights when a personal access token was presented instead of the password.
    pub limits: Option<Arc<Limits>>,
}

/// Something a personal access token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenScope {
    Pull,
    Push,
    Delete,
    /// The REST API, to read and to change.
    Api,
    /// The REST API, to read.
    ApiRead,
}

impl TokenScope {
    /// Every scope there is.
    pub const ALL: [Self; 5] = [Self::Pull, Self::Push, Self::Delete, Self::Api, Self::ApiRead];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Api => "api",
            Self::ApiRead => "api:read",
        }
    }

    /// The scope with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// What a personal access token leaves of its owner's rights. They are never more than the owner's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of the token.
    pub token: i64,
    /// The token's epoch this value was read under.
    pub(crate) epoch: i64,
    scopes: Vec<TokenScope>,
    projects: Vec<i64>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl Limits {
    /// From a row. What is no scope (any more) opens nothing.
    pub(crate) fn new(
        token: i64,
        epoch: i64,
        scopes: &[String],
        projects: Vec<i64>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Self {
        let scopes = scopes.iter().filter_map(|text| TokenScope::parse(text)).collect();
        Self { token, epoch, scopes, projects, expires_at }
    }

    /// Of a token of which no more than its number is known: nothing, until [`crate::Identity::active`] has looked. A
    /// registry token carries its grants itself.
    pub fn unknown(token: i64, epoch: i64) -> Self {
        Self { token, epoch, scopes: Vec::new(), projects: Vec::new(), expires_at: None }
    }

    /// Whether the token has the scope.
    pub fn has(&self, scope: TokenScope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the REST API may be read.
    pub fn may_read(&self) -> bool {
        self.has(TokenScope::Api) || self.has(TokenScope::ApiRead)
    }

    /// The only projects it opens; none given means all of its owner's.
    pub fn projects(&self) -> Option<&[i64]> {
        if self.projects.is_empty() { None } else { Some(&self.projects) }
    }

    /// Whether it opens the project.
    pub fn includes(&self, project: i64) -> bool {
        self.projects().is_none_or(|projects| projects.contains(&project))
    }
}

/// Number of a robot, never reused. A number of its own: robot 7 and user 7 have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub struct RobotId(pub i64);

impl std::fmt::Display for RobotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The account of a program. Never a system administrator, whatever it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    pub id: RobotId,
    /// As it logs in, prefix included. For messages only: what a robot may do follows from its number.
    pub name: String,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// The robot's epoch this value was read under.
    pub epoch: i64,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular: no credentials were presented.
    Anonymous,
    /// A person.
    User(User),
    /// A program.
    Robot(Robot),
}

impl Principal {
    /// The person, if it is one.
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::User(user) => Some(user),
            Self::Anonymous | Self::Robot(_) => None,
        }
    }

    /// The number of the robot, if it is one.
    pub fn robot(&self) -> Option<RobotId> {
        match self {
            Self::Robot(robot) => Some(robot.id),
            Self::Anonymous | Self::User(_) => None,
        }
    }

    /// Kind and number of the account, as rows name it. Nobody has none.
    pub fn account(&self) -> Option<(&'static str, i64)> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(("user", user.id.0)),
            Self::Robot(robot) => Some(("robot", robot.id.0)),
        }
    }

    /// Whose epoch ends what this principal holds, and the epoch this value was read under.
    pub(crate) fn subject(&self) -> Option<(Subject, i64)> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some((Subject::User(user.id.0), user.epoch)),
            Self::Robot(robot) => Some((Subject::Robot(robot.id.0), robot.epoch)),
        }
    }

    /// Everything whose epoch ends what this principal holds, with the epoch this value was read under.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = (Subject, i64)> {
        let token = self.limits().map(|limits| (Subject::AccessToken(limits.token), limits.epoch));
        self.subject().into_iter().chain(token)
    }

    /// Whether the time of what was presented is over.
    pub(crate) fn is_over(&self, now: DateTime<Utc>) -> bool {
        let end = match self {
            Self::Anonymous => None,
            Self::User(user) => user.limits.as_ref().and_then(|limits| limits.expires_at),
            Self::Robot(robot) => robot.expires_at,
        };
        end.is_some_and(|end| end <= now)
    }

    /// What a personal access token leaves of the rights, when one was presented.
    pub fn limits(&self) -> Option<&Limits> {
        self.user().and_then(|user| user.limits.as_deref())
    }

    /// Whether the principal is a system administrator on the installation as a whole. A personal access token
    /// leaves that only where it opens the REST API and every project.
    pub fn is_sysadmin(&self) -> bool {
        self.user().is_some_and(|user| user.sysadmin)
            && self.limits().is_none_or(|limits| limits.may_read() && limits.projects().is_none())
    }

    /// Whether nobody signed in.
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }

    /// The principal as the audit trail names it.
    pub fn actor(&self) -> Actor<'_> {
        match self {
            Self::Anonymous => Actor { kind: "anonymous", id: None, name: "" },
            Self::User(user) => Actor { kind: "user", id: Some(user.id.0), name: &user.name },
            Self::Robot(robot) => Actor { kind: "robot", id: Some(robot.id.0), name: &robot.name },
        }
    }
}

/// A principal together with where the request came from: the first argument of every act.
#[derive(Clone)]
pub struct Caller {
    pub principal: Principal,
    pub origin: Origin,
}

impl Caller {
    /// Joins a principal and the origin of its request.
    pub fn new(principal: Principal, origin: Origin) -> Self {
        Self { principal, origin }
    }

    /// The caller as the audit trail names it.
    pub fn actor(&self) -> Actor<'_> {
        self.principal.actor()
    }

    /// Whether the caller is a system administrator.
    pub fn is_sysadmin(&self) -> bool {
        self.principal.is_sysadmin()
    }

    /// Whether nobody signed in.
    pub fn is_anonymous(&self) -> bool {
        self.principal.is_anonymous()
    }

    /// The person behind the call, if it is one.
    pub fn user(&self) -> Option<&User> {
        self.principal.user()
    }

    /// The caller when it is a system administrator; `Unauthenticated` for nobody, `Forbidden` for anybody else.
    pub fn require_sysadmin(&self) -> Result<&User, Error> {
        match &self.principal {
            Principal::Anonymous => Err(Error::Unauthenticated),
            Principal::User(user)
                if self.is_sysadmin()
                    && self.principal.limits().is_none_or(|limits| limits.has(TokenScope::Api)) =>
            {
                Ok(user)
            }
            Principal::User(_) | Principal::Robot(_) => Err(Error::Forbidden),
        }
    }
}

/// Credentials as they arrived, not yet checked.
pub enum Presented {
    /// No `Authorization` header.
    Nothing,
    /// User name and password.
    Basic { username: String, password: Secret },
    /// The text after `Bearer`.
    Bearer(String),
    /// A header was sent and could not be understood. Never the same as no header: it is refused.
    Malformed,
}

impl Presented {
    /// Reads the value of an `Authorization` header (RFC 7617, RFC 6750). The scheme ignores case; the user
    /// name ends at the first colon and the password is taken exactly as sent.
    pub fn from_header(value: Option<&str>) -> Self {
        let Some(value) = value else { return Self::Nothing };
        let Some((scheme, rest)) = value.trim().split_once(' ') else { return Self::Malformed };
        let rest = rest.trim();
        if rest.is_empty() {
            return Self::Malformed;
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(rest.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Malformed;
        }
        Self::basic(rest).unwrap_or(Self::Malformed)
    }

    /// User name and password of a form.
    pub fn password(username: impl Into<String>, password: String) -> Self {
        Self::Basic { username: username.into(), password: Secret::new(password.into_bytes()) }
    }

    fn basic(encoded: &str) -> Option<Self> {
        let decoded = Secret::new(STANDARD.decode(encoded).ok()?);
        let (username, password) = decoded.expose_str()?.split_once(':')?;
        Some(Self::Basic {
            username: username.to_owned(),
            password: Secret::new(password.as_bytes().to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Option<&str>) -> String {
        match Presented::from_header(value) {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Malformed => "malformed".to_owned(),
            Presented::Bearer(token) => format!("bearer {token}"),
            Presented::Basic { username, password } => {
                format!("basic {username} {}", password.expose_str().unwrap_or("?"))
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 4096, failure_persistence: None, ..Default::default()
        })]

        /// Whatever the header holds, it is read without a panic, and only an absent one is nothing.
        #[test]
        fn any_authorization_header(text in "(?i)(basic|bearer|digest)? ?[A-Za-z0-9+/=]{0,40}|\\PC{0,60}") {
            proptest::prop_assert!(!matches!(Presented::from_header(Some(&text)), Presented::Nothing));
        }

        /// The name ends at the first colon and the password is taken as sent.
        #[test]
        fn basic_credentials_are_taken_as_sent(name in "[^:\\x00]{0,20}", password in "\\PC{0,40}") {
            let header = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            match Presented::from_header(Some(&header)) {
                Presented::Basic { username, password: read } => {
                    proptest::prop_assert_eq!(username, name);
                    proptest::prop_assert_eq!(read.expose(), password.as_bytes());
                }
                _ => proptest::prop_assert!(false, "{}", header),
            }
        }
    }

    #[test]
    fn authorization_headers() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let cases = [
            (None, "nothing"),
            (Some(String::new()), "malformed"),
            (Some("Basic".to_owned()), "malformed"),
            (Some("Basic  ".to_owned()), "malformed"),
            (Some("Basic !!!".to_owned()), "malformed"),
            (Some(basic("nocolon")), "malformed"),
            (Some(format!("Basic {}", STANDARD.encode([0xff, b':', 0xfe]))), "malformed"),
            (Some("Digest abc".to_owned()), "malformed"),
            (Some(basic("alice:a:b ")), "basic alice a:b "),
            (Some(basic("alice:")), "basic alice "),
            (Some(basic("alice:ünï")), "basic alice ünï"),
            (Some(basic("a:b").replace("Basic", "bASIC ")), "basic a b"),
            (Some("bearer abc.def".to_owned()), "bearer abc.def"),
        ];
        for (header, expected) in cases {
            assert_eq!(shown(header.as_deref()), expected, "{header:?}");
        }
    }
}
