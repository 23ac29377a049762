//! Groups of people, as directories and identity providers know them. Who is in one is told by its source at login;
//! what a group may do in a project is `tenancy`'s business, which also decides who manages groups.

use audit::{Entry, Object, Outcome};
use database::Tx;
use database::list::{self, Columns, Page, Query, Select};

use crate::Identity;
use crate::error::Error;
use crate::principal::Caller;

/// A group of a directory, known by its distinguished name.
pub const LDAP_GROUP: i16 = 1;

/// A group as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Group {
    pub id: i64,
    /// 1 LDAP, 2 HTTP, 3 OIDC.
    pub kind: i16,
    pub name: String,
    /// Of an LDAP group, in lower case.
    pub dn: String,
}

/// A group to be made, or to be found by what it is known by.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// As sent.
    pub kind: i64,
    pub name: String,
    /// Of an LDAP group.
    pub dn: String,
}

/// What one group is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupName {
    /// Its name among the groups of this kind, which is not LDAP.
    Plain(i16, String),
    /// The distinguished name of an LDAP group.
    Distinguished(String),
}

impl GroupName {
    /// Of a group that there is.
    pub fn new(kind: i16, name: &str, dn: &str) -> Self {
        if kind == LDAP_GROUP {
            Self::Distinguished(dn.to_owned())
        } else {
            Self::Plain(kind, name.to_owned())
        }
    }

    /// The kind, and the name or distinguished name.
    pub fn parts(&self) -> (i16, &str) {
        match self {
            Self::Plain(kind, name) => (*kind, name),
            Self::Distinguished(dn) => (LDAP_GROUP, dn),
        }
    }
}

/// What a list of groups is narrowed down to.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupFilter<'a> {
    /// Part of the name.
    pub name: Option<&'a str>,
    /// The distinguished name.
    pub dn: Option<&'a str>,
}

const COLUMNS: Columns = Columns::new(&[], "g.name", "g.id");

impl Identity {
    /// A page of the groups, by name.
    pub async fn group_page(
        &self,
        filter: &GroupFilter<'_>,
        page: i64,
        page_size: i64,
    ) -> Result<Page<Group>, Error> {
        let mut select = Select::new("g.id, g.kind, g.name, g.dn", "identity.groups g");
        if let Some(part) = filter.name {
            select = select.and_contains("g.name", part);
        }
        if let Some(dn) = filter.dn {
            select = select.and("g.dn = ", plain_dn(dn));
        }
        let query = Query { page, page_size, ..Query::default() };
        list::page(self.0.database.pool(), select, &COLUMNS, &query).await.map_err(|err| match err {
            list::Error::Database(err) => err.into(),
            other => Error::BadQuery(other),
        })
    }

    /// One group.
    ///
    /// # Errors
    /// `GroupUnknown`.
    pub async fn group_get(&self, id: i64) -> Result<Group, Error> {
        sqlx::query_as!(Group, "select id, kind, name, dn from identity.groups where id = $1", id)
            .fetch_optional(self.0.database.pool())
            .await?
            .ok_or(Error::GroupUnknown(id))
    }

    /// The group that is known by this.
    pub async fn group_find(&self, known: &GroupName) -> Result<Option<Group>, Error> {
        let (kind, name) = known.parts();
        Ok(sqlx::query_as!(
            Group,
            "select id, kind, name, dn from identity.groups
             where (kind = 1 and $1::smallint = 1 and dn = $2) or (kind <> 1 and kind = $1 and name = $2)",
            kind,
            name
        )
        .fetch_optional(self.0.database.pool())
        .await?)
    }

    /// Makes a group. `tenancy` has decided that the caller may.
    ///
    /// # Errors
    /// `Invalid`, `Taken`.
    pub async fn group_insert(&self, caller: &Caller, new: &NewGroup) -> Result<i64, Error> {
        let group = checked(new)?;
        let mut tx = self.0.database.begin().await?;
        let made = insert(&mut tx, caller, &group).await?.ok_or(Error::Taken("user group"))?;
        tx.commit().await?;
        Ok(made)
    }

    /// The group that is known by this, made where there is none, and kept until `tx` ends. Returns its id and name.
    ///
    /// # Errors
    /// `Invalid`.
    pub async fn group_ensure(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        new: &NewGroup,
    ) -> Result<(i64, String), Error> {
        let group = checked(new)?;
        // Twice at most: what another made meanwhile is there then.
        for _ in 0..2 {
            let found = sqlx::query!(
                "select id, name from identity.groups
                 where kind = $1 and case when $1 = 1 then dn = $3 else name = $2 end for key share",
                group.kind,
                group.name,
                group.dn
            )
            .fetch_optional(&mut **tx)
            .await?;
            if let Some(found) = found {
                return Ok((found.id, found.name));
            }
            if let Some(id) = insert(tx, caller, &group).await? {
                return Ok((id, group.name));
            }
        }
        Err(Error::Taken("user group"))
    }

    /// The name of a group, which is kept until `tx` ends.
    pub async fn group_keep(&self, tx: &mut Tx, id: i64) -> Result<Option<String>, Error> {
        Ok(sqlx::query_scalar!("select name from identity.groups where id = $1 for key share", id)
            .fetch_optional(&mut **tx)
            .await?)
    }

    /// Renames a group; what it is and by which distinguished name it is known stays. `tenancy` has decided that the
    /// caller may.
    ///
    /// # Errors
    /// `GroupUnknown`, `Invalid`, `Taken`.
    pub async fn group_rename(&self, caller: &Caller, id: i64, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let mut tx = self.0.database.begin().await?;
        let renamed =
            sqlx::query!("update identity.groups set name = $2, updated_at = now() where id = $1", id, name)
                .execute(&mut *tx)
                .await
                .map_err(taken)?;
        if renamed.rows_affected() == 0 {
            return Err(Error::GroupUnknown(id));
        }
        audit::append(&mut tx, &entry(caller, "user_group_update", id, name, &["group_name"])).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes a group and who was in it. The caller of this ends what it was given in projects, in the same `tx`.
    ///
    /// # Errors
    /// `GroupUnknown`.
    pub async fn group_remove(&self, tx: &mut Tx, caller: &Caller, id: i64) -> Result<(), Error> {
        let name = sqlx::query_scalar!("delete from identity.groups where id = $1 returning name", id)
            .fetch_optional(&mut **tx)
            .await?
            .ok_or(Error::GroupUnknown(id))?;
        Ok(audit::append(tx, &entry(caller, "user_group_delete", id, &name, &[])).await?)
    }
}

async fn insert(tx: &mut Tx, caller: &Caller, group: &Group) -> Result<Option<i64>, Error> {
    let id = sqlx::query_scalar!(
        "insert into identity.groups (kind, name, dn) values ($1, $2, $3) on conflict do nothing returning id",
        group.kind,
        group.name,
        group.dn
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(id) = id {
        audit::append(tx, &entry(caller, "user_group_create", id, &group.name, &[])).await?;
    }
    Ok(id)
}

/// Directories compare distinguished names without regard to case.
fn plain_dn(dn: &str) -> String {
    dn.trim().to_lowercase()
}

/// The group as it is stored; its id is not known yet.
fn checked(new: &NewGroup) -> Result<Group, Error> {
    let kind = i16::try_from(new.kind).ok().filter(|kind| (1..=3).contains(kind));
    let kind = kind.ok_or(Error::Invalid("group_type must be 1 (LDAP), 2 (HTTP) or 3 (OIDC)"))?;
    let dn = if kind == LDAP_GROUP { plain_dn(&new.dn) } else { String::new() };
    if kind == LDAP_GROUP {
        let named =
            dn.split_once('=').is_some_and(|(attribute, value)| !attribute.is_empty() && !value.is_empty());
        if !named || dn.chars().count() > 512 || dn.contains(char::is_control) {
            return Err(Error::Invalid(
                "an LDAP group needs ldap_group_dn, a distinguished name like cn=a,dc=b",
            ));
        }
    }
    let name = if new.name.is_empty() { dn.chars().take(255).collect() } else { new.name.clone() };
    check_name(&name)?;
    Ok(Group { id: 0, kind, name, dn })
}

fn check_name(name: &str) -> Result<(), Error> {
    if (1..=255).contains(&name.chars().count()) && !name.contains(char::is_control) {
        Ok(())
    } else {
        Err(Error::Invalid("group_name must have 1 to 255 characters"))
    }
}

fn entry<'a>(
    caller: &'a Caller,
    action: &'static str,
    id: i64,
    name: &'a str,
    changed: &'a [&'static str],
) -> Entry<'a> {
    Entry {
        actor: caller.actor(),
        action,
        object: Object { kind: "user_group", id: id.to_string(), name },
        project: None,
        outcome: Outcome::Done,
        origin: &caller.origin,
        changed,
    }
}

fn taken(err: sqlx::Error) -> Error {
    let err = database::Error::from(err);
    match err.constraint() {
        Some("groups_name_key" | "groups_dn_key") => Error::Taken("user group"),
        _ => err.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_group() {
        let group = |kind, name: &str, dn: &str| NewGroup { kind, name: name.to_owned(), dn: dn.to_owned() };
        for (new, expected) in [
            (group(1, "dev", " CN=Dev,DC=x "), Some(("dev", "cn=dev,dc=x"))),
            (group(1, "", "cn=dev,dc=x"), Some(("cn=dev,dc=x", "cn=dev,dc=x"))),
            (group(2, "dev", "cn=ignored"), Some(("dev", ""))),
            (group(3, "dev", ""), Some(("dev", ""))),
            (group(1, "dev", ""), None),
            (group(1, "dev", "dev"), None),
            (group(1, "dev", "=x"), None),
            (group(3, "", ""), None),
            (group(3, "a\nb", ""), None),
            (group(3, &"n".repeat(256), ""), None),
            (group(0, "dev", ""), None),
            (group(4, "dev", ""), None),
            (group(65_537, "dev", ""), None),
        ] {
            let got = checked(&new).ok().map(|group| (group.name, group.dn));
            assert_eq!(got, expected.map(|(name, dn)| (name.to_owned(), dn.to_owned())), "{new:?}");
        }
    }
}
