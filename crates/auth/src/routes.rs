//! The table of endpoints. It registers the handlers, so no route exists outside it.

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpResponse, Resource, web};

use crate::{answer, token};

/// One endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Name of the operation.
    pub id: &'static str,
    pub method: &'static str,
    pub path: &'static str,
}

macro_rules! table {
    ($($path:literal { $($id:literal $method:literal $handler:path;)* })*) => {
        /// All endpoints of the token service.
        pub const ROUTES: &[Route] = &[$($(Route { id: $id, method: $method, path: $path },)*)*];

        /// One resource per path; a method that is not in the table is answered 405 with the ones that are.
        pub(crate) fn resources() -> Vec<Resource> {
            vec![$({
                let resource = web::resource(relative($path));
                $(let resource = resource.route(web::method(method($method)).to($handler));)*
                let allowed: &'static [&'static str] = &[$($method),*];
                resource.default_service(web::to(move || refuse_method(allowed)))
            }),*]
        }
    };
}

table! {
    "/service/token" {
        "token_get" "GET" token::get;
        "token_post" "POST" token::post;
    }
    "/service/jwks" {
        "jwks_get" "GET" token::jwks;
    }
    "/service/certificates" {
        "certificates_get" "GET" token::certificates;
    }
}

/// The path below the scope this service is mounted in.
fn relative(path: &'static str) -> &'static str {
    path.strip_prefix("/service").unwrap_or(path)
}

fn method(name: &'static str) -> Method {
    match name {
        "POST" => Method::POST,
        _ => Method::GET,
    }
}

async fn refuse_method(allowed: &'static [&'static str]) -> HttpResponse {
    let mut response = answer::Refusal::method_not_allowed().response();
    if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_lies_below_a_prefix_and_has_a_method_the_table_knows() {
        for route in ROUTES {
            assert!(crate::PREFIXES.contains(&route.path), "{}", route.path);
            assert_eq!(method(route.method).as_str(), route.method);
        }
    }
}
