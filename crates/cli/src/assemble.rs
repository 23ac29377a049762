//! The composition root: the only place where domains are built and services are mounted.
//!
//! Every subcommand and the tests go through these functions, so there is one wiring and no other.

use std::sync::Arc;

use anyhow::Context;
use blobstore::BlobStore;
use catalog::Catalog;
use database::{Clock, Database};
use identity::Identity;
use sealed::{Keyring, Secret};
use serve::Mount;
use tenancy::Tenancy;
use worker::Worker;

use crate::exit::{Exit, Failure};
use crate::role::Role;
use crate::settings::{Driver, Settings};

/// What the domains stand on. Not in the settings, because `hythe serve` makes it itself.
pub struct Ground {
    /// URL of the runtime role, of a database with the current schema.
    pub database_url: String,
    /// The 32 bytes that seal stored secrets.
    pub master_key: Secret,
    pub clock: Clock,
}

/// A handle to everything below the services. Handles are cheap: all of them are built for every role.
#[derive(Clone)]
pub struct Domains {
    pub database: Database,
    pub store: BlobStore,
    pub identity: Identity,
    pub tenancy: Tenancy,
    pub catalog: Catalog,
}

/// Connects and builds the domains. Starts no task; see [`crate::platform`].
pub async fn domains(settings: &Settings, ground: Ground) -> Result<Domains, Failure> {
    let database = Database::connect(&ground.database_url, &settings.database, ground.clock.clone())
        .await
        .context("the database cannot be reached")?;
    let store = store(settings, &database).await?;
    Ok(domains_on(settings, database, store, ground.master_key, ground.clock).await?)
}

/// The domains over a database and a store that are there already.
pub async fn domains_on(
    settings: &Settings,
    database: Database,
    store: BlobStore,
    master_key: Secret,
    clock: Clock,
) -> anyhow::Result<Domains> {
    let identity = identity(settings, &database, master_key, clock).await?;
    let tenancy = Tenancy::new(database.clone(), identity.clone(), settings.tenancy.clone());
    let catalog = Catalog::new(database.clone(), store.clone(), tenancy.clone(), settings.catalog.clone());
    Ok(Domains { database, store, identity, tenancy, catalog })
}

/// Accounts and keys alone, for commands that need no store.
pub async fn identity(
    settings: &Settings,
    database: &Database,
    master_key: Secret,
    clock: Clock,
) -> anyhow::Result<Identity> {
    let keyring = Keyring::load(master_key, database).await.context("the stored secrets cannot be opened")?;
    Identity::new(database.clone(), keyring, settings.identity.clone(), clock)
        .await
        .context("accounts and signing keys cannot be loaded")
}

async fn store(settings: &Settings, database: &Database) -> Result<BlobStore, Failure> {
    let unusable =
        |error: blobstore::Error, what| Failure::new(Exit::Storage, anyhow::Error::new(error).context(what));
    if settings.storage.driver == Driver::S3 {
        return BlobStore::s3(&settings.storage.s3)
            .map_err(|error| unusable(error, "the blob store in the bucket cannot be used"));
    }
    let remembered = || "what is known of the blob store cannot be read from the database or written to it";
    let record = catalog::store_record(database).await.with_context(remembered)?;
    let filesystem = &settings.storage.filesystem;
    let config = blobstore::Config {
        roots: settings.blob_roots(),
        reserve_mib: filesystem.reserve_mib,
        fsync: filesystem.fsync,
        verify_reads: filesystem.verify_reads,
    };
    let store = BlobStore::filesystem(&config, &record)
        .map_err(|error| unusable(error, "the blob store cannot be opened"))?;
    catalog::record_store_roots(database, store.roots()).await.with_context(remembered)?;
    Ok(store)
}

/// The services of these roles that answer HTTP. `serve` puts them in order and refuses overlaps.
pub fn mounts(roles: &[Role], domains: &Domains, settings: &Settings) -> Vec<Mount> {
    roles.iter().filter_map(|role| mount(*role, domains, settings)).collect()
}

fn mount(role: Role, domains: &Domains, settings: &Settings) -> Option<Mount> {
    let Domains { database, identity, tenancy, catalog, store, .. } = domains.clone();
    let external_url = settings.http.external_url.clone();
    let name = role.name();
    Some(match role {
        Role::Registry => {
            let config = registry::Config { external_url, ..settings.registry.clone() };
            let service = registry::Registry::new(catalog, tenancy, identity, config);
            Mount {
                name,
                prefixes: registry::PREFIXES,
                configure: Arc::new(move |config| service.configure(config)),
            }
        }
        Role::Auth => {
            let service = auth::Auth::new(identity, tenancy);
            Mount {
                name,
                prefixes: auth::PREFIXES,
                configure: Arc::new(move |config| service.configure(config)),
            }
        }
        Role::Projects => {
            let rooms = store.clone();
            let config = projects::Config {
                external_url,
                storage_name: store.name().to_owned(),
                storage_room: Arc::new(move || {
                    let room =
                        |free: blobstore::Free| projects::Room { total: free.total_bytes, free: free.bytes };
                    rooms.free().into_iter().map(room).collect()
                }),
                storage_probe: Arc::new(move || {
                    let store = store.clone();
                    Box::pin(async move { store.probe().await.is_ok() })
                }),
            };
            let service = projects::Projects::new(identity, tenancy, catalog, config);
            Mount {
                name,
                prefixes: projects::PREFIXES,
                configure: Arc::new(move |config| service.configure(config)),
            }
        }
        Role::Console => {
            let password = crate::data_dir::admin_password_file(&settings.data_dir);
            let first_password = Arc::new(move || password.exists());
            let rooms = store.clone();
            let platform = console::Platform {
                jobs: queue::History::new(database),
                storage_name: store.name().to_owned(),
                storage_room: Arc::new(move || {
                    let room =
                        |free: blobstore::Free| console::Room { total: free.total_bytes, free: free.bytes };
                    rooms.free().into_iter().map(room).collect()
                }),
                storage_probe: Arc::new(move || {
                    let store = store.clone();
                    Box::pin(async move { store.probe().await.is_ok() })
                }),
                api: console::Api::new(projects::openapi_document),
            };
            let config = console::Config { external_url, first_password };
            let service = console::Console::new(identity, tenancy, catalog, config).on(platform);
            Mount {
                name,
                prefixes: console::PREFIXES,
                configure: Arc::new(move |config| service.configure(config)),
            }
        }
        Role::Worker => return None,
    })
}

/// The worker of this process.
pub fn worker(domains: &Domains, settings: &Settings) -> anyhow::Result<Worker> {
    let runner = queue::Runner::new(domains.database.clone(), settings.worker.clone());
    Worker::new(runner, &domains.identity, &domains.tenancy, &domains.catalog)
        .context("the roster has a wrong schedule")
}

/// One endpoint of the platform: which role answers it and what it is called there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub role: Role,
    pub id: &'static str,
    pub method: &'static str,
    /// Template with `{placeholders}`.
    pub path: &'static str,
}

/// Every endpoint there is, from the very tables that register the handlers.
pub fn routes() -> Vec<Route> {
    let registry = registry::ROUTES.iter().map(|route| Route {
        role: Role::Registry,
        id: route.id,
        method: route.method,
        path: route.path,
    });
    let auth = auth::routes::ROUTES.iter().map(|route| Route {
        role: Role::Auth,
        id: route.id,
        method: route.method,
        path: route.path,
    });
    let projects = projects::ROUTES.iter().map(|route| Route {
        role: Role::Projects,
        id: route.id,
        method: route.method,
        path: route.path,
    });
    let console = console::ROUTES.iter().map(|route| Route {
        role: Role::Console,
        id: route.id,
        method: route.method,
        path: route.path,
    });
    registry.chain(auth).chain(projects).chain(console).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_route_lies_below_its_services_prefix_and_stands_once() {
        let routes = routes();
        let distinct: HashSet<_> = routes.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(distinct.len(), routes.len());
        for role in [Role::Registry, Role::Auth, Role::Projects, Role::Console] {
            assert!(routes.iter().any(|route| route.role == role), "{role:?}");
        }
        for route in routes {
            let prefixes = match route.role {
                Role::Registry => registry::PREFIXES,
                Role::Auth => auth::PREFIXES,
                Role::Projects => projects::PREFIXES,
                Role::Console => console::PREFIXES,
                Role::Worker => &[],
            };
            assert!(prefixes.iter().any(|prefix| route.path.starts_with(prefix)), "{route:?}");
        }
    }
}
