//! Accounts of people as the REST API manages them: who may, and what they may see.
//!
//! The accounts are rows of `identity`, which also keeps their rules. Rights on all of them belong to system
//! administrators and to robots that were given them; everybody has rights on their own account.
//!
//! Invariant: nothing is looked up before the decision, so a refusal is the same for accounts that exist and
//! for those that do not.

use std::marker::PhantomData;

use audit::Object;
use identity::{Account, Caller, NewUser, Profile, Secret, UserFilter, UserId};

use crate::access_tokens::leaves_system;
use crate::list::{Page, Query};
use crate::roles::{self, Action, Resource};
use crate::{Error, Role, Tenancy};

/// Something that can be permitted on the installation as a whole; implemented by the marker types of this module.
pub trait SystemAction {
    const RESOURCE: &'static str;
    const ACTION: Action;
    /// The name of the act in the audit trail.
    const NAME: &'static str;
    /// The kind of object in the audit trail.
    const OBJECT: &'static str;
}

macro_rules! actions {
    ($($name:ident = $resource:literal $action:ident $text:literal $object:literal),* $(,)?) => {$(
        #[doc = concat!("`", $text, "` on the installation.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl SystemAction for $name {
            const RESOURCE: &'static str = $resource;
            const ACTION: Action = Action::$action;
            const NAME: &'static str = $text;
            const OBJECT: &'static str = $object;
        }
    )*};
}

actions!(
    ListUsers = "user" List "user_list" "user",
    CreateUser = "user" Create "user_create" "user",
    ReadUser = "user" Read "user_read" "user",
    UpdateUser = "user" Update "user_update" "user",
    DeleteUser = "user" Delete "user_delete" "user",
    ListGroups = "user-group" List "user_group_list" "user_group",
    CreateGroup = "user-group" Create "user_group_create" "user_group",
    ReadGroup = "user-group" Read "user_group_read" "user_group",
    UpdateGroup = "user-group" Update "user_group_update" "user_group",
    DeleteGroup = "user-group" Delete "user_group_delete" "user_group",
    ReadInstallationNaming = "configuration" Read "naming_policy_read" "naming_policy",
    UpdateInstallationNaming = "configuration" Update "naming_policy_update" "naming_policy",
    ListCollections = "garbage-collection" List "gc_list" "gc",
    ReadCollection = "garbage-collection" Read "gc_read" "gc",
    CreateCollection = "garbage-collection" Create "gc_start" "gc",
    UpdateCollections = "garbage-collection" Update "gc_schedule_update" "gc",
    StopCollection = "garbage-collection" Stop "gc_stop" "gc",
);

/// Proof that `caller` may do `A` with whatever on the installation it is about.
#[derive(Clone)]
pub struct SystemPermit<A> {
    pub(crate) caller: Caller,
    _action: PhantomData<A>,
}

impl<A> SystemPermit<A> {
    /// Who may.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// Proof that `caller` may do `A` with this account, which may not exist.
pub struct UserPermit<A> {
    caller: Caller,
    id: UserId,
    _action: PhantomData<A>,
}

impl Tenancy {
    /// Decides whether the caller may do `A` on the installation: a system administrator, or a robot that it was
    /// granted to. `id` is for the trail.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`.
    pub async fn system_permit<A: SystemAction>(
        &self,
        caller: &Caller,
        id: Option<i64>,
    ) -> Result<SystemPermit<A>, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        if !self.system_allows(&caller.principal, A::RESOURCE, A::ACTION).await? {
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            self.record_denied(caller, A::NAME, Object { kind: A::OBJECT, id, name: "" }, None).await?;
            return Err(Error::Hidden);
        }
        Ok(SystemPermit { caller: caller.clone(), _action: PhantomData })
    }

    /// Decides whether the caller may do `A` with an account: with one's own, or with anybody's as
    /// [`Tenancy::system_permit`] says.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`.
    pub async fn user_permit<A: SystemAction>(
        &self,
        caller: &Caller,
        id: UserId,
    ) -> Result<UserPermit<A>, Error> {
        let own = caller.user().is_some_and(|user| user.id == id)
            && leaves_system(caller.principal.limits(), A::ACTION);
        if !own {
            self.system_permit::<A>(caller, Some(id.0)).await?;
        }
        Ok(UserPermit { caller: caller.clone(), id, _action: PhantomData })
    }

    /// A page of all accounts but the first.
    ///
    /// # Errors
    /// Those of [`identity::Identity::user_page`].
    pub async fn user_list(
        &self,
        _permit: &SystemPermit<ListUsers>,
        filter: &UserFilter<'_>,
        query: &Query,
    ) -> Result<Page<Account>, Error> {
        Ok(self.identity.user_page(filter, query).await?)
    }

    /// Makes an account. Nobody becomes a system administrator by it.
    ///
    /// # Errors
    /// Those of [`identity::Identity::user_insert`].
    pub async fn user_create(
        &self,
        permit: &SystemPermit<CreateUser>,
        new: NewUser,
    ) -> Result<UserId, Error> {
        Ok(self.identity.user_insert(&permit.caller, new).await?)
    }

    /// One account.
    ///
    /// # Errors
    /// `UserUnknown`.
    pub async fn user_get(&self, permit: &UserPermit<ReadUser>) -> Result<Account, Error> {
        let unknown = || Error::UserUnknown(permit.id.to_string());
        self.identity.user_by_id(permit.id).await?.ok_or_else(unknown)
    }

    /// Changes the profile of an account.
    ///
    /// # Errors
    /// Those of [`identity::Identity::user_change`].
    pub async fn user_update(&self, permit: &UserPermit<UpdateUser>, profile: Profile) -> Result<(), Error> {
        Ok(self.identity.user_change(&permit.caller, permit.id, profile).await?)
    }

    /// Sets a password; one's own with the current one as proof. Not for access tokens.
    ///
    /// # Errors
    /// Those of [`identity::Identity::password_change`].
    pub async fn user_password_set(
        &self,
        permit: &UserPermit<UpdateUser>,
        old: Option<Secret>,
        new: Secret,
    ) -> Result<(), Error> {
        self.refuse_access_token::<UpdateUser>(&permit.caller, permit.id).await?;
        Ok(self.identity.password_change(&permit.caller, permit.id, old, new).await?)
    }

    /// Deletes an account for good; its name becomes free.
    ///
    /// # Errors
    /// Those of [`identity::Identity::user_remove`].
    pub async fn user_delete(&self, permit: &SystemPermit<DeleteUser>, id: UserId) -> Result<(), Error> {
        Ok(self.identity.user_remove(&permit.caller, id).await?)
    }

    /// Makes an account a system administrator, or takes that away. Only system administrators give what they are.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`; those of [`identity::Identity::sysadmin_set`].
    pub async fn user_sysadmin_set(&self, caller: &Caller, id: UserId, sysadmin: bool) -> Result<(), Error> {
        self.require_sysadmin::<UpdateUser>(caller, id).await?;
        self.refuse_access_token::<UpdateUser>(caller, id).await?;
        Ok(self.identity.sysadmin_set(caller, id, sysadmin).await?)
    }

    /// Decides what no robot may, whatever it was granted.
    ///
    /// # Errors
    /// `Unauthenticated`, `Hidden`.
    pub async fn require_sysadmin<A: SystemAction>(&self, caller: &Caller, id: UserId) -> Result<(), Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        if caller.is_sysadmin() {
            return Ok(());
        }
        let object = Object { kind: A::OBJECT, id: id.to_string(), name: "" };
        self.record_denied(caller, A::NAME, object, None).await?;
        Err(Error::Hidden)
    }

    /// Accounts whose name contains `part`, for choosing members. Everybody for those who may add members
    /// somewhere, and for system administrators; only themselves for anybody else.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn user_search(
        &self,
        caller: &Caller,
        part: &str,
        page: i64,
        page_size: i64,
    ) -> Result<Page<Account>, Error> {
        if caller.is_anonymous() {
            return Err(Error::Unauthenticated);
        }
        let own = caller.user().map_or(UserId(0), |user| user.id);
        // A token for some projects only finds nobody else, whatever its owner may.
        let only = if self.may_add_members(caller).await? { None } else { Some(own) };
        Ok(self.identity.user_search(part, only, page, page_size).await?)
    }

    /// Whether the caller holds the right to add members in some project.
    async fn may_add_members(&self, caller: &Caller) -> Result<bool, Error> {
        if !leaves_system(caller.principal.limits(), Action::List) {
            return Ok(false);
        }
        if caller.is_sysadmin() {
            return Ok(true);
        }
        let adding = |role: &Role| roles::permits(*role, Resource::Member, Action::Create);
        let roles: Vec<i16> = Role::ALL.into_iter().filter(adding).map(Role::id).collect();
        Ok(sqlx::query_scalar!(
            r#"select exists (
                 select 1 from tenancy.member_roles m join tenancy.projects p on p.id = m.project_id
                 where m.user_id = $1 and m.role = any($2) and p.deleted_at is null
               ) or exists (
                 select 1 from tenancy.robot_grants g left join tenancy.projects p on p.id = g.project_id
                 where g.robot_id = $3 and g.kind = 'project' and g.resource = 'member' and g.action = 'create'
                   and p.deleted_at is null
               ) as "held!""#,
            caller.user().map(|user| user.id.0),
            &roles,
            caller.principal.robot().map(|robot| robot.0)
        )
        .fetch_one(self.database.pool())
        .await?)
    }
}
