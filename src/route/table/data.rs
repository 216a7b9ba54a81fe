//! What runs inside sandboxes: envd, the code interpreter, and any other port. Everything here belongs to the sandbox
//! that the request's target names.

use crate::route::row::{Class, Notes, Route, Surface};
use crate::route::{Class::*, Methods};

const GET: Methods = Methods::GET;
const POST: Methods = Methods::POST;
const DELETE: Methods = Methods::DELETE;
const ANY: Methods = Methods::ANY;

const fn envd(methods: Methods, pattern: &'static str, class: Class) -> Route {
    Route::new(Surface::Envd, methods, pattern, class)
}

const fn interpreter(methods: Methods, pattern: &'static str, class: Class) -> Route {
    Route::new(Surface::Interpreter, methods, pattern, class)
}

/// Where paths are forwarded raw and decide nothing.
pub(super) static USER_PORT: Route = PORT;
const PORT: Route = Route::new(Surface::Port, ANY, "/*", Exec);

pub(super) const ROWS: &[Route] = &[
    // May wake a paused sandbox, so it is not public here.
    envd(GET, "/health", Read),
    envd(GET, "/metrics", Read),
    envd(GET, "/envs", Exec),
    envd(GET.and(Methods::HEAD), "/files", Exec).note(Notes::SIGNED),
    envd(POST, "/files", Exec).note(Notes::SIGNED),
    envd(POST, "/files/compose", Exec),
    // Answers with the environment of every process.
    envd(POST, "/process.Process/List", Exec),
    envd(POST, "/process.Process/Start", Exec),
    envd(POST, "/process.Process/Connect", Exec),
    envd(POST, "/process.Process/Update", Exec),
    envd(POST, "/process.Process/SendInput", Exec),
    envd(POST, "/process.Process/StreamInput", Exec),
    envd(POST, "/process.Process/SendSignal", Exec),
    envd(POST, "/process.Process/CloseStdin", Exec),
    envd(POST, "/filesystem.Filesystem/Stat", Read),
    envd(POST, "/filesystem.Filesystem/ListDir", Read),
    envd(POST, "/filesystem.Filesystem/WatchDir", Read),
    envd(POST, "/filesystem.Filesystem/CreateWatcher", Exec),
    envd(POST, "/filesystem.Filesystem/GetWatcherEvents", Exec),
    envd(POST, "/filesystem.Filesystem/RemoveWatcher", Exec),
    envd(POST, "/filesystem.Filesystem/MakeDir", Exec),
    envd(POST, "/filesystem.Filesystem/Move", Exec),
    envd(POST, "/filesystem.Filesystem/Remove", Exec),
    // Between the sandbox host and its envd; a caller of /init could replace envd's own token.
    envd(ANY, "/init", Hidden),
    envd(ANY, "/upgrade", Hidden),
    envd(ANY, "/freeze", Hidden),
    envd(ANY, "/unfreeze", Hidden),
    envd(ANY, "/collapse", Hidden),
    envd(ANY, "/fsfreeze", Hidden),
    envd(ANY, "/fsthaw", Hidden),
    interpreter(GET, "/health", Read),
    interpreter(POST, "/execute", Exec),
    interpreter(GET, "/contexts", Read),
    interpreter(POST, "/contexts", Exec),
    interpreter(DELETE, "/contexts/{id}", Exec),
    interpreter(POST, "/contexts/{id}/restart", Exec),
    PORT,
];
