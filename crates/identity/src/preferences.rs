//! How a person wants the console, kept with the account: the same in every browser.
//!
//! What the texts mean is the console's business. They come with every session, so reading them costs nothing; and they
//! are no acts, so the trail does not know of them.

use crate::Identity;
use crate::error::Error;
use crate::principal::User;

/// Letters of one choice at most.
const LETTERS_MAX: usize = 16;

/// The choices of a person. An empty text is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    pub language: String,
    pub theme: String,
    /// Rows on a page of a list; 0 is no choice.
    pub page_size: i32,
    /// The program whose commands are shown.
    pub client: String,
    /// Whether single keys do something.
    pub shortcuts: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            language: String::new(),
            theme: String::new(),
            page_size: 0,
            client: String::new(),
            shortcuts: true,
        }
    }
}

impl Identity {
    /// Keeps the choices of a person, in place of those before.
    ///
    /// # Errors
    /// `Invalid`.
    pub async fn preferences_set(&self, user: &User, chosen: &Preferences) -> Result<(), Error> {
        let texts = [&chosen.language, &chosen.theme, &chosen.client];
        let bad = |text: &&String| text.chars().count() > LETTERS_MAX || text.contains(char::is_control);
        if texts.iter().any(bad) || !(0..=100).contains(&chosen.page_size) {
            return Err(Error::Invalid("a preference has at most 16 letters, and a page at most 100 rows"));
        }
        sqlx::query!(
            "insert into identity.preferences (user_id, language, theme, page_size, client, shortcuts)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (user_id) do update set language = excluded.language, theme = excluded.theme,
                 page_size = excluded.page_size, client = excluded.client, shortcuts = excluded.shortcuts,
                 updated_at = now()",
            user.id.0,
            chosen.language,
            chosen.theme,
            chosen.page_size,
            chosen.client,
            chosen.shortcuts
        )
        .execute(self.0.database.pool())
        .await?;
        Ok(())
    }
}
