//! The documentation, embedded and readable without a network. It is written in English alone.

pub(crate) mod api;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use askama::Template;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use crate::failure::Failure;
use crate::shell::Shell;
use crate::view::View;

/// Name in addresses, and source.
const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/documents.rs"));

/// One page of the documentation.
struct Document {
    name: &'static str,
    title: String,
    /// Its first paragraph.
    summary: String,
    html: String,
    /// In lower case, for looking something up.
    text: String,
}

static DOCUMENTS: LazyLock<Vec<Document>> =
    LazyLock::new(|| SOURCES.iter().map(|(name, source)| Document::read(name, source)).collect());

/// Where a link of a document leads in the console: another document, or elsewhere. Files of the source tree are not
/// here, so what names them is text.
fn target(link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with('#') {
        return Some(link.to_owned());
    }
    let (path, anchor) = link.split_once('#').map_or((link, ""), |(path, anchor)| (path, anchor));
    let name = path.trim_start_matches("docs/").strip_suffix(".md")?.to_lowercase();
    let hash = if anchor.is_empty() { "" } else { "#" };
    let name = if name == "api" { "rest-api".to_owned() } else { name };
    SOURCES.iter().any(|(known, _)| *known == name).then(|| format!("/docs/{name}{hash}{anchor}"))
}

/// The anchor of a heading, as other readers of Markdown make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

impl Document {
    /// The first heading becomes the title of the page; the others keep their level, or go one down.
    fn read(name: &'static str, source: &str) -> Self {
        let events: Vec<Event<'_>> = Parser::new_ext(source, Options::ENABLE_TABLES).collect();
        let words = |events: &[Event<'_>]| {
            let word = |event: &Event<'_>| match event {
                Event::Text(text) | Event::Code(text) => text.to_string(),
                Event::SoftBreak | Event::HardBreak => " ".to_owned(),
                _ => String::new(),
            };
            events.iter().map(word).collect::<String>()
        };
        let until = |from: usize, end: TagEnd| {
            let rest = events.get(from..).unwrap_or_default();
            from + rest.iter().position(|event| *event == Event::End(end)).unwrap_or(rest.len())
        };
        let (mut title, mut summary, mut open_links) = (String::new(), String::new(), Vec::new());
        let mut shown: Vec<Event<'_>> = Vec::with_capacity(events.len());
        let mut position = 0;
        while let Some(event) = events.get(position) {
            match event {
                Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) if title.is_empty() => {
                    let end = until(position, TagEnd::Heading(HeadingLevel::H1));
                    title = words(&events[position..end]);
                    position = end;
                }
                Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
                    let end = until(position, TagEnd::Heading(*level));
                    let id = anchor(&words(&events[position..end]));
                    shown.push(Event::Start(Tag::Heading {
                        level: lowered(*level),
                        id: Some(CowStr::from(id)),
                        classes: classes.clone(),
                        attrs: attrs.clone(),
                    }));
                }
                Event::End(TagEnd::Heading(level)) => {
                    shown.push(Event::End(TagEnd::Heading(lowered(*level))))
                }
                Event::Start(Tag::Paragraph) if summary.is_empty() => {
                    summary = words(&events[position..until(position, TagEnd::Paragraph)]);
                    shown.push(event.clone());
                }
                Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                    let leads = target(dest_url);
                    open_links.push(leads.is_some());
                    if let Some(leads) = leads {
                        shown.push(Event::Start(Tag::Link {
                            link_type: *link_type,
                            dest_url: CowStr::from(leads),
                            title: title.clone(),
                            id: id.clone(),
                        }));
                    }
                }
                Event::End(TagEnd::Link) => {
                    if open_links.pop() == Some(true) {
                        shown.push(event.clone());
                    }
                }
                Event::Html(text) | Event::InlineHtml(text) => shown.push(Event::Text(text.clone())),
                other => shown.push(other.clone()),
            }
            position += 1;
        }
        let mut page = String::new();
        html::push_html(&mut page, shown.into_iter());
        Self { name, title, summary, html: framed(&page), text: source.to_lowercase() }
    }
}

fn lowered(level: HeadingLevel) -> HeadingLevel {
    if level == HeadingLevel::H1 { HeadingLevel::H2 } else { level }
}

/// Tables and listings that can be scrolled with the keyboard, and nothing that the content policy refuses.
fn framed(page: &str) -> String {
    page.replace(" style=\"text-align: right\"", " class=\"num\"")
        .replace(" style=\"text-align: center\"", "")
        .replace(" style=\"text-align: left\"", "")
        .replace("<th>", "<th scope=\"col\">")
        .replace("<th class", "<th scope=\"col\" class")
        .replace("<table>", "<div class=\"tbl\" tabindex=\"0\"><table>")
        .replace("</table>", "</table></div>")
        .replace("<pre>", "<pre class=\"log\" tabindex=\"0\">")
        .replace("<a href=\"http", "<a rel=\"noopener nofollow\" href=\"http")
}

#[derive(Template)]
#[template(path = "docs/list.html")]
struct ListPage {
    s: Shell,
    q: String,
    documents: Vec<&'static Document>,
    has_api: bool,
}

pub(crate) async fn list(view: &mut View) -> Result<HttpResponse, Failure> {
    let q = view.query("q").unwrap_or_default();
    let wanted = q.to_lowercase();
    let documents = DOCUMENTS.iter().filter(|document| document.text.contains(&wanted)).collect();
    let has_api = view.state.platform.is_some();
    view.page(&ListPage { s: view.shell("docs", view.t("docs-title")), q, documents, has_api })
}

#[derive(Template)]
#[template(path = "docs/one.html")]
struct DocumentPage {
    s: Shell,
    document: &'static Document,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let name = view.segment("document");
    let document = DOCUMENTS.iter().find(|document| document.name == name).ok_or_else(Failure::hidden)?;
    let s = view.shell("docs", document.title.clone()).crumb(view.t("docs-title"), "/docs");
    view.page(&DocumentPage { s, document })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_can_be_read() {
        assert!(DOCUMENTS.len() > 5);
        for document in DOCUMENTS.iter() {
            assert!(!document.title.is_empty() && !document.summary.is_empty(), "{}", document.name);
            assert!(
                !document.html.contains("<h1") && !document.html.contains(" style="),
                "{}",
                document.name
            );
        }
    }

    #[test]
    fn links_lead_to_documents_or_elsewhere_or_nowhere() {
        for (link, expected) in [
            ("API.md", Some("/docs/rest-api")),
            ("API.md#errors", Some("/docs/rest-api#errors")),
            ("docs/CLI.md", Some("/docs/cli")),
            ("https://example.com/a", Some("https://example.com/a")),
            ("#here", Some("#here")),
            ("../deploy/config/hythe.default.yaml", None),
            ("decisions/a.md", None),
            ("javascript:alert(1)", None),
        ] {
            assert_eq!(target(link).as_deref(), expected, "{link}");
        }
        assert_eq!(anchor("The `q` grammar, at last"), "the-q-grammar-at-last");
    }

    #[test]
    fn markup_of_others_is_text() {
        let read = Document::read(
            "x",
            "# A `b`\n\nFirst *words*.\n\n# More\n\n<b>x</b> [f](../f.rs)\n\n|a|b|\n|-|-:|\n|1|2|\n",
        );
        assert_eq!((read.title.as_str(), read.summary.as_str()), ("A b", "First words."));
        assert!(
            read.html.contains("<h2 id=\"more\">More</h2>") && read.html.contains("&lt;b&gt;"),
            "{}",
            read.html
        );
        assert!(
            !read.html.contains("<a ") && read.html.contains("<td class=\"num\">2</td>"),
            "{}",
            read.html
        );
    }
}
