//! A small image, pushed whole: what a continuous integration job waits for.

use std::sync::Arc;

use anyhow::Result;

use crate::bench::{Bench, Plan};
use crate::cases::reads::CONNECTIONS;
use crate::load::{Sample, each};
use crate::registry::{Form, Image, PRIVATE, PUBLIC, Registry};
use crate::report::{Aim, Kind};

impl Bench {
    pub async fn images(&mut self) -> Result<()> {
        let one = "small image push, 5 requests, one after the other";
        self.push_images(one, PUBLIC, Form::TwoRequests, 1, &[Aim::P50Ms(10.0)]).await?;
        let docker = "small image push, docker's 9 requests, one after the other";
        self.push_images(docker, PUBLIC, Form::Docker, 1, &[]).await?;
        let many = format!("small image push, 5 requests, {CONNECTIONS} at a time");
        self.push_images(&many, PUBLIC, Form::TwoRequests, CONNECTIONS, &[]).await?;
        let limited = format!("{many}, project with a quota");
        self.push_images(&limited, PRIVATE, Form::TwoRequests, CONNECTIONS, &[]).await
    }

    /// Into a project of ours; the peer, which has no quotas, is asked only for the other one.
    async fn push_images(
        &mut self,
        name: &str,
        project: &'static str,
        form: Form,
        parallel: usize,
        aims: &'static [Aim],
    ) -> Result<()> {
        let rounds: Vec<Arc<Vec<Image>>> = (0..self.size.rounds)
            .map(|_| Arc::new((0..self.size.pushed_images).map(|_| Image::new(self.next_seed())).collect()))
            .collect();
        let plan = Plan { name: name.to_owned(), kind: Kind::Requests, aims, peer: project == PUBLIC };
        self.case(plan, async |registry, round| push(registry, project, &rounds[round], form, parallel).await)
            .await
    }
}

async fn push(
    registry: Registry,
    project: &str,
    images: &Arc<Vec<Image>>,
    form: Form,
    parallel: usize,
) -> Result<Sample> {
    let repository = format!("{project}/images");
    let authorization = registry.pusher(&mut registry.connect(), &repository).await?;
    let shared = Arc::new((repository, authorization));
    each(registry.address, images, parallel, move |mut connection, images, index| {
        let shared = shared.clone();
        async move {
            let (repository, authorization) = &*shared;
            let image = &images[index];
            let named = (&image.digest["sha256:".len()..][..20], image);
            registry.push_image(&mut connection, repository, authorization.as_deref(), named, form).await?;
            Ok((connection, 0))
        }
    })
    .await
}
