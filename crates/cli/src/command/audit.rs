//! `hythe audit`: whether the trail is as it was written. Works beside a running server and without one.

use audit::{Mark, Trail, hex};
use clap::{Args, Subcommand};
use database::{Clock, Database};

use super::{Common, print};
use crate::exit::{Exit, Failure};
use crate::ground;

#[derive(Subcommand)]
pub(super) enum Audit {
    /// Recompute the chain over all entries and name the first that was changed.
    Verify(Verify),
}

/// Ends with 0 when everything is as it was written and with 10 when it is not.
///
/// Example: hythe audit verify --expect 1200:5c6f… with a checkpoint from the server's log
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    common: Common,
    /// POSITION:HASH as printed earlier, to find an end that was cut off; repeatable.
    #[arg(long, value_name = "POSITION:HASH", value_parser = mark)]
    expect: Vec<Mark>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(Audit::Verify(line): Audit) -> Result<Exit, Failure> {
    let settings = line.common.load()?.settings;
    let found = ground::visit(&settings).await?;
    let outcome = match Database::connect(&found.url, &settings.database, Clock::system()).await {
        Ok(database) => {
            let outcome = verify(&database, &line).await;
            database.close().await;
            outcome
        }
        Err(error) => Err(Failure::new(Exit::Unreachable, error)),
    };
    found.release().await;
    outcome
}

async fn verify(database: &Database, line: &Verify) -> Result<Exit, Failure> {
    let failed = |error: database::Error| Failure::new(Exit::Failed, error);
    let trail = Trail::new(database.clone());
    let found = trail.verify(0, None).await.map_err(failed)?;
    let mut problems = Vec::new();
    if let Some(bad) = &found.bad {
        problems.push(format!("position {}: {}", bad.position, bad.why));
    }
    for mark in &line.expect {
        if !trail.has(mark).await.map_err(failed)? {
            problems.push(format!("position {}: the hash is not the expected one", mark.position));
        }
    }
    if let Some(entry) = trail.stray().await.map_err(failed)? {
        problems.push(format!("entry {entry}: it stands in no link and does not wait for one"));
    }
    let hash = hex(&found.hash);
    if line.json {
        let report = serde_json::json!({
            "verified_until": found.until,
            "hash": hash,
            "first_bad_position": found.bad.as_ref().map(|bad| bad.position),
            "pending": found.pending,
            "problems": problems,
        });
        print(&format!("{report:#}\n"))?;
    } else {
        let mut text =
            format!("verified until {}:{hash}; {} entries wait to be linked\n", found.until, found.pending);
        for problem in &problems {
            text.push_str(&format!("not as it was written: {problem}\n"));
        }
        print(&text)?;
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Tampered })
}

fn mark(text: &str) -> Result<Mark, String> {
    let parsed = text.split_once(':').and_then(|(position, hash)| {
        let position = position.parse().ok()?;
        // Pairs of digits; ASCII first, so that no slice ends inside a character.
        if hash.len() != 64 || !hash.is_ascii() {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).ok();
        let hash = (0..64).step_by(2).map(byte).collect::<Option<_>>()?;
        Some(Mark { position, hash })
    });
    parsed.ok_or_else(|| "it has to be a position, a colon and 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_printed() {
        let text = format!("7:{}", "0a".repeat(32));
        assert_eq!(mark(&text), Ok(Mark { position: 7, hash: vec![10; 32] }));
        for wrong in ["", "7", "7:", "x:00", "7:zz", &"0a".repeat(40), &format!("7:{}", "é".repeat(32))] {
            assert!(mark(wrong).is_err(), "{wrong}");
        }
    }
}
