//! A server that dies without warning keeps what it acknowledged and comes back by itself.

use hythe_testbed::{Bed, Options, Role, random_bytes};
use oci::{Algorithm, Digest};

#[tokio::test]
async fn acknowledged_pushes_and_open_uploads_survive_kill_9() {
    let bed = Bed::own(Options::default()).await;
    let user = bed.user("crash").await;
    let project = bed.project("crash").member(&user, Role::Developer).create().await;
    let repository = project.repository("app");
    let token = user.registry_with_token(&[&format!("repository:{repository}:pull,push")]).await;
    let image = token.push_image(&repository, "1").await;
    let bytes = random_bytes(400_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let upload = token.start_upload(&repository).await;
    token.patch(&upload, Some("0-149999"), &bytes[..150_000]).await.expect(202);

    for round in 0..2 {
        bed.kill_9();
        bed.restart().await;
        // Same data, same keys: even the token still counts.
        assert_eq!(
            token.get_manifest(&repository, "1").await.expect(200).body,
            image.manifest,
            "round {round}"
        );
        assert_eq!(token.get_blob(&repository, &image.layer).await.expect(200).body, image.layer_bytes);
        assert_eq!(token.get(&upload.location).await.expect(204).header("range"), "0-149999");
    }
    token.patch(&upload, Some("150000-399999"), &bytes[150_000..]).await.expect(202);
    token.finish(&upload, &digest, b"").await.expect(201);
    assert_eq!(token.get_blob(&repository, &digest).await.expect(200).body, bytes);

    // And an orderly stop loses nothing either.
    bed.stop();
    bed.restart().await;
    assert_eq!(token.get_blob(&repository, &digest).await.expect(200).body, bytes);
    user.client().get("/api/v2.0/users/current").await.expect(200);
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let bed = Bed::own(Options::default()).await;
    let output = bed.run(&["serve", "--listen", "127.0.0.1:0", "--ops-listen", "off"], "").await;
    assert!(!output.status.success(), "two servers share a data directory");
    bed.admin().client().get("/api/v2.0/users/current").await.expect(200);
}
