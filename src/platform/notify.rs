//! Notices to the service manager (sd_notify(3)): one datagram each, to the socket that `NOTIFY_SOCKET` names.
//!
//! Nobody waits for an answer, and a manager that does not listen is no reason to fail.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a notice may wait for room in the manager's queue.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whoever is to be told; possibly nobody.
#[derive(Debug, Default)]
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// One who tells the socket at this address: a path, or `@` and an abstract name where the system has these.
    ///
    /// # Errors
    /// The address cannot be one, or there is no such socket.
    pub fn to(address: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&parse(address)?)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(Some(socket)))
    }

    /// Whether anybody hears it.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Tells lines of `NAME=value`.
    pub fn tell(&self, lines: fmt::Arguments<'_>) {
        if let Some(socket) = &self.0
            && let Err(cause) = socket.send(lines.to_string().as_bytes())
        {
            tracing::debug!(%cause, "the service manager was not told");
        }
    }
}

fn parse(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(address),
        [b'@', name @ ..] => parse_abstract(name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "NOTIFY_SOCKET is neither a path nor an abstract name",
        )),
    }
}

#[cfg(target_os = "linux")]
fn parse_abstract(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn parse_abstract(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there are no abstract names on this system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_datagram() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        Notifier::to(path.as_os_str()).unwrap().tell(format_args!("READY=1\nSTATUS={}", "fine"));
        let mut read = [0; 64];
        let length = manager.recv(&mut read).unwrap();
        assert_eq!(&read[..length], b"READY=1\nSTATUS=fine");
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for address in ["", "relative", "/no/such/socket"] {
            assert!(Notifier::to(OsStr::new(address)).is_err(), "{address}");
        }
        // Nobody is told, and nothing happens.
        Notifier::default().tell(format_args!("READY=1"));
    }
}
