//! What the gateway answers itself. Another method on these paths is 405, another path under `/auth`, `/audit` and
//! `/console` is 404.

use crate::route::row::{Class, Route, Surface};
use crate::route::{Class::*, Methods};

const GET: Methods = Methods::GET;
const POST: Methods = Methods::POST;
const DELETE: Methods = Methods::DELETE;
const CHANGE: Methods = Methods::PATCH.and(DELETE);

const fn own(methods: Methods, pattern: &'static str, class: Class) -> Route {
    Route::new(Surface::Gateway, methods, pattern, class)
}

pub(super) const ROWS: &[Route] = &[
    own(GET, "/auth/whoami", Any),
    own(DELETE, "/auth/callback/cache", Admin),
    own(DELETE, "/auth/callback/principals/{id}", Admin),
    // An owner sees what is of its tenant, an admin everything: events, keys, usage.
    own(GET, "/audit/events", Owner),
    own(GET, "/audit/stream", Owner),
    own(GET.and(POST), "/auth/keys", Owner),
    own(GET.and(CHANGE), "/auth/keys/{id}", Owner),
    own(POST, "/auth/keys/{id}/rotate", Owner),
    own(GET.and(POST), "/auth/tenants", Admin),
    own(GET.and(CHANGE), "/auth/tenants/{id}", Admin),
    own(GET, "/auth/usage", Read),
    own(GET, "/auth/openapi.json", Public),
    // Static files; what they show is asked for with a key.
    own(GET, "/console/*", Public),
];
