//! What an operator may set about background work (section `worker` of the configuration file).

use serde::{Deserialize, Serialize};

/// How a runner works. The defaults here are those of the shipped file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Milliseconds between two looks at the tables. New work is announced, so this bounds only what becomes
    /// due by the clock (retries, schedules) and what a lost announcement costs.
    pub poll_ms: u64,
    /// Seconds a job belongs to its runner without a sign of life. A dead runner's jobs are taken over after
    /// this time and a third of it.
    pub lease_seconds: u32,
    /// Jobs this process runs at the same time.
    pub concurrency: u32,
    /// Days a finished job stays readable.
    pub history_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { poll_ms: 1000, lease_seconds: 30, concurrency: 8, history_days: 90 }
    }
}

impl Config {
    /// Every value outside its range, as text that names the key. Empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let ranges = [
            ("poll_ms", self.poll_ms, 100, 60_000),
            // A heartbeat is due every third of it and may take some seconds on a slow network.
            ("lease_seconds", u64::from(self.lease_seconds), 15, 3600),
            ("concurrency", u64::from(self.concurrency), 1, 256),
            ("history_days", u64::from(self.history_days), 1, 3650),
        ];
        ranges
            .iter()
            .filter(|(_, value, low, high)| value < low || value > high)
            .map(|(key, value, low, high)| format!("worker.{key}: {value} is not between {low} and {high}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_problems_name_the_key() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let config = Config { poll_ms: 0, lease_seconds: 1, concurrency: 0, history_days: 0 };
        let problems = config.problems();
        assert_eq!(problems.len(), 4);
        assert!(problems[1].starts_with("worker.lease_seconds: 1 "));
    }
}
