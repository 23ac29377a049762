//! Projects that are deleted with everything in them, by the worker of a real process.

use std::time::Duration;

use hythe_testbed::{Bed, Inside, Options, Project};
use reqwest::Method;

use crate::support::eventually;

const REPOSITORIES: usize = 8;

/// A project with content in each of its repositories.
async fn full(bed: &Bed, name: &str) -> Project {
    let project = bed.project(name).create().await;
    let registry = bed.admin().registry();
    for number in 0..REPOSITORIES {
        registry.push_image(&project.repository(&format!("app{number}")), "1").await;
    }
    project
}

/// Asks for the deletion and returns the number of the job.
async fn ask(bed: &Bed, project: &Project) -> i64 {
    let request = bed.admin().client().request(Method::DELETE, project.path("")).query("force", "true");
    let job = request.send().await.expect(202).json();
    job["job_id"].as_str().and_then(|id| id.parse().ok()).expect("a number")
}

/// State and attempts of a job.
async fn job(inside: &Inside, id: i64) -> (String, i32) {
    sqlx::query_as("select state, attempts from queue.jobs where id = $1")
        .bind(id)
        .fetch_one(inside.database.pool())
        .await
        .expect("the job has a row")
}

async fn gone(bed: &Bed, project: &Project, limit: Duration) {
    let admin = bed.admin().client();
    eventually(limit, "the project is gone", async || admin.get(project.path("")).await.status == 404).await;
}

#[tokio::test]
async fn a_worker_deletes_a_project_with_everything_in_it() {
    let bed = Bed::shared().await;
    let (project, other) = (full(&bed, "full").await, bed.project("other").create().await);
    let image = bed.admin().registry().push_image(&other.repository("app"), "1").await;
    let id = ask(&bed, &project).await;
    gone(&bed, &project, Duration::from_secs(20)).await;
    let inside = bed.inside().await;
    eventually(Duration::from_secs(5), "the job is done", async || {
        job(&inside, id).await == ("done".to_owned(), 1)
    })
    .await;
    bed.admin().registry().get_manifest(&project.repository("app0"), "1").await.expect_any(&[401, 404]);
    bed.admin().registry().get_manifest(&image.repository, "1").await.expect(200);
}

/// The process is killed when some repositories are gone and others are not: whoever takes the job over goes on there.
#[tokio::test]
async fn a_removal_goes_on_after_its_worker_was_killed() {
    let bed = Bed::own(Options::default().set("HYTHE_WORKER__LEASE_SECONDS", "15")).await;
    let project = full(&bed, "full").await;
    let inside = bed.inside().await;
    // Somebody holds a repository in the middle, so that the job waits there.
    let held = project.repository("app4");
    let mut tx = inside.database.begin().await.expect("a transaction");
    sqlx::query("select 1 from catalog.repositories where path = $1 for update")
        .bind(&held)
        .execute(&mut *tx)
        .await
        .expect("the repository has a row");
    let id = ask(&bed, &project).await;
    let left = async |inside: &Inside| -> i64 {
        sqlx::query_scalar(
            "select count(*) from catalog.repositories where deleted_at is null and path like $1",
        )
        .bind(project.repository("%"))
        .fetch_one(inside.database.pool())
        .await
        .expect("a number")
    };
    eventually(Duration::from_secs(20), "some repositories are gone", async || {
        left(&inside).await == REPOSITORIES as i64 - 4
    })
    .await;
    assert_eq!(job(&inside, id).await, ("running".to_owned(), 1));
    bed.kill_9();
    drop(tx);
    drop(inside);
    bed.restart().await;
    let inside = bed.inside().await;
    assert_eq!(
        left(&inside).await,
        REPOSITORIES as i64 - 4,
        "what was deleted stays deleted, and no more is"
    );
    bed.admin().client().get(project.path("")).await.expect(200);
    gone(&bed, &project, Duration::from_secs(45)).await;
    assert_eq!(left(&inside).await, 0);
    eventually(Duration::from_secs(5), "the job is done", async || {
        job(&inside, id).await == ("done".to_owned(), 2)
    })
    .await;
    // Each act once, though two processes had a part in it.
    let acts: (i64, i64) = sqlx::query_as(
        "select count(*) filter (where action = 'repository_delete'), count(*) filter (where action = 'project_delete')
         from audit.entries where outcome = 'done'",
    )
    .fetch_one(inside.database.pool())
    .await
    .expect("the trail can be read");
    assert_eq!(acts, (REPOSITORIES as i64, 1));
}
