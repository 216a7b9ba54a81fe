//! The documentation: what it tells readers to type works as printed, what it lists is what there is, and its links
//! lead somewhere.
//!
//! A page says in HTML comments, which no reader sees, on what its commands run: `<!-- stage: gateway -->`. [`book`] has
//! the words. What is not run says why, and [`commands`] has the list of it.

mod architecture;
mod book;
mod commands;
mod errors;
mod links;
mod log_lines;
mod metrics;
mod names;
mod output;
mod settings;
mod shell;
mod stage;
