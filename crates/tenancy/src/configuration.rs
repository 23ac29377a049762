//! The run-time configuration as the API reads and writes it: one table of keys, each with its default and rule.
//!
//! A key of a feature that is not there yet is kept and returned when that promises nothing. One that would switch the
//! feature on is refused: a setting that is shown and not enforced is worse than none. Secrets are written and never
//! read; there is no feature yet that needs one, so none is accepted.
//!
//! Invariants:
//! * A change is all or nothing, and one entry of the audit trail names the keys that changed, never their values.
//! * A value that does not fit its key is never stored.

use std::collections::BTreeMap;

use audit::{Entry, Object, Outcome};
use identity::Caller;
use serde_json::{Map, Value};

use crate::quotas::checked_limit;
use crate::roles::Action;
use crate::settings::PULLS;
use crate::{Error, Tenancy};

const TEXT_BYTES_MAX: usize = 4096;
const DAYS_MAX: i64 = 3650;

/// The rule of a key; the default is beside it.
#[derive(Clone, Copy)]
enum Rule {
    Flag(bool),
    Text(&'static str),
    /// Above zero, at most ten digits.
    Positive(i64),
    Among(i64, &'static [i64]),
    /// From zero to ten years.
    Days(i64),
    Choice(&'static str, &'static [&'static str]),
    /// Bytes, -1 for no limit.
    Limit,
    /// Kinds of acts that are not recorded.
    Unrecorded,
    /// Can be written and never read.
    Secret,
}

/// Whether a key can have another value than its default.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Free,
    /// Another value would switch on what is not there yet.
    Later,
    /// Comes from the start-up configuration.
    Fixed,
}

use Change::{Fixed, Free, Later};
use Rule::{Among, Choice, Days, Flag, Limit, Positive, Secret, Text, Unrecorded};

const SCOPES: &[i64] = &[0, 1, 2];

/// Every key there is.
const KEYS: &[(&str, Rule, Change)] = &[
    ("audit_log_forward_endpoint", Text(""), Later),
    ("auth_mode", Choice("db_auth", &["db_auth", "ldap_auth", "oidc_auth", "http_auth", "uaa_auth"]), Later),
    ("banner_message", Text(""), Free),
    ("disabled_audit_log_event_types", Unrecorded, Free),
    ("http_authproxy_admin_groups", Text(""), Free),
    ("http_authproxy_admin_usernames", Text(""), Free),
    ("http_authproxy_endpoint", Text(""), Free),
    ("http_authproxy_server_certificate", Text(""), Free),
    ("http_authproxy_skip_search", Flag(false), Free),
    ("http_authproxy_tokenreview_endpoint", Text(""), Free),
    ("http_authproxy_verify_cert", Flag(true), Free),
    ("ldap_base_dn", Text(""), Free),
    ("ldap_filter", Text(""), Free),
    ("ldap_group_admin_dn", Text(""), Free),
    ("ldap_group_attach_parallel", Flag(false), Free),
    ("ldap_group_attribute_name", Text(""), Free),
    ("ldap_group_base_dn", Text(""), Free),
    ("ldap_group_membership_attribute", Text("memberof"), Free),
    ("ldap_group_search_filter", Text(""), Free),
    ("ldap_group_search_scope", Among(2, SCOPES), Free),
    ("ldap_scope", Among(2, SCOPES), Free),
    ("ldap_search_dn", Text(""), Free),
    ("ldap_search_password", Secret, Later),
    ("ldap_timeout", Positive(5), Free),
    ("ldap_uid", Text("cn"), Free),
    ("ldap_url", Text(""), Free),
    ("ldap_verify_cert", Flag(true), Free),
    ("notification_enable", Flag(true), Free),
    ("oidc_admin_group", Text(""), Free),
    ("oidc_auto_onboard", Flag(false), Free),
    ("oidc_client_id", Text(""), Free),
    ("oidc_client_secret", Secret, Later),
    ("oidc_endpoint", Text(""), Free),
    ("oidc_extra_redirect_parms", Text("{}"), Free),
    ("oidc_group_filter", Text(""), Free),
    ("oidc_groups_claim", Text(""), Free),
    ("oidc_logout", Flag(false), Free),
    ("oidc_name", Text(""), Free),
    ("oidc_scope", Text(""), Free),
    ("oidc_user_claim", Text(""), Free),
    ("oidc_verify_cert", Flag(true), Free),
    ("primary_auth_mode", Flag(false), Later),
    ("project_creation_restriction", Choice("everyone", &["everyone", "adminonly"]), Free),
    ("project_request_enabled", Flag(false), Free),
    ("quota_per_project_enable", Flag(true), Free),
    ("read_only", Flag(false), Free),
    ("restore_days", Days(14), Free),
    (ROBOT_PREFIX, Text("robot$"), Free),
    ("robot_token_duration", Positive(30), Free),
    ("scanner_skip_update_pulltime", Flag(false), Later),
    ("self_registration", Flag(false), Later),
    ("session_timeout", Positive(60), Free),
    ("skip_audit_log_database", Flag(false), Later),
    ("storage_per_project", Limit, Free),
    ("token_expiration", Positive(30), Fixed),
    ("uaa_client_id", Text(""), Free),
    ("uaa_client_secret", Secret, Later),
    ("uaa_endpoint", Text(""), Free),
    ("uaa_verify_cert", Flag(false), Free),
];

/// A key as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    pub value: Value,
    /// False when it comes from the start-up configuration.
    pub editable: bool,
    /// What it is when nobody says anything.
    pub default: Value,
    /// Whether somebody set it at run time.
    pub stored: bool,
}

impl Rule {
    fn default(self) -> Value {
        match self {
            Flag(value) => value.into(),
            Text(value) | Choice(value, _) => value.into(),
            Positive(value) | Among(value, _) | Days(value) => value.into(),
            Limit => (-1).into(),
            Unrecorded | Secret => "".into(),
        }
    }

    /// Refuses what no configuration may say.
    fn check(self, key: &str, value: &Value) -> Result<(), Error> {
        let invalid = |what: &str| Err(Error::Invalid(format!("{key} takes {what}")));
        match (self, value) {
            (Flag(_), Value::Bool(_)) => Ok(()),
            (Flag(_), _) => invalid("true or false"),
            (Text(_) | Secret, Value::String(text))
                if text.len() <= TEXT_BYTES_MAX && !text.contains('\0') =>
            {
                Ok(())
            }
            (Text(_) | Secret, _) => invalid(&format!("a text of at most {TEXT_BYTES_MAX} bytes")),
            // Acts that change something are recorded with the change, or the change is not made.
            (Unrecorded, Value::String(text)) if ["", PULLS].contains(&text.as_str()) => Ok(()),
            (Unrecorded, Value::String(_)) => {
                Err(Error::NotAvailable(format!("{key} can only name {PULLS}: every other act is recorded")))
            }
            (Unrecorded, _) => invalid("a text"),
            (Choice(_, choices), Value::String(text)) if choices.contains(&text.as_str()) => Ok(()),
            (Choice(_, choices), _) => invalid(&format!("one of {}", choices.join(", "))),
            (Positive(_), value) => match value.as_i64() {
                Some(1..=9_999_999_999) => Ok(()),
                _ => invalid("a whole number above zero with at most ten digits"),
            },
            (Among(_, among), value) => match value.as_i64() {
                Some(number) if among.contains(&number) => Ok(()),
                _ => invalid(&format!("one of {among:?}")),
            },
            (Days(_), value) => match value.as_i64() {
                Some(0..=DAYS_MAX) => Ok(()),
                _ => invalid(&format!("a whole number of days from 0 to {DAYS_MAX}")),
            },
            (Limit, value) => match value.as_i64() {
                Some(bytes) => checked_limit(bytes).map(|_| ()),
                None => invalid("a number of bytes, or -1 for no limit"),
            },
        }
    }
}

/// The one key that lives in `identity`, which has to know it when somebody logs in.
const ROBOT_PREFIX: &str = "robot_name_prefix";

impl Tenancy {
    /// The whole configuration; secrets are left out.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals.
    pub async fn configuration(&self, caller: &Caller) -> Result<BTreeMap<&'static str, Configured>, Error> {
        self.require_configuration(caller, Action::Read, "configuration_read").await?;
        self.configured().await
    }

    /// Changes keys, all or none. Unknown keys are passed over, and so is a key that has the value already.
    ///
    /// # Errors
    /// `Unauthenticated` and `Hidden` as refusals, `Invalid`, `NotAvailable`, `SettingFixed`.
    pub async fn configuration_update(
        &self,
        caller: &Caller,
        changes: &Map<String, Value>,
    ) -> Result<(), Error> {
        self.require_configuration(caller, Action::Update, "configuration_update").await?;
        let now = self.configured().await?;
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (key, rule, change) in KEYS {
            let Some(value) = changes.get(*key).filter(|value| !value.is_null()) else { continue };
            rule.check(key, value)?;
            let held = now.get(key);
            // A secret is not among what is read: none is held.
            if *value == held.map_or_else(|| rule.default(), |held| held.value.clone()) {
                continue;
            }
            if *change == Fixed || held.is_some_and(|held| !held.editable) {
                return Err(Error::SettingFixed(key));
            }
            if *change == Later {
                return Err(self.not_yet(key).await?);
            }
            names.push(*key);
            values.push(value.clone());
        }
        if names.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = names.iter().map(|key| (*key).to_owned()).collect();
        let mut tx = self.database.begin().await?;
        sqlx::query!(
            "insert into tenancy.settings (key, value)
             select * from unnest($1::text[], $2::jsonb[]) order by 1
             on conflict (key) do update set value = excluded.value, updated_at = now()",
            &keys,
            &values
        )
        .execute(&mut *tx)
        .await?;
        let prefix = names
            .iter()
            .zip(&values)
            .find_map(|(name, value)| (*name == ROBOT_PREFIX).then(|| value.as_str().unwrap_or_default()));
        if let Some(prefix) = prefix {
            self.identity.robot_prefix_set(&mut tx, prefix).await?;
        }
        let entry = Entry {
            actor: caller.actor(),
            action: "configuration_update",
            object: Object { kind: "configuration", id: String::new(), name: "" },
            project: None,
            outcome: Outcome::Done,
            origin: &caller.origin,
            changed: &names,
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        self.settings_forget();
        if prefix.is_some() {
            self.identity.robot_prefix_follow().await?;
        }
        Ok(())
    }

    /// Why a key cannot have another value than its default.
    async fn not_yet(&self, key: &str) -> Result<Error, Error> {
        match key {
            "skip_audit_log_database" => {
                let text = "skip_audit_log_database needs audit_log_forward_endpoint: without it nothing would be kept";
                return Ok(Error::Invalid(text.to_owned()));
            }
            "auth_mode" if self.has_more_accounts().await? => {
                let text =
                    "auth_mode cannot be changed while there are accounts beside the first administrator";
                return Ok(Error::Invalid(text.to_owned()));
            }
            _ => {}
        }
        Ok(Error::NotAvailable(format!("{key} is not available yet: leave it as it is")))
    }

    async fn has_more_accounts(&self) -> Result<bool, Error> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select 1 from identity.users where id <> 1 and deleted_at is null) as "more!""#
        )
        .fetch_one(self.database.pool())
        .await?)
    }

    async fn require_configuration(
        &self,
        caller: &Caller,
        action: Action,
        act: &'static str,
    ) -> Result<(), Error> {
        let object = Object { kind: "configuration", id: String::new(), name: "" };
        self.require_on_system(caller, "configuration", action, act, object).await
    }

    async fn configured(&self) -> Result<BTreeMap<&'static str, Configured>, Error> {
        let rows =
            sqlx::query!("select key, value from tenancy.settings").fetch_all(self.database.pool()).await?;
        let mut stored: BTreeMap<String, Value> = rows.into_iter().map(|row| (row.key, row.value)).collect();
        let readable = KEYS.iter().filter(|(_, rule, _)| !matches!(rule, Secret));
        let mut all: BTreeMap<_, _> = readable
            .map(|(key, rule, change)| {
                let fits = |value: &Value| rule.check(key, value).is_ok();
                let value = stored.remove(*key).filter(fits);
                let (stored, default) = (value.is_some(), rule.default());
                let value = value.unwrap_or_else(|| default.clone());
                (*key, Configured { value, editable: *change != Fixed, default, stored })
            })
            .collect();
        let minutes = i64::from(self.identity.token_minutes()).into();
        let fix = |held: &mut Configured, value| {
            *held = Configured { value, editable: false, stored: false, default: held.default.clone() };
        };
        all.entry("token_expiration").and_modify(|held| fix(held, minutes));
        if self.config.read_only {
            all.entry("read_only").and_modify(|held| fix(held, true.into()));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_defaults_fit() {
        assert!(KEYS.is_sorted_by_key(|(key, ..)| key));
        for (key, rule, _) in KEYS {
            assert!(rule.check(key, &rule.default()).is_ok(), "{key}");
        }
    }

    #[test]
    fn values() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (key, value, good) in [
            ("read_only", json!(true), true),
            ("read_only", json!("true"), false),
            ("read_only", json!(1), false),
            ("storage_per_project", json!(-1), true),
            ("storage_per_project", json!(0), false),
            ("storage_per_project", json!(1.5), false),
            ("token_expiration", json!(0), false),
            ("token_expiration", json!(10_000_000_000_i64), false),
            ("session_timeout", json!(9_999_999_999_i64), true),
            ("robot_token_duration", json!(-1), false),
            ("restore_days", json!(0), true),
            ("restore_days", json!(3650), true),
            ("restore_days", json!(3651), false),
            ("restore_days", json!(-1), false),
            ("restore_days", json!(1.5), false),
            ("ldap_scope", json!(3), false),
            ("auth_mode", json!("password"), false),
            ("project_creation_restriction", json!("adminonly"), true),
            ("banner_message", json!("a\0b"), false),
            ("banner_message", json!(long), false),
            ("banner_message", json!({}), false),
            ("disabled_audit_log_event_types", json!("pull_artifact"), true),
            ("disabled_audit_log_event_types", json!("delete_project"), false),
            ("disabled_audit_log_event_types", json!(["pull_artifact"]), false),
        ] {
            let rule = KEYS.iter().find(|(known, ..)| *known == key).map(|(_, rule, _)| *rule);
            assert_eq!(rule.map(|rule| rule.check(key, &value).is_ok()), Some(good), "{key}={value}");
        }
    }
}
