//! How one process of the gateway takes the place of another, so that nobody outside notices.
//!
//! SIGUSR2 has the running process start its program anew, with a line between the two as the new one's standard input.
//! Steps, each of which needs the one before it:
//!
//! 1. The old process sends its listening sockets. The new one reads the settings and is bound to listen.
//! 2. The old process lets go of what only one may have (the audit journal's file, the count of sandboxes), and sends what
//!    is in its memory. Meanwhile it serves as ever; what needs one of these waits.
//! 3. The new process takes that up, and says so. Until then, whatever goes wrong there, the old process takes everything
//!    back and goes on; so the new one does nothing yet that would have to be taken back.
//! 4. The old process accepts no more, tells the service manager who does, and says so. Then the new one accepts
//!    connections, which have waited in the sockets meanwhile.
//! 5. The old process has its streams go on. A connection on which nobody talks goes over the line, at once or after its
//!    next answer, and so does whatever the new process has to know, until the last stream has ended.
//!
//! Signals go to the new process, which passes them on. A process that was replaced may itself have one before it: then it
//! stays between the two until that one has ended.

mod line;
mod message;
mod predecessor;
mod remote;
mod upgrade;

use std::ffi::OsString;

pub(super) use self::predecessor::{Heritage, News, Predecessor};
pub(super) use self::upgrade::{Heard, Upgrade};

/// Tells a process that its standard input leads to the one that it replaces.
pub(super) const VARIABLE: &str = "COPPICE_HANDOVER";

/// The program as it was started, for starting it again.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file, as it was named.
    pub file: OsString,
    /// What followed.
    pub arguments: Vec<OsString>,
}
