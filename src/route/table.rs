//! Every route the gateway knows, one a row.
//!
//! Data only, for operators to read: `control` is the sandbox API, `own` what the gateway answers itself, `data` what
//! runs inside sandboxes. `{name}` matches one raw, non-empty path segment; a final `*` all that follows its slash,
//! nothing included, so that `/ui/*` is also `/ui/`. A fixed segment wins over a placeholder. What is not listed gets
//! the class that [`Surface::default_class`](super::Surface::default_class) names.

mod control;
mod data;
mod own;

use super::Route;

/// The one row of sandbox ports other than envd's and the interpreter's.
pub static USER_PORT: &Route = &data::USER_PORT;

/// Every row, in listing order.
pub fn rows() -> impl Iterator<Item = &'static Route> {
    [own::ROWS, control::ROWS, data::ROWS, control::REGISTRY].into_iter().flatten()
}
