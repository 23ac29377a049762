//! Paths that are no page: perhaps somebody pasted what they pull.

use actix_web::HttpResponse;

use crate::failure::Failure;
use crate::view::View;

/// The page of the image that the path names, when the viewer may see it; otherwise the page that says there is nothing.
pub(crate) async fn find(view: &View) -> HttpResponse {
    view.failed(&Failure::hidden())
}
