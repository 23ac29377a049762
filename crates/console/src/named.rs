//! Addresses of what has no name that could stand in a path: groups may be called anything, some have slashes in their
//! names, and those of a directory are told apart by their distinguished name alone. They stand in the query, under the
//! word for their kind.

use identity::GroupName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::MemberName;

use crate::view::View;

const USER: &str = "user";

/// Kinds of groups and their words.
const KINDS: [(i16, &str); 3] = [(identity::LDAP_GROUP, "ldap"), (2, "http"), (3, "oidc")];

/// The query that names a group.
pub(crate) fn group_query(kind: i16, name: &str, dn: &str) -> String {
    let known = GroupName::new(kind, name, dn);
    let (kind, name) = known.parts();
    let word = KINDS.iter().find(|(known, _)| *known == kind).map_or("oidc", |(_, word)| word);
    query(word, name)
}

/// The query that names an account.
pub(crate) fn user_query(name: &str) -> String {
    query(USER, name)
}

fn query(word: &str, name: &str) -> String {
    format!("{word}={}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// The group that the query of a request names.
pub(crate) fn group(view: &View) -> Option<GroupName> {
    KINDS.iter().find_map(|(kind, word)| {
        let name = view.query(word)?;
        Some(GroupName::new(*kind, &name, &name))
    })
}

/// The member that the query of a request names.
pub(crate) fn member(view: &View) -> Option<MemberName> {
    view.query(USER).map(MemberName::User).or_else(|| group(view).map(MemberName::Group))
}
