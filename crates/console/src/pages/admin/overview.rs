//! How the installation is doing, at a glance.

use actix_web::HttpResponse;
use askama::Template;
use tenancy::list::Query;
use tenancy::{ListUsers, Statistics, SystemPermit};

use crate::failure::Failure;
use crate::pages::admin::audit::refused_logins;
use crate::platform::Room;
use crate::shell::Shell;
use crate::view::View;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage {
    s: Shell,
    statistics: Statistics,
    users: i64,
    rooms: Vec<Room>,
    refused: i64,
    version: &'static str,
}

pub(crate) async fn show(view: &mut View) -> Result<HttpResponse, Failure> {
    let permit: SystemPermit<ListUsers> = view.sysadmin().await?;
    let statistics = view.state.tenancy.statistics(&view.caller).await?;
    let filter = identity::UserFilter { with_first: true, ..identity::UserFilter::default() };
    let one = Query { page_size: 1, ..Query::default() };
    let users = view.state.tenancy.user_list(&permit, &filter, &one).await?.total;
    let rooms = match &view.state.platform {
        Some(platform) => platform.rooms().await,
        None => Vec::new(),
    };
    let refused = refused_logins(view).await?;
    let s = view.shell("admin", view.t("admin-title"));
    let version = env!("CARGO_PKG_VERSION");
    view.page(&OverviewPage { s, statistics, users, rooms, refused, version })
}
