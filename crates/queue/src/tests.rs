//! The queue against a real PostgreSQL: every promise of the crate, with runners at work.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use database::Database;
use database::testing::{TestDatabase, database};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Work {
    number: u32,
}

impl Job for Work {
    const KIND: &'static str = "test.work";
    const ATTEMPTS_MAX: i32 = 3;
}

#[derive(Serialize, Deserialize)]
struct Sweep {}

impl Job for Sweep {
    const KIND: &'static str = "test.sweep";
    const UNIQUE: bool = true;
}

#[derive(Serialize, Deserialize)]
struct Stranger {}

impl Job for Stranger {
    const KIND: &'static str = "test.stranger";
}

#[derive(Serialize, Deserialize)]
struct Pushed {
    name: String,
}

impl Event for Pushed {
    const KIND: &'static str = "test.pushed";
}

/// Handlers' log of what they were called with.
type Calls = Arc<Mutex<Vec<u32>>>;

fn config() -> Config {
    Config { poll_ms: 50, lease_seconds: 30, concurrency: 4, history_days: 90 }
}

/// A runner at work; stopped with [`Running::stop`].
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(runner: Runner) -> Self {
        let shutdown = CancellationToken::new();
        Self { task: tokio::spawn(runner.run(shutdown.clone())), shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap();
    }
}

async fn ask<J: Job>(database: &Database, job: J) -> Option<i64> {
    let mut tx = database.begin().await.unwrap();
    let id = submit(&mut tx, &job, "ana").await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn record(database: &Database, id: i64) -> Record {
    History::new(database.clone()).get(id).await.unwrap().unwrap()
}

/// Waits until the job is in one of these states.
async fn reach(database: &Database, id: i64, states: &[&str]) -> Record {
    for _ in 0..1200 {
        let record = record(database, id).await;
        if states.contains(&record.state.as_str()) {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("job {id} is {:?}, not {states:?}", record(database, id).await);
}

async fn until(what: &str, check: impl Fn() -> bool) {
    for _ in 0..1200 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen");
}

/// Makes the pause of a retry pass: tests move rows, not clocks.
async fn make_due(database: &TestDatabase, id: i64) {
    sqlx::query!("update queue.jobs set run_at = now() where id = $1", id)
        .execute(database.pool())
        .await
        .unwrap();
}

/// Makes the worker of a running job look dead.
async fn expire_lease(database: &TestDatabase, id: i64) {
    sqlx::query!("update queue.jobs set lease_until = now() - interval '1 second' where id = $1", id)
        .execute(database.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_job_runs_after_its_commit_and_leaves_a_record() {
    let database = database().await;
    let calls = Calls::default();
    let mut runner = Runner::new((*database).clone(), config());
    let seen = calls.clone();
    runner.handle::<Work, _, _>(move |job, ctx| {
        let seen = seen.clone();
        async move {
            ctx.progress("counting", 2, 3).await?;
            ctx.log("one\0").await?;
            ctx.log("two").await?;
            assert_eq!((ctx.asked_by(), ctx.attempt()), ("ana", 1));
            seen.lock().unwrap().push(job.number);
            Ok(())
        }
    });
    let running = Running::start(runner);

    let mut tx = database.begin().await.unwrap();
    submit(&mut tx, &Work { number: 1 }, "ana").await.unwrap();
    drop(tx);
    let id = ask(&database, Work { number: 2 }).await.unwrap();
    let done = reach(&database, id, &["done"]).await;
    running.stop().await;

    assert_eq!(*calls.lock().unwrap(), [2]);
    assert_eq!((done.phase.as_str(), done.done_count, done.total_count), ("counting", 2, 3));
    assert_eq!((done.log_tail.as_str(), done.message.as_str()), ("one\u{fffd}\ntwo\n", ""));
    assert_eq!((done.attempts, done.asked_by.as_str()), (1, "ana"));
    assert!(done.started_at.is_some() && done.finished_at.is_some() && done.worker.is_some());
}

#[tokio::test]
async fn an_announced_job_does_not_wait_for_the_next_poll() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), Config { poll_ms: 60_000, ..config() });
    runner.handle::<Work, _, _>(|_, _| async { Ok(()) });
    let running = Running::start(runner);
    // The first look and the listening are over when the first job is done.
    let first = ask(&database, Work { number: 1 }).await.unwrap();
    reach(&database, first, &["done"]).await;
    let second = ask(&database, Work { number: 2 }).await.unwrap();
    reach(&database, second, &["done"]).await;
    running.stop().await;
}

#[tokio::test]
async fn retry_pauses_and_ends_after_the_last_attempt() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), config());
    runner.handle::<Work, _, _>(|_, _| async { Err(JobError::retry("the peer is away")) });
    let running = Running::start(runner);
    let id = ask(&database, Work { number: 1 }).await.unwrap();

    let mut pauses = Vec::new();
    for attempt in 1..=2 {
        let retrying = reach(&database, id, &["retrying"]).await;
        assert_eq!((retrying.attempts, retrying.message.as_str()), (attempt, "the peer is away"));
        let pause = sqlx::query_scalar!(
            r#"select extract(epoch from run_at - now())::float8 as "seconds!" from queue.jobs where id = $1"#,
            id
        )
        .fetch_one(database.pool())
        .await
        .unwrap();
        pauses.push(pause);
        make_due(&database, id).await;
        for _ in 0..1200 {
            if record(&database, id).await.attempts > attempt {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    let failed = reach(&database, id, &["failed"]).await;
    running.stop().await;
    assert_eq!((failed.attempts, failed.message.as_str()), (3, "the peer is away"));
    assert!(failed.finished_at.is_some());
    // 5 s and 10 s, each spread by half; a little of it has passed.
    assert!((1.5..=7.5).contains(&pauses[0]), "{pauses:?}");
    assert!((4.0..=15.0).contains(&pauses[1]), "{pauses:?}");
}

#[tokio::test]
async fn fail_is_final_and_panics_and_bad_payloads_are_told() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), config());
    runner.handle::<Work, _, _>(|job, _| async move {
        match job.number {
            1 => Err(JobError::fail("no such thing")),
            2 => panic!("a defect"),
            _ => Ok(()),
        }
    });
    let running = Running::start(runner);

    let id = ask(&database, Work { number: 1 }).await.unwrap();
    let failed = reach(&database, id, &["failed"]).await;
    assert_eq!((failed.attempts, failed.message.as_str()), (1, "no such thing"));

    let id = ask(&database, Work { number: 2 }).await.unwrap();
    let panicked = reach(&database, id, &["retrying"]).await;
    assert!(panicked.message.contains("panicked"));

    let undecodable = sqlx::query_scalar!(
        r#"insert into queue.jobs (kind, payload) values ('test.work', '{"number": 3, "more": 1}') returning id"#
    )
    .fetch_one(database.pool())
    .await
    .unwrap();
    let failed = reach(&database, undecodable, &["failed"]).await;
    assert!(failed.message.starts_with("the payload cannot be read: unknown field"), "{}", failed.message);

    // The runner is alive and well.
    let id = ask(&database, Work { number: 3 }).await.unwrap();
    reach(&database, id, &["done"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_kind_that_nobody_handles_waits() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), config());
    runner.handle::<Work, _, _>(|_, _| async { Ok(()) });
    let running = Running::start(runner);
    let stranger = ask(&database, Stranger {}).await.unwrap();
    let known = ask(&database, Work { number: 1 }).await.unwrap();
    reach(&database, known, &["done"]).await;
    running.stop().await;
    let waiting = record(&database, stranger).await;
    assert_eq!((waiting.state.as_str(), waiting.attempts), ("queued", 0));
}

#[tokio::test]
async fn a_unique_kind_is_pending_once() {
    let database = database().await;
    let first = ask(&database, Sweep {}).await;
    assert!(first.is_some());
    assert_eq!(ask(&database, Sweep {}).await, None);
    let mut runner = Runner::new((*database).clone(), config());
    runner.handle::<Sweep, _, _>(|_, _| async { Ok(()) });
    let running = Running::start(runner);
    reach(&database, first.unwrap(), &["done"]).await;
    let second = ask(&database, Sweep {}).await.unwrap();
    reach(&database, second, &["done"]).await;
    running.stop().await;
    assert!(
        ask(&database, Work { number: 1 }).await.is_some()
            && ask(&database, Work { number: 1 }).await.is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_runners_share_the_work_and_do_each_job_once() {
    let database = database().await;
    let counts = Arc::new(Mutex::new(HashMap::<u32, u32>::new()));
    let most = Arc::new(AtomicU32::new(0));
    let mut runners = Vec::new();
    for _ in 0..3 {
        let mut runner = Runner::new((*database).clone(), config());
        let (counts, most, busy) = (counts.clone(), most.clone(), Arc::new(AtomicU32::new(0)));
        runner.handle::<Work, _, _>(move |job, _| {
            let (counts, most, busy) = (counts.clone(), most.clone(), busy.clone());
            async move {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                busy.fetch_sub(1, Ordering::SeqCst);
                *counts.lock().unwrap().entry(job.number).or_default() += 1;
                Ok(())
            }
        });
        runners.push(Running::start(runner));
    }
    let mut tx = database.begin().await.unwrap();
    for number in 0..150 {
        submit(&mut tx, &Work { number }, "ana").await.unwrap();
    }
    tx.commit().await.unwrap();
    until("every job", || counts.lock().unwrap().len() == 150).await;
    for running in runners {
        running.stop().await;
    }
    assert!(counts.lock().unwrap().values().all(|count| *count == 1));
    assert!(most.load(Ordering::SeqCst) <= config().concurrency, "more jobs at a time than allowed");
    let open = History::new((*database).clone())
        .list(&Filter { kind: None, state: Some("done".to_owned()) }, None, 1000)
        .await
        .unwrap();
    assert_eq!(open.len(), 100);
    let done = sqlx::query_scalar!("select count(*) from queue.jobs where state = 'done'")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(done, Some(150));
}

#[tokio::test]
async fn a_silent_worker_loses_the_job_and_every_later_write_of_it_is_refused() {
    let database = database().await;
    let paused = Arc::new(Mutex::new(None::<JobContext>));
    let resume = Arc::new(Notify::new());
    // With one slot it cannot take the job again itself.
    let mut sleeper = Runner::new((*database).clone(), Config { concurrency: 1, ..config() });
    let (kept, wait) = (paused.clone(), resume.clone());
    sleeper.handle::<Work, _, _>(move |_, ctx| {
        let (kept, wait) = (kept.clone(), wait.clone());
        async move {
            *kept.lock().unwrap() = Some(ctx);
            wait.notified().await;
            Ok(())
        }
    });
    let sleeper = Running::start(sleeper);
    let id = ask(&database, Work { number: 1 }).await.unwrap();
    until("the first attempt", || paused.lock().unwrap().is_some()).await;
    let old = paused.lock().unwrap().clone().unwrap();
    let mut tx = database.begin().await.unwrap();
    old.guard(&mut tx).await.unwrap();
    // Its lock would keep the first look of the other runner away.
    tx.rollback().await.unwrap();

    // The sleeper gives no sign of life before ten seconds have passed; another runner sees the lease end.
    let mut taker = Runner::new((*database).clone(), config());
    let (taken, finish) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (told, wait) = (taken.clone(), finish.clone());
    taker.handle::<Work, _, _>(move |_, ctx| {
        let (told, wait) = (told.clone(), wait.clone());
        async move {
            assert_eq!(ctx.attempt(), 2);
            told.store(true, Ordering::SeqCst);
            wait.notified().await;
            Ok(())
        }
    });
    expire_lease(&database, id).await;
    let taker = Running::start(taker);
    until("the take-over", || taken.load(Ordering::SeqCst)).await;

    assert!(matches!(old.progress("late", 9, 9).await, Err(JobError::Retry(_))));
    assert!(matches!(old.log("late").await, Err(JobError::Retry(_))));
    let mut tx = database.begin().await.unwrap();
    assert!(matches!(old.guard(&mut tx).await, Err(JobError::Retry(_))));
    drop(tx);
    assert!(old.cancelled());
    resume.notify_one();
    sleeper.stop().await;
    let running = record(&database, id).await;
    assert_eq!(
        (running.state.as_str(), running.phase.as_str(), running.log_tail.as_str()),
        ("running", "", "")
    );

    finish.notify_one();
    let done = reach(&database, id, &["done"]).await;
    taker.stop().await;
    assert_eq!(done.attempts, 2);
}

#[tokio::test]
async fn a_lost_job_may_come_back_to_the_same_runner() {
    let database = database().await;
    let (finish, attempts) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    // The shortest lease there is: the heartbeat finds the first claim lost after one second.
    let mut runner = Runner::new((*database).clone(), Config { lease_seconds: 3, ..config() });
    let (wait, count) = (finish.clone(), attempts.clone());
    runner.handle::<Work, _, _>(move |_, ctx| {
        let (wait, count) = (wait.clone(), count.clone());
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            if ctx.attempt() == 1 {
                // Ends only by being aborted.
                std::future::pending::<()>().await;
            }
            wait.notified().await;
            Ok(())
        }
    });
    let running = Running::start(runner);
    let id = ask(&database, Work { number: 1 }).await.unwrap();
    until("the first attempt", || attempts.load(Ordering::SeqCst) == 1).await;
    let rows =
        rows::Rows { database: (*database).clone(), worker: "w".to_owned(), lease: Duration::from_secs(3) };
    while rows.sweep().await.unwrap().is_empty() {
        expire_lease(&database, id).await;
    }
    until("the second attempt", || attempts.load(Ordering::SeqCst) == 2).await;
    // Well beyond one lease: the end of the first claim did not stop the heartbeats of the second.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((attempts.load(Ordering::SeqCst), record(&database, id).await.attempts), (2, 2));
    finish.notify_one();
    reach(&database, id, &["done"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_guarded_transaction_keeps_a_take_over_away_until_it_ends() {
    let database = database().await;
    let started = Arc::new(Mutex::new(None::<JobContext>));
    let mut runner = Runner::new((*database).clone(), config());
    let kept = started.clone();
    runner.handle::<Work, _, _>(move |_, ctx| {
        let kept = kept.clone();
        async move {
            *kept.lock().unwrap() = Some(ctx);
            std::future::pending().await
        }
    });
    runner.grace = Duration::from_millis(10);
    let running = Running::start(runner);
    let id = ask(&database, Work { number: 1 }).await.unwrap();
    until("the attempt", || started.lock().unwrap().is_some()).await;
    let context = started.lock().unwrap().clone().unwrap();

    let rows =
        rows::Rows { database: (*database).clone(), worker: "w".to_owned(), lease: Duration::from_secs(30) };
    let mut tx = database.begin().await.unwrap();
    context.guard(&mut tx).await.unwrap();
    // A heartbeat passes the lock, a take-over does not.
    assert_eq!(rows.renew(&[(id, context.fence())]).await.unwrap(), [(id, context.fence(), false)]);
    expire_lease(&database, id).await;
    assert!(rows.sweep().await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert_eq!(rows.sweep().await.unwrap().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_kills_its_workers_ends_as_failed() {
    let database = database().await;
    let rows =
        rows::Rows { database: (*database).clone(), worker: "w".to_owned(), lease: Duration::from_secs(30) };
    let kinds = [Work::KIND.to_owned()];
    let id = ask(&database, Work { number: 1 }).await.unwrap();
    for attempt in 1..=3 {
        let claimed = rows.claim(&kinds, 10).await.unwrap();
        assert_eq!((claimed.len(), claimed[0].attempts), (1, attempt));
        assert!(rows.claim(&kinds, 10).await.unwrap().is_empty());
        assert!(rows.sweep().await.unwrap().is_empty());
        expire_lease(&database, id).await;
        let swept = rows.sweep().await.unwrap();
        assert_eq!(swept[0].state, if attempt < 3 { "retrying" } else { "failed" });
    }
    assert!(rows.claim(&kinds, 10).await.unwrap().is_empty());
    assert!(record(&database, id).await.finished_at.is_some());
}

#[tokio::test]
async fn jobs_are_stopped_on_request() {
    let database = database().await;
    let asked_to_stop = async |id| {
        let mut tx = database.begin().await.unwrap();
        let found = stop(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        found
    };
    let waiting = ask(&database, Work { number: 1 }).await.unwrap();
    assert!(asked_to_stop(waiting).await);
    assert!(record(&database, waiting).await.finished_at.is_some());
    assert!(!asked_to_stop(waiting).await);
    assert!(!asked_to_stop(i64::MAX).await);

    // A minute between polls and ten seconds between heartbeats: only the announcement is fast.
    let mut runner = Runner::new((*database).clone(), Config { poll_ms: 60_000, ..config() });
    runner.handle::<Work, _, _>(|job, ctx| async move {
        while !ctx.cancelled() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if job.number == 2 { Ok(()) } else { Err(JobError::retry("interrupted")) }
    });
    let running = Running::start(runner);
    for number in [2, 3] {
        let id = ask(&database, Work { number }).await.unwrap();
        reach(&database, id, &["running"]).await;
        assert!(asked_to_stop(id).await);
        let stopped = reach(&database, id, &["stopped"]).await;
        assert!(stopped.finished_at.is_some());
    }
    assert_eq!(record(&database, waiting).await.attempts, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_runner_that_ends_hands_its_jobs_back() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), config());
    runner.handle::<Work, _, _>(|job, ctx| async move {
        match job.number {
            // Asks and ends early.
            1 => {
                while !ctx.cancelled() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            }
            // Never asks and never ends.
            2 => std::future::pending().await,
            // Does not ask, but ends within the grace: it is done.
            _ => {
                ctx.shutdown_for_tests().cancelled().await;
                Ok(())
            }
        }
    });
    runner.grace = Duration::from_millis(300);
    let running = Running::start(runner);
    let mut ids = Vec::new();
    for number in 1..=3 {
        let id = ask(&database, Work { number }).await.unwrap();
        reach(&database, id, &["running"]).await;
        ids.push(id);
    }
    running.stop().await;
    for (id, expected) in ids.iter().zip([("queued", 0), ("queued", 0), ("done", 1)]) {
        let found = record(&database, *id).await;
        assert_eq!((found.state.as_str(), found.attempts), expected);
    }
    // Somebody else can take them at once.
    let rows =
        rows::Rows { database: (*database).clone(), worker: "w".to_owned(), lease: Duration::from_secs(30) };
    assert_eq!(rows.claim(&[Work::KIND.to_owned()], 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_event_becomes_one_job_per_subscriber() {
    let database = database().await;
    let seen = Arc::new(Mutex::new(Vec::<String>::new()));
    let mut runners = Vec::new();
    for _ in 0..2 {
        let mut runner = Runner::new((*database).clone(), config());
        for subscriber in ["mirror", "notify"] {
            let seen = seen.clone();
            runner.on::<Pushed, _, _>(subscriber, move |fact, _| {
                let seen = seen.clone();
                async move {
                    seen.lock().unwrap().push(format!("{subscriber} {}", fact.name));
                    Ok(())
                }
            });
        }
        runners.push(Running::start(runner));
    }
    let mut tx = database.begin().await.unwrap();
    publish(&mut tx, &Pushed { name: "undone".to_owned() }).await.unwrap();
    drop(tx);
    let mut tx = database.begin().await.unwrap();
    for name in ["a", "b"] {
        publish(&mut tx, &Pushed { name: name.to_owned() }).await.unwrap();
    }
    tx.commit().await.unwrap();
    until("four calls", || seen.lock().unwrap().len() >= 4).await;
    for running in runners {
        running.stop().await;
    }
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ["mirror a", "mirror b", "notify a", "notify b"]);
    let left =
        sqlx::query_scalar!("select count(*) from queue.events").fetch_one(database.pool()).await.unwrap();
    assert_eq!(left, Some(0));
}

#[tokio::test]
async fn a_schedule_asks_once_however_many_runners_there_are() {
    let database = database().await;
    let roster = |cron| {
        let mut roster = roster::Roster::default();
        roster.handle::<Work, _, _>(|_, _| async { Ok(()) });
        roster.schedule("nightly", cron, &Work { number: 7 }).unwrap();
        roster
    };
    let rows =
        rows::Rows { database: (*database).clone(), worker: "w".to_owned(), lease: Duration::from_secs(30) };
    let daily = roster("0 0 3 * * *");
    let next = async || {
        sqlx::query_scalar!("select next_run_at from queue.schedules where name = 'nightly'")
            .fetch_one(database.pool())
            .await
            .unwrap()
    };
    rows.register_schedules(&daily).await.unwrap();
    let first = next().await;
    rows.run_schedules(&daily).await.unwrap();
    assert_eq!(next().await, first);

    // Three days were missed; many runners look at the same time.
    sqlx::query!("update queue.schedules set next_run_at = next_run_at - interval '3 days'")
        .execute(database.pool())
        .await
        .unwrap();
    // A restart does not move what is due.
    rows.register_schedules(&daily).await.unwrap();
    let (one, two, three, four) = tokio::join!(
        rows.run_schedules(&daily),
        rows.run_schedules(&daily),
        rows.run_schedules(&daily),
        rows.run_schedules(&daily)
    );
    for done in [one, two, three, four] {
        done.unwrap();
    }
    let jobs = History::new((*database).clone()).list(&Filter::default(), None, 10).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].schedule.as_deref(), Some("nightly"));
    assert_eq!((jobs[0].payload["number"].as_u64(), jobs[0].attempts_max), (Some(7), Work::ATTEMPTS_MAX));
    assert_eq!(next().await, first);

    // Another expression takes effect at once.
    rows.register_schedules(&roster("*/30 * * * * *")).await.unwrap();
    assert!(next().await < first);

    // One that is switched off, or of a kind that this roster cannot do, asks for nothing.
    sqlx::query!("update queue.schedules set next_run_at = now() - interval '1 day', enabled = false")
        .execute(database.pool())
        .await
        .unwrap();
    rows.run_schedules(&daily).await.unwrap();
    sqlx::query!("update queue.schedules set enabled = true").execute(database.pool()).await.unwrap();
    rows.run_schedules(&roster::Roster::default()).await.unwrap();
    assert_eq!(History::new((*database).clone()).list(&Filter::default(), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_scheduled_job_runs() {
    let database = database().await;
    let runs = Arc::new(AtomicU32::new(0));
    let mut runner = Runner::new((*database).clone(), config());
    let count = runs.clone();
    runner.handle::<Sweep, _, _>(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    });
    runner.schedule("sweep", "* * * * * *", Sweep {}).unwrap();
    assert!(runner.schedule("other", "* * * * *", Sweep {}).is_err());
    let running = Running::start(runner);
    until("two runs", || runs.load(Ordering::SeqCst) >= 2).await;
    running.stop().await;
}

#[tokio::test]
async fn old_history_goes_and_nothing_else() {
    let database = database().await;
    for (state, days) in [("done", 91), ("failed", 200), ("stopped", 91), ("done", 89), ("queued", 0)] {
        sqlx::query!(
            "insert into queue.jobs (kind, payload, state, created_at, finished_at)
             values ('test.work', '{}', $1, now() - interval '1 year',
                     case when $1 = 'queued' then null else now() - make_interval(days => $2) end)",
            state,
            days
        )
        .execute(database.pool())
        .await
        .unwrap();
    }
    for (kind, days) in [("test.pushed", 30), ("test.unknown", 30), ("test.unknown", 1)] {
        sqlx::query!(
            "insert into queue.events (kind, payload, created_at)
             values ($1, '{}', now() - make_interval(days => $2))",
            kind,
            days
        )
        .execute(database.pool())
        .await
        .unwrap();
    }
    let mut roster = roster::Roster::default();
    roster.on::<Pushed, _, _>("mirror", |_, _| async { Ok(()) });
    let rows =
        rows::Rows { database: (*database).clone(), worker: "w".to_owned(), lease: Duration::from_secs(30) };
    assert_eq!(rows.purge(&roster, 90).await.unwrap(), 4);
    assert_eq!(rows.purge(&roster, 90).await.unwrap(), 0);
    let jobs = History::new((*database).clone()).list(&Filter::default(), None, 10).await.unwrap();
    let states: Vec<_> = jobs.iter().map(|job| job.state.as_str()).collect();
    assert_eq!(states, ["queued", "done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_outlives_the_database() {
    let database = database().await;
    let ready = Arc::new(AtomicBool::new(false));
    let release = Arc::new(Notify::new());
    let mut runner = Runner::new((*database).clone(), config());
    let (started, wait) = (ready.clone(), release.clone());
    runner.handle::<Work, _, _>(move |job, _| {
        let (started, wait) = (started.clone(), wait.clone());
        async move {
            if job.number == 1 {
                started.store(true, Ordering::SeqCst);
                wait.notified().await;
            }
            Ok(())
        }
    });
    let running = Running::start(runner);
    let id = ask(&database, Work { number: 1 }).await.unwrap();
    until("the attempt", || ready.load(Ordering::SeqCst)).await;

    // Only this connection of the owner stays; everybody else is thrown out and does not get in again.
    let mut owner = database.owner().acquire().await.unwrap();
    let name = sqlx::query_scalar!(r#"select current_database()::text as "name!""#)
        .fetch_one(&mut *owner)
        .await
        .unwrap();
    let lock_out = async |owner: &mut sqlx::PgConnection, away: bool| {
        sqlx::query!("update pg_database set datallowconn = $2 where datname = $1", name, !away)
            .execute(&mut *owner)
            .await
            .unwrap();
        sqlx::query!(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = $1 and pid <> pg_backend_pid()",
            name
        )
        .fetch_all(owner)
        .await
        .unwrap();
    };
    lock_out(&mut owner, true).await;
    release.notify_one();
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(!running.task.is_finished());
    assert!(database.ping().await.is_err(), "the outage did not happen");
    lock_out(&mut owner, false).await;

    // The outcome of the interrupted job is written, and new work is done.
    reach(&database, id, &["done"]).await;
    let id = ask(&database, Work { number: 2 }).await.unwrap();
    reach(&database, id, &["done"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_detached_context_says_nothing_and_is_never_cancelled() {
    let context = JobContext::detached();
    context.progress("phase", 1, 2).await.unwrap();
    context.log("line").await.unwrap();
    assert!(!context.cancelled());
}

#[tokio::test]
async fn work_is_counted_while_it_is_done_or_about_to_be_tried_again() {
    let database = database().await;
    let jobs = History::new((*database).clone());
    assert_eq!(jobs.at_work().await.unwrap(), 0);
    for state in ["queued", "running", "retrying", "stopping", "done", "failed", "stopped"] {
        sqlx::query(
            "insert into queue.jobs (kind, payload, state, attempts_max) values ('test.work', '{}', $1, 3)",
        )
        .bind(state)
        .execute(database.owner())
        .await
        .unwrap();
    }
    assert_eq!(jobs.at_work().await.unwrap(), 3);
}

#[tokio::test]
async fn a_log_has_all_lines_in_order_and_a_result_stays() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), config());
    runner.handle::<Work, _, _>(|_, ctx| async move {
        let lines: Vec<String> = (0..60_000).map(|number| number.to_string()).collect();
        ctx.log_all(&lines).await?;
        ctx.log_all(&lines).await?;
        ctx.log("one more").await?;
        ctx.result(&[1, 2]).await
    });
    let running = Running::start(runner);
    let id = ask(&database, Work { number: 1 }).await.unwrap();
    let done = reach(&database, id, &["done", "failed"]).await;
    assert_eq!((done.state.as_str(), done.result), ("done", Some(serde_json::json!([1, 2]))));
    assert!(
        done.log_tail.ends_with("\n39999\nmore than 100000 lines; the rest is not kept\n"),
        "{}",
        done.log_tail
    );
    let history = History::new((*database).clone());
    let (mut after, mut lines) = (0, Vec::new());
    loop {
        let page = history.lines(id, after).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.number;
        lines.extend(page.into_iter().map(|line| line.line));
    }
    assert_eq!(lines.len(), 100_001);
    assert!((0..60_000).all(|number| lines[number] == number.to_string()));
    running.stop().await;
}

#[tokio::test]
async fn kinds_that_take_turns_run_one_at_a_time_in_order() {
    let database = database().await;
    let mut runner = Runner::new((*database).clone(), config());
    let (calls, release) = (Calls::default(), Arc::new(tokio::sync::Notify::new()));
    let (seen, wait) = (calls.clone(), release.clone());
    runner.handle::<Work, _, _>(move |job, ctx| {
        let (seen, wait) = (seen.clone(), wait.clone());
        async move {
            ctx.wait_for_turn().await?;
            seen.lock().unwrap().push(job.number);
            wait.notified().await;
            Ok(())
        }
    });
    let running = Running::start(runner);
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(ask(&database, Work { number }).await.unwrap());
    }
    for (number, id) in (1_u32..).zip(ids) {
        until("the turn", || calls.lock().unwrap().len() == number as usize).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(*calls.lock().unwrap(), (1..=number).collect::<Vec<_>>());
        release.notify_one();
        reach(&database, id, &["done"]).await;
    }
    running.stop().await;
}
