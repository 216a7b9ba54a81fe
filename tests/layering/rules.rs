//! The rules: which module stands where, and which outside crate may be named where.
//!
//! Data first, then the one function that holds a file against it. To move a wall is to edit a row here.

use super::source::{self, Import};

/// The modules from the ground up. One imports only from the rows above its own.
pub(crate) const RANKS: &[&[&str]] = &[
    &[
        "chunked",
        "clock",
        "form",
        "json",
        "lifecycle",
        "lookout",
        "pem",
        "platform",
        "secret",
        "shelf",
        "tally",
        "target",
    ],
    &["credential", "http1", "principal", "route", "tls"],
    &[
        "callback",
        "caller",
        "error",
        "keys",
        "limits",
        "ownership",
        "policy",
        "request",
        "sandbox",
        "token",
    ],
    &["authn", "directory", "permit", "quota", "record"],
    &["audit", "metrics", "proxy", "traces"],
    &["endpoint", "layer", "listener"],
    &["server"],
    &["ops", "worker"],
    &["config"],
    &["app", "simulator", "telemetry"],
    &["daemon"],
    &["cli"],
    &["main"],
];

/// Modules that see less than all rows above their own: only this many, counted from the first.
const NARROW: &[(&str, usize)] = &[
    // Parses into the vocabulary and wires nothing, while nothing that serves knows settings.
    ("config", 3),
    // A test's upstream must not share what it tests.
    ("simulator", 1),
];

/// Modules that decide or describe, and therefore do no I/O.
const PURE: &[&str] = &[
    "src/caller*",
    "src/credential*",
    "src/form*",
    "src/json*",
    "src/limits*",
    "src/permit*",
    "src/policy*",
    "src/route*",
    "src/sandbox*",
    "src/target*",
    "src/token*",
];

/// What decides may carry a request along, but must not look at its headers.
const DECIDES: &[&str] = &["src/permit*", "src/policy*"];

enum Where {
    Only(&'static [&'static str]),
    Never(&'static [&'static str]),
}
use Where::{Never, Only};

/// Paths, where they may be named outside tests, and why. A `*` ends a file name that is a beginning.
const WALLS: &[(&str, Where, &str)] = &[
    ("hyper_util::client", Only(&["src/http1/connect.rs"]), "one place decides what is sent again"),
    (
        "hyper::server",
        Only(&["src/ops.rs", "src/server*"]),
        "one place serves requests, one its operators",
    ),
    ("tokio_rustls::server", Only(&["src/listener/tls*"]), "one place shakes hands with clients"),
    ("hyper::client", Only(&["src/proxy/pool/*"]), "one place decides what is sent again"),
    (
        "axum",
        Only(&["src/endpoint*", "src/proxy/body.rs", "src/server*", "src/simulator*"]),
        "requests are forwarded without a web framework",
    ),
    ("clap", Only(&["src/cli*"]), "settings come from one table, whatever spells them"),
    ("clap_complete", Only(&["src/cli*"]), "only the command line knows its shape"),
    ("clap_mangen", Only(&["src/cli*"]), "only the command line knows its shape"),
    (
        "std::env",
        Only(&["src/cli*", "src/config/sources.rs", "src/main.rs"]),
        "everything else is given its settings",
    ),
    (
        "reqwest",
        Only(&["src/callback/url.rs", "src/cli/*", "src/traces/*"]),
        "requests are forwarded, and calls made, through `http1`",
    ),
    ("serde_json", Never(&["src/json*"]), "a reader that drops a duplicate key can't guard one"),
    ("crate::keys", Never(&["src/proxy*"]), "the forwarder knows callers, not keys"),
    ("axum", Never(PURE), "what decides does no I/O"),
    ("hyper", Never(PURE), "what decides does no I/O"),
    ("std::fs", Never(PURE), "what decides does no I/O"),
    ("tokio", Never(PURE), "what decides does no I/O"),
    ("http::header", Never(DECIDES), "what counts of a request was read before"),
    ("http::HeaderMap", Never(DECIDES), "what counts of a request was read before"),
    ("http::HeaderName", Never(DECIDES), "what counts of a request was read before"),
    ("http::HeaderValue", Never(DECIDES), "what counts of a request was read before"),
];

const FORBIDDEN_NAMES: [&str; 7] =
    ["mod", "util", "utils", "helper", "helpers", "manager", "common"];

const MAX_LINES: usize = 450;

/// Every breach of the rules in `file`, whose path is relative to the repository; a line each.
pub(crate) fn breaches(file: &str, text: &str) -> Vec<String> {
    let mut breaches = shape(file, text);
    let Some(stem) = file.strip_prefix("src/").and_then(|file| file.strip_suffix(".rs")) else {
        return breaches;
    };
    let path: Vec<&str> = stem.split('/').collect();
    let (top, in_test) = (path.first().copied().unwrap_or_default(), path.contains(&"tests"));
    let is_root = matches!(top, "lib" | "main");
    if top != "lib" && rank(top).is_none() {
        breaches.push(format!(
            "{file}: the module `{top}` has no place; give it a row of RANKS in tests/layering/rules.rs"
        ));
        return breaches;
    }
    let found = source::read(if is_root { &[] } else { &path }, in_test, text);
    for line in found.shipped_tests {
        breaches.push(format!("{file}:{line}: `mod tests` without #[cfg(test)] is no test"));
    }
    for import in &found.imports {
        let reasons = upward(top, import).into_iter().chain(walled(file, import));
        let Import { path, line, .. } = import;
        breaches.extend(reasons.map(|why| format!("{file}:{line}: `{}`: {why}", path.join("::"))));
    }
    breaches
}

/// What a file looks like, whatever it imports.
fn shape(file: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        breaches.push(format!("{file}: {lines} lines, {MAX_LINES} are allowed; split it"));
    }
    if file.ends_with(".rs") && !text.starts_with("//!") {
        breaches.push(format!("{file}: does not open with `//!` and what it is for"));
    }
    let names = file.split('/').filter_map(|part| part.split('.').next());
    for name in names.filter(|name| FORBIDDEN_NAMES.contains(name)) {
        breaches.push(format!("{file}: `{name}` says nothing; name it after what it does"));
    }
    breaches
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|row| row.contains(&module))
}

/// Why `top` may not import this, as far as that is a module of the package.
fn upward(top: &str, import: &Import) -> Option<String> {
    let mut segments = import.path.iter().map(String::as_str);
    let root = segments.next()?;
    if !matches!(root, "crate" | "coppice_gateway") || top == "lib" {
        return None;
    }
    let Some(target) = segments.next().filter(|target| *target != "*") else {
        return Some("imports the whole package; name the module".to_owned());
    };
    if target == top {
        return None;
    }
    let (Some(own), Some(other)) = (rank(top), rank(target)) else {
        return Some(format!("`{target}` has no place in RANKS in tests/layering/rules.rs"));
    };
    let narrow = NARROW.iter().find(|(module, _)| *module == top).map(|(_, rows)| *rows);
    let allowed = match narrow {
        _ if import.in_test => other <= own,
        Some(rows) => other < rows,
        None => other < own,
    };
    let reason = match narrow {
        Some(rows) => {
            format!("`{top}` sees only the lowest {rows} ranks, and that is rank {other}")
        }
        None => format!("`{top}` has rank {own} and must not import rank {other}"),
    };
    (!allowed).then_some(reason)
}

/// Why this file may not name this path.
fn walled(file: &str, import: &Import) -> Vec<String> {
    let path = import.path.join("::");
    let names = |wall: &str| {
        path.strip_prefix(wall).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let among = |files: &[&str]| {
        files.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => file.starts_with(start),
            None => file == *known,
        })
    };
    let mut reasons = Vec::new();
    for (wall, place, why) in WALLS {
        match place {
            _ if import.in_test || !names(wall) => {}
            Only(files) if !among(files) => {
                reasons.push(format!("only for {}: {why}", files.join(", ")));
            }
            Never(files) if among(files) => reasons.push((*why).to_owned()),
            Only(_) | Never(_) => {}
        }
    }
    reasons
}
