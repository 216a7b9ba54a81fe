//! Looks a request up in the route table.
//!
//! One tree of segments for each surface, built once; a lookup takes one step a segment, however many routes there are,
//! and allocates nothing. A fixed segment wins over a placeholder and is final: a template that is called `tags` can't
//! be read through `/templates/{id}`, which needs admin then, never less. Segments are compared raw.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use http::Method;

use super::row::{Class, Notes, Route, Surface};
use super::{BadPath, CanonicalPath, Methods, table};

/// The route table, ready for lookups.
#[derive(Debug)]
pub struct Router {
    api: Node,
    gateway: Node,
    envd: Node,
    interpreter: Node,
    registry: Node,
}

/// What the table says about one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match<'p> {
    /// The surface that answers.
    pub surface: Surface,
    /// How the class was found.
    pub rule: Rule,
    /// What is demanded of the caller.
    pub class: Class,
    /// The raw path segment that names a sandbox, on routes about one.
    pub sandbox: Option<&'p str>,
    /// Where the method is 405 after authentication: the methods to list in `Allow`.
    pub method_not_allowed: Option<Methods>,
}

/// How a request's class was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// This row lists path and method.
    Row(&'static Route),
    /// Rows list the path, but not with this method.
    OtherMethod,
    /// No row lists the path.
    Unlisted,
}

impl Match<'_> {
    /// The row that lists the request, if one does.
    #[must_use]
    pub fn route(&self) -> Option<&'static Route> {
        match self.rule {
            Rule::Row(route) => Some(route),
            Rule::OtherMethod | Rule::Unlisted => None,
        }
    }

    /// Whether the row that lists the request carries all of `notes`.
    #[must_use]
    pub fn has(&self, notes: Notes) -> bool {
        self.route().is_some_and(|route| route.notes.has(notes))
    }

    /// A request to a sandbox port that is neither envd's nor the interpreter's: the path decides nothing.
    #[must_use]
    pub fn user_port(method: &Method) -> Match<'static> {
        Match {
            surface: Surface::Port,
            rule: Rule::Row(table::USER_PORT),
            class: table::USER_PORT.class,
            sandbox: None,
            method_not_allowed: Methods::of(method).is_none().then_some(Methods::ANY),
        }
    }
}

impl Router {
    /// Builds the trees from the table.
    #[must_use]
    pub fn new() -> Self {
        let mut router = Self {
            api: Node::default(),
            gateway: Node::default(),
            envd: Node::default(),
            interpreter: Node::default(),
            registry: Node::default(),
        };
        for route in table::rows() {
            let root = match route.surface {
                Surface::Api => &mut router.api,
                Surface::Gateway => &mut router.gateway,
                Surface::Envd => &mut router.envd,
                Surface::Interpreter => &mut router.interpreter,
                Surface::Registry => &mut router.registry,
                Surface::Port => continue,
            };
            root.insert(&mut segments(route.pattern), route);
            if route.notes.has(Notes::CUBE) {
                let prefixed = segments(Route::CUBE_PREFIX).chain(segments(route.pattern));
                root.insert(&mut { prefixed }, route);
            }
        }
        router
    }

    /// Looks up a request that was not sent to a sandbox, and says which surface answers it: the gateway itself under
    /// `/auth`, `/audit` and `/console`; the registry for what the API does not list under `/v2/`; else the API.
    ///
    /// # Errors
    /// [`BadPath::EncodedSlash`] where the matching route takes no template name.
    pub fn find_control<'p>(
        &self,
        method: &Method,
        path: &CanonicalPath<'p>,
    ) -> Result<Match<'p>, BadPath> {
        let first = path.first_segment();
        if matches!(first, "auth" | "audit" | "console") {
            return decide(Surface::Gateway, self.gateway.find(path), method, path);
        }
        let leaf = self.api.find(path);
        if leaf.rows.is_empty() && first == "v2" {
            let leaf = self.registry.find(path);
            if !leaf.rows.is_empty() {
                return decide(Surface::Registry, leaf, method, path);
            }
        }
        decide(Surface::Api, leaf, method, path)
    }

    /// Looks up a request to `port` of a sandbox. The path is judged only where it decides: on envd's and the
    /// interpreter's port.
    ///
    /// # Errors
    /// [`BadPath`] on those two ports, for paths that could be read in two ways.
    pub fn find_data<'p>(
        &self,
        port: u16,
        method: &Method,
        raw_path: &'p str,
    ) -> Result<Match<'p>, BadPath> {
        let surface = Surface::of_port(port);
        let root = match surface {
            Surface::Envd => &self.envd,
            Surface::Interpreter => &self.interpreter,
            Surface::Port | Surface::Api | Surface::Gateway | Surface::Registry => {
                return Ok(Match::user_port(method));
            }
        };
        let path = CanonicalPath::parse(raw_path)?;
        decide(surface, root.find(&path), method, &path)
    }

    /// The sandbox port whose surface lists `path`, with any method: envd's, which wins for what both list, or the
    /// interpreter's.
    #[must_use]
    pub fn listed_port(&self, path: &CanonicalPath<'_>) -> Option<u16> {
        let lists = |root: &Node| !root.find(path).rows.is_empty();
        if lists(&self.envd) {
            Some(crate::target::ENVD_PORT)
        } else if lists(&self.interpreter) {
            Some(crate::target::INTERPRETER_PORT)
        } else {
            None
        }
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

/// Turns the rows for a path into what they say about one method.
fn decide<'p>(
    surface: Surface,
    leaf: Leaf<'_, 'p>,
    method: &Method,
    path: &CanonicalPath<'p>,
) -> Result<Match<'p>, BadPath> {
    let some_row_has = |note| leaf.rows.iter().any(|row| row.notes.has(note));
    if path.has_encoded_slash() && !some_row_has(Notes::TEMPLATE) {
        return Err(BadPath::EncodedSlash);
    }
    let accepted = Methods::of(method);
    let row = accepted
        .and_then(|accepted| leaf.rows.iter().copied().find(|row| row.methods.contains(accepted)));
    let rule = match row {
        Some(row) => Rule::Row(row),
        None if leaf.rows.is_empty() => Rule::Unlisted,
        None => Rule::OtherMethod,
    };
    let own_route_with_other_method = surface == Surface::Gateway && rule == Rule::OtherMethod;
    let class = match rule {
        Rule::Row(row) => row.class,
        // Answered by 405, which any key may learn.
        Rule::OtherMethod if own_route_with_other_method => Class::Any,
        Rule::OtherMethod | Rule::Unlisted => surface.default_class(),
    };
    let method_not_allowed = if own_route_with_other_method {
        Some(leaf.rows.iter().fold(Methods::NONE, |all, row| all.and(row.methods)))
    } else if accepted == Some(Methods::OPTIONS) && row.is_none() {
        Some(Methods::ALL_BUT_OPTIONS)
    } else {
        accepted.is_none().then_some(Methods::ANY)
    };
    let sandbox = leaf.placeholder.filter(|_| some_row_has(Notes::OWN));
    Ok(Match { surface, rule, class, sandbox, method_not_allowed })
}

fn segments(pattern: &'static str) -> impl Iterator<Item = &'static str> {
    pattern.split('/').skip(1)
}

/// What a path leads to.
struct Leaf<'n, 'p> {
    rows: &'n [&'static Route],
    /// The first segment that a placeholder matched.
    placeholder: Option<&'p str>,
}

/// The routes that share a beginning.
#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<&'static str, Node, BuildHasherDefault<Fnv>>,
    placeholder: Option<Box<Node>>,
    /// Rows whose pattern ends here.
    rows: Vec<&'static Route>,
    /// Rows whose pattern ends in a `*` from here.
    tail: Vec<&'static Route>,
}

impl Node {
    fn insert(&mut self, segments: &mut dyn Iterator<Item = &'static str>, route: &'static Route) {
        match segments.next() {
            None => self.rows.push(route),
            Some("*") => self.tail.push(route),
            Some(segment) if segment.starts_with('{') => {
                self.placeholder.get_or_insert_default().insert(segments, route);
            }
            Some(segment) => self.fixed.entry(segment).or_default().insert(segments, route),
        }
    }

    /// Whether the path that ends here is hidden: it is with a slash behind it, too, since upstreams may not care.
    fn is_hidden(&self) -> bool {
        self.rows.iter().any(|row| row.class == Class::Hidden)
    }

    fn find<'n, 'p>(&'n self, path: &CanonicalPath<'p>) -> Leaf<'n, 'p> {
        let mut node = self;
        let mut placeholder = None;
        let mut deepest_tail: &[&'static Route] = &[];
        for segment in path.segments() {
            if !node.tail.is_empty() {
                deepest_tail = &node.tail;
            }
            let next = match node.fixed.get(segment) {
                Some(next) => Some(next),
                None if segment.is_empty() => None,
                None => node.placeholder.as_deref().inspect(|_| {
                    placeholder.get_or_insert(segment);
                }),
            };
            match next {
                Some(next) => node = next,
                None if segment.is_empty() && node.is_hidden() => {
                    return Leaf { rows: &node.rows, placeholder };
                }
                None => return Leaf { rows: deepest_tail, placeholder },
            }
        }
        let rows = if node.rows.is_empty() { deepest_tail } else { &node.rows };
        Leaf { rows, placeholder }
    }
}

/// FNV-1a: the keys are the table's own, so nobody can choose them to collide.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
