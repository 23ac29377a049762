//! What pages say, in every language there is: `web/locales/*/*.ftl`, embedded.

use std::borrow::Cow;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

/// A language that the console speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// As in `lang` of HTML.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// Its name in itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// The language with this tag, regions and scripts aside.
    pub fn parse(tag: &str) -> Option<Self> {
        match tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The first language of an `Accept-Language` header that is spoken here. Browsers send them in order.
    pub fn accepted(header: &str) -> Option<Self> {
        header.split(',').find_map(|part| Self::parse(part.split(';').next().unwrap_or_default().trim()))
    }

    fn bundle(self) -> &'static FluentBundle<FluentResource> {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }

    /// The text of a key. A key that is missing shows as itself; a test sees to it that none is.
    pub fn text(self, key: &str, args: &[(&'static str, Value<'_>)]) -> String {
        let bundle = self.bundle();
        let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else {
            return key.to_owned();
        };
        let mut named = FluentArgs::with_capacity(args.len());
        for (name, value) in args {
            named.set(*name, value.fluent());
        }
        let mut errors = Vec::new();
        bundle.format_pattern(pattern, Some(&named), &mut errors).into_owned()
    }
}

/// What stands in a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    /// Decides between singular and plural; shown as the text beside it, grouped.
    Number(i64),
}

impl Value<'_> {
    fn fluent(&self) -> FluentValue<'_> {
        match self {
            Self::Text(text) => FluentValue::from(text.as_ref()),
            Self::Number(number) => FluentValue::from(*number),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&i64> for Value<'_> {
    fn from(number: &i64) -> Self {
        Self::Number(*number)
    }
}

impl From<&usize> for Value<'_> {
    fn from(number: &usize) -> Self {
        Self::from(*number)
    }
}

impl From<usize> for Value<'_> {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Every file of a language, by part of the console.
macro_rules! sources {
    ($tag:literal) => {
        [
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/frame.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/repository.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/project.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/admin.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/me.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/changes.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/usage.ftl")),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/locales/", $tag, "/lists.ftl")),
        ]
    };
}

static ENGLISH: LazyLock<FluentBundle<FluentResource>> = LazyLock::new(|| bundle("en", &sources!("en")));
static CHINESE: LazyLock<FluentBundle<FluentResource>> =
    LazyLock::new(|| bundle("zh-CN", &sources!("zh-CN")));

fn bundle(tag: &str, sources: &[&str]) -> FluentBundle<FluentResource> {
    let language: LanguageIdentifier = tag.parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![language]);
    // Marks around placeholders would get into what people copy.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(|value, _| match value {
        FluentValue::Number(number) => Some(crate::format::number(number.value as i64)),
        _ => None,
    }));
    for source in sources {
        // What a file of ours gets wrong is left out here and found by the tests.
        let resource = FluentResource::try_new((*source).to_owned()).unwrap_or_else(|(resource, _)| resource);
        let _ = bundle.add_resource(resource);
    }
    bundle
}

#[cfg(test)]
mod tests;
