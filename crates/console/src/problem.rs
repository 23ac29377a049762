//! What is wrong with a form that was sent: one field and one sentence, shown above the form and at the field.

use crate::failure::Failure;

/// Nothing by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problem(Option<(&'static str, String)>);

impl Problem {
    /// `field` is the id of the field that has to be mended.
    pub fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self(Some((field, text.into())))
    }

    /// What a domain refused, in its own words.
    ///
    /// # Errors
    /// The failure itself, when no change of the form would mend it.
    pub fn of(field: &'static str, failure: Failure) -> Result<Self, Failure> {
        if failure.is_about_input() && !failure.detail.is_empty() {
            Ok(Self::new(field, failure.detail))
        } else {
            Err(failure)
        }
    }

    pub fn is(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it is about this field.
    pub fn at(&self, field: &str) -> bool {
        self.0.as_ref().is_some_and(|(wrong, _)| *wrong == field)
    }

    pub fn field(&self) -> &'static str {
        self.0.as_ref().map_or("", |(field, _)| field)
    }

    pub fn text(&self) -> &str {
        self.0.as_ref().map_or("", |(_, text)| text)
    }
}
