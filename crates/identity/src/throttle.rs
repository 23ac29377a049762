//! Throttling of failed logins, counted in PostgreSQL so that it holds across processes and restarts.
//!
//! A pair of account and address is blocked after a few failures, an address after many. An attempt is reserved
//! before its password is looked at and the reservation is one statement, so parallel guesses cannot outrun the
//! counter; attempts that never finish stay counted. Somebody else's failures elsewhere block nobody.
//!
//! Invariant: no attempt of a blocked pair or address is ever evaluated, remembered credentials included.

use std::net::IpAddr;

use database::Database;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::error::Error;
use crate::principal::{Principal, UserId};

/// A block never lasts longer, however often it was earned.
const BLOCK_SECONDS_MAX: i32 = 3600;

/// The row that counts a whole address has this account.
pub(crate) const WHOLE_ADDRESS: &str = "";

/// Who is guessed at, from where. One account whatever spelling of its name or e-mail address was typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) account: String,
    pub(crate) address: String,
}

impl Pair {
    pub(crate) fn new(known: Option<&Principal>, name: &str, address: &str) -> Self {
        let account = match known.and_then(Principal::account) {
            Some((kind, id)) => format!("{kind}:{id}"),
            // Hashed, so that what people type into the wrong field is not kept.
            None => {
                let name = Sha256::digest(name.to_lowercase().as_bytes());
                format!("name:{}", data_encoding::HEXLOWER.encode(&name[..16]))
            }
        };
        Self { account, address: canonical_address(address) }
    }
}

/// The account column of a known user.
pub(crate) fn account_of(id: UserId) -> String {
    format!("user:{id}")
}

/// One text per source: IPv4 in any notation alike, IPv6 by its /64, since one line has that many addresses.
pub(crate) fn canonical_address(address: &str) -> String {
    match address.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => address.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}

/// Reserves one attempt. `Throttled` when the pair or the address is blocked or has no attempt left.
pub(crate) async fn reserve(database: &Database, config: &Config, pair: &Pair) -> Result<(), Error> {
    let row = sqlx::query!(
        r#"with blocked as (
               select max(blocked_until) as until from identity.throttle
               where address = $2 and account in ('', $1) and blocked_until > now()
           ), reserved as (
               insert into identity.throttle as t (account, address, failures)
               select $1, $2, 1 from blocked where until is null
               on conflict (account, address) do update set
                   failures = case when t.window_start + make_interval(secs => $4) <= now() then 1
                                   else t.failures + 1 end,
                   window_start = case when t.window_start + make_interval(secs => $4) <= now() then now()
                                       else t.window_start end
               where (t.blocked_until is null or t.blocked_until <= now())
                 and (t.failures < $3 or t.window_start + make_interval(secs => $4) <= now())
               returning 1
           )
           select exists (select from reserved) as "reserved!",
                  extract(epoch from (select until from blocked) - now())::float8 as remaining"#,
        pair.account,
        pair.address,
        i32::try_from(config.login_failures).unwrap_or(i32::MAX),
        f64::from(config.login_window_seconds)
    )
    .fetch_one(database.pool())
    .await?;
    if row.reserved {
        return Ok(());
    }
    // Without a block the attempts left are being evaluated right now, or were given up: soon or at the end of
    // the window. The next attempt will tell.
    let retry_after_seconds = row.remaining.map_or(1, |seconds| seconds.ceil().max(1.0) as u64);
    Err(Error::Throttled { retry_after_seconds })
}

/// Counts a failure that was reserved, and blocks what has used its attempts up. Returns the blocks just made,
/// as accounts and seconds.
pub(crate) async fn fail(
    database: &Database,
    config: &Config,
    pair: &Pair,
) -> Result<Vec<(Pair, u64)>, Error> {
    let mut blocks = Vec::new();
    let pair_block = sqlx::query_scalar!(
        r#"update identity.throttle
           set blocked_until = now() + make_interval(secs => least($4::float8 * (2 ^ least(blocks, 20)), $5)),
               blocks = blocks + 1, failures = 0
           where account = $1 and address = $2 and failures >= $3
             and (blocked_until is null or blocked_until <= now())
           returning extract(epoch from blocked_until - now())::float8 as "seconds!""#,
        pair.account,
        pair.address,
        i32::try_from(config.login_failures).unwrap_or(i32::MAX),
        f64::from(config.login_block_seconds),
        f64::from(BLOCK_SECONDS_MAX)
    )
    .fetch_optional(database.pool())
    .await?;
    if let Some(seconds) = pair_block {
        blocks.push((pair.clone(), seconds.ceil() as u64));
    }
    // The address is counted after the fact: guesses in flight from one address are bounded by the hashing queue.
    let address_block = sqlx::query!(
        r#"insert into identity.throttle as t (account, address, failures) values ('', $1, 1)
           on conflict (account, address) do update set
               failures = case when t.window_start + make_interval(secs => $3) <= now() then 1
                               when t.failures + 1 >= $2 then 0 else t.failures + 1 end,
               window_start = case when t.window_start + make_interval(secs => $3) <= now() then now()
                                   else t.window_start end,
               blocked_until = case when t.failures + 1 >= $2 and t.window_start + make_interval(secs => $3) > now()
                                    then now() + make_interval(secs => least($4::float8 * (2 ^ least(t.blocks, 20)), $5))
                                    else t.blocked_until end,
               blocks = t.blocks + case when t.failures + 1 >= $2 and t.window_start + make_interval(secs => $3) > now()
                                        then 1 else 0 end
           returning extract(epoch from blocked_until - now())::float8 as seconds"#,
        pair.address,
        i32::try_from(config.login_failures_per_address).unwrap_or(i32::MAX),
        f64::from(config.login_window_seconds),
        f64::from(config.login_block_seconds),
        f64::from(BLOCK_SECONDS_MAX)
    )
    .fetch_one(database.pool())
    .await?;
    if let Some(seconds) = address_block.seconds.filter(|seconds| *seconds > 0.0) {
        let whole = Pair { account: WHOLE_ADDRESS.to_owned(), address: pair.address.clone() };
        blocks.push((whole, seconds.ceil() as u64));
    }
    Ok(blocks)
}

/// Forgets the failures of a pair after its owner showed the right password.
pub(crate) async fn succeed(database: &Database, pair: &Pair) -> Result<(), Error> {
    sqlx::query!(
        "delete from identity.throttle where account = $1 and address = $2",
        pair.account,
        pair.address
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Lifts every block of an account, and those of whole addresses: whoever resets a password on the server itself
/// must be able to log in from wherever they are.
pub(crate) async fn clear(tx: &mut database::Tx, user: UserId) -> Result<(), Error> {
    sqlx::query!(
        "delete from identity.throttle where account = $1 or (account = '' and blocked_until is not null)",
        account_of(user)
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes rows that a day without failures has made meaningless. Until then further blocks grow.
pub(crate) async fn purge(database: &Database) -> Result<u64, Error> {
    let result = sqlx::query!(
        "delete from identity.throttle
         where window_start < now() - interval '1 day'
           and (blocked_until is null or blocked_until < now() - interval '1 day')"
    )
    .execute(database.pool())
    .await?;
    Ok(result.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_and_one_source_have_one_name() {
        let cases = [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
            ("2001:db8:0:1::9", "2001:db8:0:1::/64"),
            ("unix\0", "unix"),
        ];
        for (address, expected) in cases {
            assert_eq!(canonical_address(address), expected);
        }
        assert_eq!(Pair::new(None, "ALICE", "::1"), Pair::new(None, "alice", "::2"));
        let user = |id| {
            Principal::User(crate::User {
                limits: None,
                id: UserId(id),
                name: "alice".to_owned(),
                sysadmin: false,
                epoch: 0,
            })
        };
        let robot = Principal::Robot(crate::Robot {
            id: crate::RobotId(7),
            name: "robot$ci".to_owned(),
            expires_at: None,
            epoch: 0,
        });
        let pair = |known: &Principal, name| Pair::new(Some(known), name, "");
        assert_eq!(pair(&user(7), "ALICE"), pair(&user(7), "a@example.com"));
        assert_ne!(pair(&user(7), "x"), pair(&robot, "x"));
        assert_ne!(Pair::new(None, "alice", ""), Pair::new(None, "alicf", ""));
    }
}
