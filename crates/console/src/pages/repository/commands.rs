//! The commands that get something out of a repository, for the program that the viewer uses. Which one that is stays in
//! a cookie.

use actix_web::HttpResponse;

use crate::cookies::Kind;
use crate::failure::Failure;
use crate::view::{View, local};

/// A program that pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Docker,
    Podman,
    Nerdctl,
    Skopeo,
    Oras,
    Helm,
}

impl Client {
    const ALL: [Self; 6] = [Self::Docker, Self::Podman, Self::Nerdctl, Self::Skopeo, Self::Oras, Self::Helm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
            Self::Skopeo => "skopeo",
            Self::Oras => "oras",
            Self::Helm => "helm",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.name() == text)
    }

    /// Those that can do something with an artifact of this kind, the usual one first.
    fn for_kind(kind: &str) -> &'static [Self] {
        match kind {
            "IMAGE" => &[Self::Docker, Self::Podman, Self::Nerdctl, Self::Skopeo, Self::Oras],
            "CHART" => &[Self::Helm, Self::Oras],
            _ => &[Self::Oras, Self::Skopeo],
        }
    }
}

/// What the viewer chose here, else in the preferences; perhaps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    client: Option<Client>,
    by_digest: bool,
}

impl Choice {
    pub fn of(view: &View) -> Self {
        let choice = Self::parse(&view.choice(Kind::Client).unwrap_or_default());
        let preferred = || Client::parse(&view.signed_in.as_ref()?.preferences.client);
        Self { client: choice.client.or_else(preferred), ..choice }
    }

    fn parse(text: &str) -> Self {
        let (client, by) = text.split_once('.').unwrap_or((text, ""));
        Self { client: Client::parse(client), by_digest: by == "digest" }
    }

    fn encode(self) -> String {
        let by = if self.by_digest { "digest" } else { "tag" };
        format!("{}.{by}", self.client.map_or("", Client::name))
    }

    /// The chosen program where it fits, otherwise the usual one.
    fn client(self, kind: &str) -> Client {
        let fit = Client::for_kind(kind);
        self.client.filter(|client| fit.contains(client)).or(fit.first().copied()).unwrap_or(Client::Oras)
    }
}

/// Something that can be pulled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub host: &'a str,
    /// With the project.
    pub path: &'a str,
    pub tag: Option<&'a str>,
    pub digest: &'a str,
    pub kind: &'a str,
}

impl Target<'_> {
    /// The reference, pinned to the digest or not. Without a tag there is only the digest.
    pub fn reference(&self, by_digest: bool) -> String {
        match self.tag.filter(|_| !by_digest) {
            Some(tag) => format!("{}/{}:{tag}", self.host, self.path),
            None => format!("{}/{}@{}", self.host, self.path, self.digest),
        }
    }

    fn text(&self, client: Client, by_digest: bool) -> String {
        let reference = self.reference(by_digest);
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let local = self.tag.map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"));
        match client {
            Client::Docker => format!("docker pull {reference}"),
            Client::Podman => format!("podman pull {reference}"),
            Client::Nerdctl => format!("nerdctl pull {reference}"),
            Client::Skopeo => format!("skopeo copy docker://{reference} oci:{local}"),
            Client::Oras if self.kind == "IMAGE" => format!("oras copy {reference} --to-oci-layout {local}"),
            Client::Oras => format!("oras pull {reference}"),
            Client::Helm => match self.tag.filter(|_| !by_digest) {
                // A tag cannot hold the plus sign of a version; helm writes it as an underscore.
                Some(tag) => {
                    format!("helm pull oci://{}/{} --version {}", self.host, self.path, tag.replace('_', "+"))
                }
                None => format!("helm pull oci://{reference}"),
            },
        }
    }
}

/// The command with the programs to choose from.
pub(crate) struct Card {
    pub text: String,
    /// With whether it is the one shown.
    pub clients: Vec<(&'static str, bool)>,
    /// Nothing when there is no choice.
    pub by_digest: Option<bool>,
}

impl Card {
    pub fn new(choice: Choice, target: &Target<'_>) -> Self {
        let chosen = choice.client(target.kind);
        let clients = Client::for_kind(target.kind);
        Self {
            text: target.text(chosen, choice.by_digest),
            clients: clients.iter().map(|client| (client.name(), *client == chosen)).collect(),
            by_digest: target.tag.map(|_| choice.by_digest),
        }
    }
}

/// The command alone, for rows of a list.
pub(crate) fn command(choice: Choice, target: &Target<'_>) -> String {
    target.text(choice.client(target.kind), choice.by_digest)
}

pub(crate) async fn choose(view: &mut View) -> Result<HttpResponse, Failure> {
    let form = view.form().await?;
    let mut choice = Choice::of(view);
    choice.client = Client::parse(form.text("client")).or(choice.client);
    if form.ticked("by") {
        choice.by_digest = form.text("by") == "digest";
    }
    view.set(Kind::Client, choice.encode());
    Ok(view.go(local(form.text("return"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Target<'_> = Target {
        host: "hythe.example",
        path: "team/back/api",
        tag: Some("1.10.0"),
        digest: "sha256:abc",
        kind: "IMAGE",
    };

    #[test]
    fn commands_are_those_of_the_programs() {
        for (choice, kind, expected) in [
            ("", "IMAGE", "docker pull hythe.example/team/back/api:1.10.0"),
            ("podman.tag", "IMAGE", "podman pull hythe.example/team/back/api:1.10.0"),
            ("docker.digest", "IMAGE", "docker pull hythe.example/team/back/api@sha256:abc"),
            ("skopeo.tag", "IMAGE", "skopeo copy docker://hythe.example/team/back/api:1.10.0 oci:api:1.10.0"),
            ("oras.tag", "IMAGE", "oras copy hythe.example/team/back/api:1.10.0 --to-oci-layout api:1.10.0"),
            // What does not fit the kind is left aside.
            ("helm.tag", "IMAGE", "docker pull hythe.example/team/back/api:1.10.0"),
            ("docker.tag", "CHART", "helm pull oci://hythe.example/team/back/api --version 1.10.0"),
            ("docker.tag", "CNAB", "oras pull hythe.example/team/back/api:1.10.0"),
        ] {
            assert_eq!(command(Choice::parse(choice), &Target { kind, ..IMAGE }), expected, "{choice}");
        }
        let chart = Target { kind: "CHART", tag: Some("1.0.0_build"), ..IMAGE };
        assert!(command(Choice::default(), &chart).ends_with("--version 1.0.0+build"));
    }

    #[test]
    fn choices_are_kept_as_they_were_made() {
        for text in ["docker.tag", "helm.digest", ".tag"] {
            assert_eq!(Choice::parse(text).encode(), text);
        }
        assert_eq!(Choice::parse("<script>.x"), Choice::default());
    }

    #[test]
    fn without_a_tag_there_is_only_the_digest() {
        let target = Target { tag: None, ..IMAGE };
        assert_eq!(command(Choice::default(), &target), "docker pull hythe.example/team/back/api@sha256:abc");
        assert_eq!(Card::new(Choice::default(), &target).by_digest, None);
    }
}
