//! What a user name and a profile may look like.
//!
//! Pure rules; whether something is taken is asked of the database elsewhere.

use crate::error::Error;
use crate::users::Profile;

/// Characters that Harbor keeps out of names.
const FORBIDDEN: &[char] = &[',', '"', '~', '#', '%', '$'];

pub(crate) fn check_username(name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    // The colon ends the name in Basic credentials: whoever has one could never log in.
    let bad = |c: char| FORBIDDEN.contains(&c) || c == ':' || c.is_whitespace() || c.is_control();
    if !(1..=255).contains(&length) || name.contains(bad) || name.to_lowercase().starts_with("robot+") {
        return Err(Error::Invalid(
            "the user name must have 1 to 255 characters without spaces and , \" ~ # % $ : and not start with robot+",
        ));
    }
    Ok(())
}

pub(crate) fn check_profile(profile: &Profile) -> Result<(), Error> {
    let bad = |c: char| FORBIDDEN.contains(&c) || c.is_control();
    // An account made on the command line may go without; the REST API asks for both.
    if !profile.email.is_empty() && !is_address(&profile.email) {
        return Err(Error::Invalid("the e-mail address is not valid"));
    }
    if profile.realname.chars().count() > 255 || profile.realname.contains(bad) {
        return Err(Error::Invalid("the real name must have at most 255 characters without , \" ~ # % $"));
    }
    if profile.comment.chars().count() > 30 || profile.comment.contains(char::is_control) {
        return Err(Error::Invalid("the comment must have at most 30 characters"));
    }
    Ok(())
}

/// Something before one `@`, and a host name after it.
fn is_address(text: &str) -> bool {
    let Some((local, host)) = text.split_once('@') else { return false };
    text.len() <= 255
        && !local.is_empty()
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c))
        && !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        let long = "n".repeat(255);
        for good in ["a", "alice", "al.ice-1_x", "älice", "a@example.com", "robot", long.as_str()] {
            assert!(check_username(good).is_ok(), "{good}");
        }
        let longer = "n".repeat(256);
        for bad in [
            "",
            "a,b",
            "a\"b",
            "a~b",
            "a#b",
            "a%b",
            "robot$x",
            "a b",
            "a\tb",
            "a\0b",
            "a:b",
            "robot+x",
            longer.as_str(),
        ] {
            assert!(check_username(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn profiles() {
        let profile = |email: &str, realname: &str, comment: &str| Profile {
            email: email.to_owned(),
            realname: realname.to_owned(),
            comment: comment.to_owned(),
        };
        let cases = [
            (profile("a@example.com", "Alice Liddell", ""), true),
            (profile("a.b+c@x", "A", &"c".repeat(30)), true),
            (profile("", "", ""), true),
            (profile("a", "A", ""), false),
            (profile("@example.com", "A", ""), false),
            (profile("a@", "A", ""), false),
            (profile("a@b..c", "A", ""), false),
            (profile("a@-b.c", "A", ""), false),
            (profile("a b@example.com", "A", ""), false),
            (profile("a@b@example.com", "A", ""), false),
            (profile("a@example.com", "A#", ""), false),
            (profile("a@example.com", "A", &"c".repeat(31)), false),
        ];
        for (profile, accepted) in cases {
            assert_eq!(check_profile(&profile).is_ok(), accepted, "{profile:?}");
        }
    }
}
