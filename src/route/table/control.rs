//! The control plane: the sandbox API of E2B, Coppice and Cube, and the template image registry. What is not listed
//! needs admin.

use crate::route::row::{Class, Listing, Notes, Route, Surface};
use crate::route::{BodyEdit, Class::*, Effect::*, Methods, Tokens};

const GET: Methods = Methods::GET;
const GET_HEAD: Methods = GET.and(Methods::HEAD);
const POST: Methods = Methods::POST;
const PUT: Methods = Methods::PUT;
const PATCH: Methods = Methods::PATCH;
const DELETE: Methods = Methods::DELETE;
const ANY: Methods = Methods::ANY;

const fn api(methods: Methods, pattern: &'static str, class: Class) -> Route {
    Route::new(Surface::Api, methods, pattern, class)
}

const fn registry(methods: Methods, pattern: &'static str, class: Class) -> Route {
    Route::new(Surface::Registry, methods, pattern, class)
}

pub(super) const ROWS: &[Route] = &[
    // Forwarded without any credential.
    api(GET_HEAD, "/health", Public),
    api(GET_HEAD, "/ui", Public),
    api(GET_HEAD, "/ui/*", Public),
    // Coppice's signed download: the token is the credential.
    api(GET_HEAD, "/files/download-token/{token}", Public).note(Notes::SECRET_PATH),
    //
    // Sandboxes.
    api(GET, "/sandboxes", Read).list(Listing::Sandboxes).cube(),
    api(POST, "/sandboxes", Exec).effect(PlusOne).tokens(Tokens::One).body(BodyEdit::Create).cube(),
    api(POST, "/v2/sandboxes", Exec).effect(PlusOne).tokens(Tokens::One).body(BodyEdit::Create),
    api(GET, "/v2/sandboxes", Read).list(Listing::Sandboxes).cube(),
    api(GET, "/sandboxes/metrics", Read).list(Listing::Metrics),
    api(GET, "/sandboxes/{id}", Read).own().tokens(Tokens::OneUnlessReadOnly).cube(),
    api(DELETE, "/sandboxes/{id}", Exec).effect(End).own().cube(),
    api(GET, "/sandboxes/{id}/metrics", Read).own(),
    api(GET, "/sandboxes/{id}/logs", Read).own().cube(),
    api(GET, "/v2/sandboxes/{id}/logs", Read).own().cube(),
    // A paused sandbox still counts.
    api(POST, "/sandboxes/{id}/pause", Exec).own().cube(),
    api(POST, "/sandboxes/{id}/resume", Exec)
        .effect(PlusOneIfStarted)
        .own()
        .tokens(Tokens::One)
        .cube(),
    api(POST, "/sandboxes/{id}/connect", Exec)
        .effect(PlusOneIfStarted)
        .own()
        .tokens(Tokens::One)
        .cube(),
    api(POST, "/v2/sandboxes/{id}/connect", Exec)
        .effect(PlusOneIfStarted)
        .own()
        .tokens(Tokens::One),
    api(POST, "/sandboxes/{id}/fork", Exec)
        .effect(PlusN)
        .own()
        .tokens(Tokens::Each)
        .body(BodyEdit::Fork),
    api(POST, "/sandboxes/{id}/timeout", Exec).own().cube(),
    api(POST, "/sandboxes/{id}/refreshes", Exec).own().cube(),
    api(POST, "/sandboxes/{id}/snapshots", Exec).own().cube(),
    api(POST, "/sandboxes/{id}/rollback", Exec).own().cube(),
    api(POST, "/sandboxes/{id}/exec", Exec).own(),
    api(POST, "/sandboxes/{id}/ssh-access", Exec).own(),
    api(PUT, "/sandboxes/{id}/network", Admin).own(),
    // A terminal and an editor are as good as a shell, whatever the method.
    api(GET, "/sandboxes/{id}/terminal/ws", Exec).own().note(Notes::WEBSOCKET).cube(),
    api(ANY, "/vscode-proxy/{id}/*", Exec).own().note(Notes::WEBSOCKET),
    api(GET, "/snapshots", Read).list(Listing::Snapshots).cube(),
    //
    // Templates. Their names may hold %2F.
    api(GET, "/templates", Read).cube(),
    api(GET, "/v2/templates", Read),
    api(GET, "/default-templates", Read),
    api(POST, "/templates", Admin).cube(),
    api(POST, "/templates/reload", Admin),
    api(POST, "/v2/templates", Admin),
    api(POST, "/v3/templates", Admin),
    api(POST.and(DELETE), "/templates/tags", Admin),
    api(GET, "/templates/aliases/{alias}", Read).template(),
    api(GET, "/templates/compat", Read).cube(),
    api(POST, "/templates/compat/{id}/adopt-baseline", Admin).template().cube(),
    api(GET, "/templates/{id}", Read).template().cube(),
    api(POST.and(PATCH).and(DELETE), "/templates/{id}", Admin).template().cube(),
    api(PATCH, "/v2/templates/{id}", Admin).template(),
    // Answers with an upload URL.
    api(GET, "/templates/{id}/files/{hash}", Admin).template(),
    api(GET, "/templates/{id}/tags", Read).template(),
    api(GET, "/templates/{id}/tags/{what}", Read).template(),
    api(GET, "/templates/{id}/tags/{tag}/assignments", Read).template(),
    api(POST, "/templates/{id}/builds/{build}", Admin).template().cube(),
    api(POST, "/v2/templates/{id}/builds/{build}", Admin).template(),
    api(GET, "/templates/{id}/builds/{build}/status", Read).template().cube(),
    api(GET, "/templates/{id}/builds/{build}/logs", Read).template().cube(),
    //
    // Teams: the list mints a key upstream.
    api(GET, "/teams", Admin),
    api(GET, "/teams/{team}/metrics", Read),
    api(GET, "/teams/{team}/metrics/max", Read),
    //
    // Pools, schedules, volumes.
    api(GET, "/pools", Read),
    api(GET, "/pools/*", Read),
    api(POST.and(PUT).and(PATCH).and(DELETE), "/pools/*", Admin),
    api(GET.and(POST), "/schedules", Admin).body(BodyEdit::Nested),
    api(GET.and(PATCH).and(DELETE), "/schedules/{id}", Admin).body(BodyEdit::Nested),
    api(GET, "/volumes", Read).cube(),
    api(POST, "/volumes", Admin).cube(),
    // Answers with a volume token.
    api(GET, "/volumes/{id}", Admin).cube(),
    api(DELETE, "/volumes/{id}", Admin).cube(),
    //
    // Secrets and webhooks show what they hold, so reading them is no less than changing them.
    api(ANY, "/secrets", Admin),
    api(ANY, "/secrets/*", Admin),
    api(GET, "/events/sandboxes", Read).list(Listing::Events),
    api(GET, "/events/sandboxes/{id}", Read).own(),
    api(ANY, "/events/webhooks", Admin),
    api(ANY, "/events/webhooks/*", Admin),
    api(POST, "/files/batch", Exec),
    api(POST, "/files/download-url", Exec),
    //
    // The upstream's own affairs, of all tenants.
    api(GET, "/metrics", Admin),
    api(ANY, "/nodes", Admin).cube(),
    api(ANY, "/nodes/*", Admin).cube(),
    api(GET, "/cluster/overview", Admin).cube(),
    api(ANY, "/admin/*", Admin),
    // Would mint upstream keys that go round the gateway.
    api(ANY, "/api-keys", Hidden),
    api(ANY, "/api-keys/*", Hidden),
    api(ANY, "/access-tokens", Hidden),
    api(ANY, "/access-tokens/*", Hidden),
    // Its Bearer is a volume token.
    api(GET.and(POST).and(PUT).and(PATCH).and(DELETE), "/volumecontent/*", Admin)
        .note(Notes::FOREIGN_BEARER),
];

pub(super) const REGISTRY: &[Route] = &[
    // Basic, with the key as the password.
    registry(GET, "/v2/token", Admin),
    registry(GET_HEAD.and(POST).and(PUT).and(PATCH).and(DELETE), "/v2/*", Admin),
];
