//! The state of a list: what is looked for, in which order, which page. All of it is in the address, so that a list can be
//! shared, kept and gone back to.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tenancy::list::{Query, Value};

use crate::form::Form;
use crate::shell::Shell;
use crate::view::{View, field};

/// Filters with the keys of their names.
const NAMES: [(&str, &str); 24] = [
    ("favourites", "favourites-title"),
    ("actor", "audit-actor"),
    ("operation", "audit-operation"),
    ("kind", "audit-kind"),
    ("resource", "audit-resource"),
    ("project", "audit-project"),
    ("result", "audit-result"),
    ("range", "audit-range"),
    ("from", "audit-from"),
    ("to", "audit-to"),
    ("admins", "users-admins-only"),
    ("status", "request-status"),
    ("show", "repository-show"),
    ("tag", "column-tag"),
    ("visibility", "column-visibility"),
    ("platform", "lists-platform"),
    ("label", "lists-label"),
    ("trust", "lists-trust"),
    ("pushed-from", "lists-pushed-from"),
    ("pushed-to", "lists-pushed-to"),
    ("pulled-from", "lists-pulled-from"),
    ("pulled-to", "lists-pulled-to"),
    ("idle", "lists-idle"),
    ("type", "repository-kind"),
];

/// Choices with the keys of what they are called; of one that is called nothing the filter's name says all.
const CHOICES: [(&str, &str, &str); 24] = [
    ("favourites", "yes", ""),
    ("type", "IMAGE", "repository-kind-image"),
    ("type", "CHART", "repository-kind-chart"),
    ("type", "WASM", "repository-kind-wasm"),
    ("type", "CNAI", "repository-kind-model"),
    ("type", "SBOM", "repository-kind-sbom"),
    ("type", "UNKNOWN", "repository-kind-other"),
    ("result", "done", "audit-done"),
    ("result", "refused", "audit-not-done"),
    ("range", "1h", "audit-range-hour"),
    ("range", "24h", "audit-range-day"),
    ("range", "7d", "audit-range-week"),
    ("range", "30d", "audit-range-month"),
    ("admins", "1", ""),
    ("status", "pending", "request-pending"),
    ("status", "approved", "request-approved"),
    ("status", "refused", "request-refused"),
    ("show", "tagged", "repository-show-tagged"),
    ("show", "untagged", "repository-show-untagged"),
    ("show", "all", "repository-show-all"),
    ("visibility", "public", "public"),
    ("visibility", "private", "private"),
    ("trust", "signed", "lists-signed"),
    ("trust", "unsigned", "lists-unsigned"),
];

/// Sizes of a page to choose from; the first is the usual one.
pub(crate) const SIZES: [i64; 3] = [25, 50, 100];

/// Nobody turns so many pages; further ones would only cost.
const PAGE_MAX: i64 = 1_000_000;

/// What the address says about a list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    path: String,
    /// What is looked for; empty for all.
    pub q: String,
    /// The key to sort by, one of those the page offers.
    pub sort: &'static str,
    pub descending: bool,
    pub page: i64,
    pub size: i64,
    /// The size that needs not be said.
    usual: i64,
    /// The order that needs not be said.
    usual_order: (&'static str, bool),
    /// Other parameters of the page that stay: filters.
    pub filters: Vec<(&'static str, String)>,
    /// Whether the list can be had as a file.
    pub files: bool,
    /// Rows over all pages, once they are known.
    pub total: i64,
}

impl List {
    /// `sorts` are the keys offered, the first of which is the usual one; a key with `-` before it descends at first.
    pub fn of(view: &View, sorts: &[&'static str], filters: &[&'static str]) -> Self {
        let asked = view.query("sort").unwrap_or_default();
        let (asked, down) = asked.strip_prefix('-').map_or((asked.as_str(), false), |key| (key, true));
        let usual = sorts.first().copied().unwrap_or_default();
        let usual_order = (usual.trim_start_matches('-'), usual.starts_with('-'));
        let (sort, descending) = sorts
            .iter()
            .map(|key| key.trim_start_matches('-'))
            .find(|key| *key == asked)
            .map_or(usual_order, |key| (key, down));
        let number = |name: &str| view.query(name).and_then(|text| text.parse::<i64>().ok());
        let chosen = view.page_size();
        let usual = if SIZES.contains(&chosen) { chosen } else { SIZES[0] };
        Self {
            usual,
            usual_order,
            path: view.path().to_owned(),
            q: view.query("q").unwrap_or_default(),
            sort,
            descending,
            page: number("page").unwrap_or(1).clamp(1, PAGE_MAX),
            size: number("size").filter(|size| SIZES.contains(size)).unwrap_or(usual),
            filters: filters.iter().filter_map(|name| Some((*name, view.query(name)?))).collect(),
            files: false,
            total: 0,
        }
    }

    /// The same from the fields of a form, for what is done with everything that a list lets through.
    pub fn from_form(view: &View, form: &Form, filters: &[&'static str]) -> Self {
        let value = |name: &str| Some(form.text(name).to_owned()).filter(|value| !value.is_empty());
        Self {
            q: form.text("q").to_owned(),
            filters: filters.iter().filter_map(|name| Some((*name, value(name)?))).collect(),
            ..Self::of(view, &[], &[])
        }
    }

    /// The query for a domain: names that contain `q`, under the key `name`.
    pub fn query(&self, name: &str) -> Query {
        let mut terms = Vec::new();
        if !self.q.is_empty() {
            terms.push((name.to_owned(), Value::Fuzzy(self.q.clone())));
        }
        Query {
            terms,
            sort: vec![(self.sort.to_owned(), self.descending)],
            page: self.page,
            page_size: self.size,
        }
    }

    /// The value of a filter.
    pub fn filter(&self, name: &str) -> &str {
        self.filters.iter().find(|(filter, _)| *filter == name).map_or("", |(_, value)| value)
    }

    /// Whether something is looked for, so that an empty page is not an empty list.
    pub fn narrowed(&self) -> bool {
        !self.q.is_empty() || !self.filters.is_empty()
    }

    /// Number of the first row on this page, from 1; 0 on an empty one.
    pub fn first(&self) -> i64 {
        if self.total == 0 { 0 } else { (self.page - 1) * self.size + 1 }
    }

    /// Number of the last row on this page.
    pub fn last(&self) -> i64 {
        (self.page * self.size).min(self.total)
    }

    pub fn has_before(&self) -> bool {
        self.page > 1
    }

    pub fn has_after(&self) -> bool {
        self.page * self.size < self.total
    }

    /// This list at another page.
    pub fn at(&self, page: i64) -> String {
        Self { page, ..self.clone() }.address()
    }

    pub fn before(&self) -> String {
        self.at(self.page - 1)
    }

    pub fn after(&self) -> String {
        self.at(self.page + 1)
    }

    /// This list in the order of another column, or the other way round when it has that order.
    pub fn by(&self, sort: &'static str) -> String {
        let descending = sort == self.sort && !self.descending;
        Self { sort, descending, page: 1, ..self.clone() }.address()
    }

    /// This list in this order, whatever it has now.
    pub fn ordered(&self, sort: &'static str, descending: bool) -> String {
        Self { sort, descending, page: 1, ..self.clone() }.address()
    }

    /// This list with another filter of this name; an empty value takes the filter away.
    pub fn with(&self, name: &'static str, value: &str) -> String {
        let mut filters = self.filters.clone();
        filters.retain(|(filter, _)| *filter != name);
        if !value.is_empty() {
            filters.push((name, value.to_owned()));
        }
        Self { filters, page: 1, ..self.clone() }.address()
    }

    /// For `aria-sort`.
    pub fn order(&self, sort: &str) -> &'static str {
        match (sort == self.sort, self.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }

    /// What this list lets through, for another page.
    pub fn inside(&self, path: &str, more: &[(&'static str, &str)]) -> String {
        let mut other = Self { path: path.to_owned(), page: 1, ..self.clone() };
        (other.sort, other.descending) = other.usual_order;
        other.size = other.usual;
        other.filters.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        other.address()
    }

    /// This list without what narrows it.
    pub fn cleared(&self) -> String {
        Self { q: String::new(), filters: Vec::new(), page: 1, ..self.clone() }.address()
    }

    /// Where the list is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// This list with pages of another size; the usual one is not said, so that it is that of whoever opens the address.
    pub fn sized(&self, size: &i64) -> String {
        Self { size: *size, page: 1, ..self.clone() }.address()
    }

    /// This list with pages of the usual size.
    pub fn usual_size(&self) -> String {
        Self { size: self.usual, page: 1, ..self.clone() }.address()
    }

    pub fn sizes(&self) -> [i64; 3] {
        SIZES
    }

    /// What a form that narrows the list sends besides its own fields: order and size.
    pub fn kept(&self) -> Vec<(&'static str, String)> {
        let mut kept = Vec::new();
        if (self.sort, self.descending) != self.usual_order {
            kept.push(("sort", format!("{}{}", if self.descending { "-" } else { "" }, self.sort)));
        }
        if self.size != self.usual {
            kept.push(("size", self.size.to_string()));
        }
        kept
    }

    /// What the list is narrowed by, in words, each with this list without it.
    pub fn chips(&self, s: &Shell) -> Vec<(String, String)> {
        let mut chips = Vec::new();
        if !self.q.is_empty() {
            let without = Self { q: String::new(), page: 1, ..self.clone() };
            chips.push((s.about("lists-contains", self.q.as_str()), without.address()));
        }
        for (filter, value) in &self.filters {
            let name = NAMES
                .iter()
                .find(|(name, _)| name == filter)
                .map_or((*filter).to_owned(), |(_, key)| s.t(key));
            let choice = CHOICES.iter().find(|(name, choice, _)| name == filter && choice == value);
            let text = match choice {
                Some((.., "")) => name,
                Some((.., key)) => s.both("lists-chip", name, s.t(key)),
                None => s.both("lists-chip", name, value.as_str()),
            };
            chips.push((text, self.with(filter, "")));
        }
        chips
    }

    /// Whether a list at this query was narrowed by what narrows this one.
    pub fn narrows(&self, query: &str) -> bool {
        ["q"]
            .into_iter()
            .chain(self.filters.iter().map(|(name, _)| *name))
            .any(|name| field(query, name).is_some())
    }

    /// The list as an address: what is as usual is not said.
    pub fn address(&self) -> String {
        let mut pairs = vec![("q", self.q.clone())];
        pairs.extend(self.kept());
        if self.page > 1 {
            pairs.push(("page", self.page.to_string()));
        }
        pairs.extend(self.filters.iter().cloned());
        let query: Vec<String> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }
}
