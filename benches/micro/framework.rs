//! What the frameworks cost by themselves: one answer made by a bare function, by the same function behind two tower
//! layers, and by an axum router, whose fallback the proxied path would be and whose routes the gateway's own are.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use divan::Bencher;
use futures_util::FutureExt as _;
use http::{Request, Response};
use tower::{Service, ServiceBuilder, service_fn};

fn answer(request: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = black_box(request).into_parts().0.headers;
    ready(Ok(response))
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).header("x-api-key", "e2b_00").body(Body::empty()).unwrap()
}

fn through<S>(bencher: Bencher<'_, '_>, path: &'static str, mut service: S)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    bencher.with_inputs(|| request(path)).bench_local_values(|request| {
        let answer = service.call(request).now_or_never().unwrap().unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        answer
    });
}

#[divan::bench]
fn framework_none(bencher: Bencher<'_, '_>) {
    through(bencher, "/templates", service_fn(answer));
}

#[divan::bench]
fn framework_tower(bencher: Bencher<'_, '_>) {
    let layers = ServiceBuilder::new()
        .map_request(|request: Request<Body>| black_box(request))
        .map_response(|response: Response<Body>| black_box(response));
    through(bencher, "/templates", layers.service_fn(answer));
}

#[divan::bench]
fn framework_axum_fallback(bencher: Bencher<'_, '_>) {
    let router = Router::new().route("/auth/whoami", get(|| async { "me" }));
    through(bencher, "/templates", router.fallback_service(service_fn(answer)));
}

#[divan::bench]
fn framework_axum_route(bencher: Bencher<'_, '_>) {
    let router =
        Router::new().route("/auth/whoami", get(|request| async { answer(request).await }));
    through(bencher, "/auth/whoami", router);
}
