//! What happened by day: counted as it happens, added up by a job, read with the present day.

use catalog::{DAYS_KEPT, Day};
use chrono::{DateTime, Duration, Utc};
use oci::Reference;
use tenancy::list::Query;
use tenancy::{ListRepositories, ProjectRef, ReadProject};

use crate::world::World;

impl World {
    /// The last days of the project.
    async fn days(&self, days: i32) -> Vec<Day> {
        let project = ProjectRef::Name("p".parse().unwrap());
        let permit = self.tenancy.permit::<ReadProject>(&self.caller, &project).await.unwrap();
        self.catalog.days.of_project(&permit, days).await.unwrap()
    }

    async fn pull_once(&self, name: &str) {
        let tag: Reference = "1".parse().unwrap();
        let pull = self.pull(name);
        let found = self.catalog.manifests.get(&pull, &tag).await.unwrap();
        self.catalog.manifests.pulled(&pull, &found, &tag);
    }

    async fn roll_up(&self, at: DateTime<Utc>) -> u64 {
        self.catalog.days.roll_up(Some(at), || false).await.unwrap().days
    }

    /// Everything that happened so far happened some days earlier.
    async fn shift(&self, days: i32) {
        for sql in [
            "update catalog.repository_days set day = day - $1",
            "update catalog.project_days set day = day - $1",
            "update catalog.installation_days set day = day - $1",
            "update catalog.days_rolled set through = through - $1",
            "update tenancy.projects set created_at = created_at - make_interval(days => $1)",
        ] {
            sqlx::query(sql).bind(days).execute(self.database.owner()).await.unwrap();
        }
    }

    /// Noon of today, by the database.
    async fn noon(&self) -> DateTime<Utc> {
        sqlx::query_scalar(
            "select (date_trunc('day', now() at time zone 'UTC') + interval '12 hours') at time zone 'UTC'",
        )
        .fetch_one(self.database.pool())
        .await
        .unwrap()
    }
}

fn counts(day: &Day) -> (Option<i64>, i64, i64) {
    (day.used, day.pulls, day.pushes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_present_day_is_there_before_anything_is_added_up() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    // The same again is a push as well.
    world.image("p/a", Some("1"), &[b"layer"]).await;
    world.pull_once("p/a").await;
    world.pull_once("p/a").await;
    world.catalog.pulls.flush().await.unwrap();
    let days = world.days(30).await;
    assert_eq!(days.len(), 30);
    let today = days.last().unwrap();
    assert_eq!(counts(today), (Some(world.used().await), 2, 2));
    assert!(days[..29].iter().all(|day| counts(day) == (None, 0, 0)));
    let all = world.catalog.days.of_installation(1).await.unwrap();
    assert_eq!((all.len(), all[0].pulls, all[0].pushes), (1, 2, 2));

    let project = ProjectRef::Name("p".parse().unwrap());
    let list = world.tenancy.permit::<ListRepositories>(&world.caller, &project).await.unwrap();
    let listed = world.catalog.repositories.list(&list, &Query::default()).await.unwrap().rows;
    let pulls = world.catalog.days.pulls_of(&listed, 3).await.unwrap();
    assert_eq!(pulls[&listed[0].id], [0, 0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_added_up_after_midnight_and_stay() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    let first = world.used().await;
    let noon = world.noon().await;
    // Yesterday at noon, and two minutes after its end.
    world.shift(1).await;
    assert_eq!(world.roll_up(noon - Duration::days(1)).await, 1);
    world.blob("p/b", b"more").await;
    world.image("p/b", Some("1"), &[b"more"]).await;
    let second = world.used().await;
    assert_eq!(world.roll_up(noon - Duration::hours(12) + Duration::minutes(2)).await, 1);
    let days = world.days(3).await;
    assert_eq!(counts(&days[1]), (Some(second), 0, 1), "looked at soon after its end");
    assert_eq!(counts(&days[2]), (Some(second), 0, 1), "today");
    // Later looks, by two nodes at once, change nothing that is final.
    world.blob("p/b", b"even more").await;
    let clone = world.catalog.days.clone();
    let (one, other) =
        tokio::join!(world.roll_up(noon), async { clone.roll_up(Some(noon), || false).await.unwrap() });
    assert!(one + other.days >= 3, "yesterday is counted once more, and today by both");
    assert_eq!(counts(&world.days(3).await[1]), (Some(second), 0, 1));
    assert!(first < second && second < world.used().await);
    let stored = "select count(*) from catalog.project_days where project_id = $1";
    assert_eq!(world.number(stored, world.project).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_nobody_added_up_are_caught_up() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    let seen = world.used().await;
    let noon = world.noon().await;
    world.shift(5).await;
    world.roll_up(noon - Duration::days(5)).await;
    // Then nobody looked, while three days ago something was pulled and pushed.
    world.image("p/a", Some("1"), &[b"layer"]).await;
    world.pull_once("p/a").await;
    world.catalog.pulls.flush().await.unwrap();
    let moved = "update catalog.repository_days set day = day - 3 where day = catalog.utc_day(now())";
    sqlx::query(moved).execute(world.database.owner()).await.unwrap();
    world.blob("p/a", b"unseen").await;
    assert_eq!(world.roll_up(noon).await, 6);
    let now = world.used().await;
    let days: Vec<_> = world.days(7).await.iter().map(counts).collect();
    let quiet = (Some(seen), 0, 0);
    assert_eq!(
        days,
        [(None, 0, 0), (Some(seen), 0, 1), quiet, (Some(seen), 1, 1), quiet, quiet, (Some(now), 0, 0)]
    );
    let all: Vec<_> = world.catalog.days.of_installation(4).await.unwrap().iter().map(counts).collect();
    assert_eq!(all, days[3..]);
    assert_eq!(world.roll_up(noon).await, 1, "nothing is left but today");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_days_are_forgotten() {
    let world = World::new().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    let noon = world.noon().await;
    world.roll_up(noon).await;
    let stored = "select (select count(*) from catalog.repository_days where project_id = $1)
        + (select count(*) from catalog.project_days where project_id = $1)";
    world.shift(DAYS_KEPT).await;
    let kept = world.catalog.days.roll_up(Some(noon - Duration::days(DAYS_KEPT.into())), || false).await;
    assert_eq!(kept.unwrap().forgotten, 0);
    assert_eq!(world.number(stored, world.project).await, 2);
    world.shift(1).await;
    let rolled = world.catalog.days.roll_up(Some(noon), || false).await.unwrap();
    assert_eq!(rolled.days, DAYS_KEPT as u64 + 1, "no more than is kept, whatever was missed");
    assert!(rolled.forgotten >= 2);
    let old = "select count(*) from catalog.project_days
        where project_id = $1 and day < catalog.utc_day(now()) - 400";
    assert_eq!(world.number(old, world.project).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_gone_holds_nothing() {
    let world = World::new().await;
    let noon = world.noon().await;
    world.blob("p/a", b"layer").await;
    world.image("p/a", Some("1"), &[b"layer"]).await;
    world.roll_up(noon).await;
    for sql in [
        "update tenancy.projects set deleted_at = now() where id = $1",
        "delete from tenancy.quotas where project_id = $1",
    ] {
        sqlx::query(sql).bind(world.project).execute(world.database.owner()).await.unwrap();
    }
    world.roll_up(noon).await;
    let used = "select used_bytes from catalog.project_days where project_id = $1";
    assert_eq!(world.number(used, world.project).await, 0);
    // Rows that go for good take their days with them.
    for sql in [
        "delete from catalog.repositories where project_id = $1",
        "delete from tenancy.projects where id = $1",
    ] {
        let gone = sqlx::query(sql).bind(world.project).execute(world.database.owner()).await.unwrap();
        assert_eq!(gone.rows_affected(), 1, "{sql}");
    }
    let left = "select (select count(*) from catalog.repository_days where project_id = $1)
        + (select count(*) from catalog.project_days where project_id = $1)";
    assert_eq!(world.number(left, world.project).await, 0);
}
