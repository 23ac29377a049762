//! Manifests and blob metadata, by far the most frequent requests of a registry.

use std::sync::Arc;

use anyhow::Result;

use crate::bench::{Bench, Plan};
use crate::http::Head;
use crate::load::{Limit, Repeated, hammer};
use crate::registry::{Form, Image, PRIVATE, PUBLIC, Registry, blob_path, manifest_request};
use crate::report::{Aim, Kind};

/// Connections that send requests at the same time.
pub const CONNECTIONS: usize = 8;

/// Makes a request from a repository, a tag, the image behind it, and the `Authorization`.
type Ask = fn(&str, &str, &Image, Option<&str>) -> Head;

/// What is read: a title and how to ask for it.
const READS: &[(&str, Ask)] = &[
    ("manifest GET by tag", |repository, tag, _, authorization| {
        manifest_request("GET", repository, tag, authorization)
    }),
    ("manifest GET by digest", |repository, _, image, authorization| {
        manifest_request("GET", repository, &image.digest, authorization)
    }),
    ("manifest HEAD by tag", |repository, tag, _, authorization| {
        manifest_request("HEAD", repository, tag, authorization)
    }),
    ("manifest HEAD by digest", |repository, _, image, authorization| {
        manifest_request("HEAD", repository, &image.digest, authorization)
    }),
    ("blob HEAD", |repository, _, image, authorization| {
        Head::new("HEAD", &blob_path(repository, &image.layer.0), authorization, &[], None)
    }),
];

impl Bench {
    pub async fn reads(&mut self) -> Result<()> {
        let images: Vec<(String, Image)> =
            (0..self.size.read_images).map(|n| (format!("v{n}"), Image::new(self.next_seed()))).collect();
        let (public, private) = (format!("{PUBLIC}/reads"), format!("{PRIVATE}/reads"));
        for registry in self.both() {
            push_all(registry, &public, &images).await?;
        }
        push_all(self.ours, &private, &images).await?;

        let run = Limit::For(self.size.run);
        for (title, request) in READS {
            let plan = Plan {
                name: format!("{title}, {CONNECTIONS} connections"),
                kind: Kind::Requests,
                aims: &[Aim::TimesPeer(3.0)],
                peer: true,
            };
            self.case(plan, async |registry, _| {
                let authorization = registry.puller(&mut registry.connect(), &public).await?;
                let requests =
                    all(&images, |tag, image| request(&public, tag, image, authorization.as_deref()));
                hammer(registry.address, &requests, CONNECTIONS, run).await
            })
            .await?;
        }
        for (title, request) in READS {
            let plan = Plan {
                name: format!("{title}, private project, signed in"),
                kind: Kind::Requests,
                aims: &[],
                peer: false,
            };
            self.case(plan, async |registry, _| {
                let authorization = registry.pusher(&mut registry.connect(), &private).await?;
                let requests =
                    all(&images, |tag, image| request(&private, tag, image, authorization.as_deref()));
                hammer(registry.address, &requests, CONNECTIONS, run).await
            })
            .await?;
        }
        Ok(())
    }
}

fn all(images: &[(String, Image)], head: impl Fn(&str, &Image) -> Head) -> Arc<Vec<Repeated>> {
    Arc::new(images.iter().map(|(tag, image)| Repeated { head: head(tag, image), status: 200 }).collect())
}

async fn push_all(registry: Registry, repository: &str, images: &[(String, Image)]) -> Result<()> {
    let mut connection = registry.connect();
    let authorization = registry.pusher(&mut connection, repository).await?;
    for (tag, image) in images {
        let named = (tag.as_str(), image);
        registry
            .push_image(&mut connection, repository, authorization.as_deref(), named, Form::TwoRequests)
            .await?;
    }
    Ok(())
}
