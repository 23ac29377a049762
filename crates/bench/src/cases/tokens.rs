//! Tokens, which only Hythe issues.
//!
//! Warm is a password that was right within the last minute: what a busy client or a CI fleet asks for. Cold is the
//! first login of an account that this server has not seen: a password hash and its bookkeeping.

use std::sync::Arc;

use anyhow::Result;

use crate::bench::{Bench, Plan};
use crate::cases::reads::CONNECTIONS;
use crate::load::{Limit, Repeated, hammer};
use crate::registry::{PUBLIC, Registry};
use crate::report::{Aim, Kind};
use crate::server::{ADMIN, create_user};

/// Of accounts that live as long as the benchmark.
const PASSWORD: &str = "Signal-Lamp-5520";

impl Bench {
    pub async fn tokens(&mut self) -> Result<()> {
        let pull = format!("repository:{PUBLIC}/reads:pull");
        let both = format!("repository:{PUBLIC}/reads:pull,push");
        let token = |scope: &str, basic| {
            Arc::new(vec![Repeated { head: Registry::token_request(scope, basic), status: 200 }])
        };
        let plan = |name: String, aims| Plan { name, kind: Kind::Requests, aims, peer: false };
        let run = Limit::For(self.size.run);

        let requests = token(&both, Some(ADMIN));
        let warm = format!("token, warm login, {CONNECTIONS} connections");
        self.case(plan(warm, &[Aim::PerSecond(5000.0)]), async |registry, _| {
            hammer(registry.address, &requests, 1, Limit::Count(1)).await?;
            hammer(registry.address, &requests, CONNECTIONS, run).await
        })
        .await?;

        let requests = token(&pull, None);
        let anonymous = format!("token, anonymous, {CONNECTIONS} connections");
        self.case(plan(anonymous, &[]), async |registry, _| {
            hammer(registry.address, &requests, CONNECTIONS, run).await
        })
        .await?;

        let (count, rounds) = (self.size.first_logins, self.size.rounds);
        let names: Vec<String> = (0..count * rounds).map(|n| format!("bench-{n}")).collect();
        for name in &names {
            create_user(&self.hythe, &self.directory, name, PASSWORD).await?;
        }
        let cold = "token, first login of an account, 1 connection".to_owned();
        self.case(plan(cold, &[]), async |registry, round| {
            let requests: Vec<_> = names[round * count..][..count]
                .iter()
                .map(|name| Repeated {
                    head: Registry::token_request(&pull, Some((name, PASSWORD))),
                    status: 200,
                })
                .collect();
            hammer(registry.address, &Arc::new(requests), 1, Limit::Count(count as u64)).await
        })
        .await
    }
}
