//! What only somebody on the machine can do: the platform's own accounts and keys, opened from its
//! data directory beside the running server. For acts that have no endpoint yet, and for tokens that
//! are wrong in everything but their signature.

use cli::settings::{self, Flags};
use database::embedded::Embedded;
use database::{Clock, Database};
use identity::{Caller, Identity, Origin, Principal, User, UserId};
use jsonwebtoken::EncodingKey;
use sealed::{Keyring, RowId, Sealed, Secret, Site};
use uuid::Uuid;

use crate::Bed;

/// The inside of a running platform.
pub struct Inside {
    pub database: Database,
    pub identity: Identity,
    keyring: Keyring,
}

impl Bed {
    /// Opens the inside. The server has to run.
    pub async fn inside(&self) -> Inside {
        let directory = self.data_directory();
        let flags = Flags { data_dir: Some(directory.clone()), ..Flags::default() };
        let loaded = settings::load(&flags).unwrap_or_else(|err| panic!("{err}"));
        let urls = Embedded::connect_existing(&directory).await.expect("the embedded database answers");
        let clock = Clock::system();
        let database = Database::connect(&urls.url, &loaded.settings.database, clock.clone())
            .await
            .expect("the database answers");
        let key = std::fs::read(loaded.settings.master_key_file()).expect("there is a master key");
        let identity = cli::assemble::identity(&loaded.settings, &database, Secret::new(key.clone()), clock)
            .await
            .expect("accounts and keys can be opened");
        let keyring = Keyring::load(Secret::new(key), &database).await.expect("the master key fits");
        Inside { database, identity, keyring }
    }
}

impl Inside {
    /// The private half of one of the platform's ES256 keys.
    pub async fn signing_key(&self, key_id: &str) -> EncodingKey {
        let (id, sealed): (Uuid, Vec<u8>) =
            sqlx::query_as("select id, private_sealed from identity.signing_keys where kid = $1")
                .bind(key_id)
                .fetch_one(self.database.pool())
                .await
                .expect("the key that signed a token has a row");
        let site = Site { table: "identity.signing_keys", column: "private_sealed", row: RowId::Uuid(id) };
        let Ok(private) = self.keyring.open(&site, &Sealed(sealed)) else {
            panic!("the key {key_id} does not open")
        };
        EncodingKey::from_ec_der(private.expose())
    }

    /// The first administrator, for methods that ask who calls.
    pub fn admin(&self) -> Caller {
        let user = User { id: UserId(1), name: "admin".to_owned(), sysadmin: true, epoch: 0, limits: None };
        Caller::new(Principal::User(user), Origin::default())
    }

    /// Lets all sessions have been used this long ago, or lets all of them have lived this long, as if time had passed.
    pub async fn age_sessions(&self, idle_minutes: i32, lived_minutes: i32) {
        sqlx::query(
            "update identity.sessions set last_seen_at = last_seen_at - make_interval(mins => $1),
                 created_at = created_at - make_interval(mins => $2),
                 expires_at = expires_at - make_interval(mins => $2)",
        )
        .bind(idle_minutes)
        .bind(lived_minutes)
        .execute(self.database.pool())
        .await
        .expect("sessions can be changed");
    }

    /// The account id of a user.
    pub async fn user_id(&self, name: &str) -> UserId {
        let account = self.identity.user_by_name(name).await.expect("accounts can be read");
        account.expect("the user exists").id
    }
}
