//! Listening sockets that a service manager opened (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! Descriptors are checked here and turned into sockets; what each of them is for is somebody else's to say.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use socket2::SockRef;

/// The variables of the protocol, as the process got them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variables<'a> {
    /// `LISTEN_PID`
    pub pid: Option<&'a OsStr>,
    /// `LISTEN_FDS`
    pub count: Option<&'a OsStr>,
    /// `LISTEN_FDNAMES`
    pub names: Option<&'a OsStr>,
}

/// A descriptor that is no listening stream socket.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("inherited descriptor {number} ('{name}') is no listening stream socket")]
pub struct WrongKind {
    /// Its number in this process.
    pub number: usize,
    /// Its name; empty where it has none.
    pub name: String,
}

/// Takes the sockets that were meant for this process, with their names, in their order. Works once, and only before
/// there are other threads, as the variables are taken away.
///
/// # Errors
/// Something among them is not what a server can listen on.
pub fn take(variables: Variables<'_>) -> Result<Vec<(String, OwnedFd)>, WrongKind> {
    let number = |value: Option<&OsStr>| value?.to_str()?.parse::<u32>().ok();
    if number(variables.pid) != Some(std::process::id()) || number(variables.count).is_none() {
        return Ok(Vec::new());
    }
    let names = variables.names.and_then(OsStr::to_str).unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut descriptors = ListenFd::from_env();
    let mut taken = Vec::new();
    for index in 0..descriptors.len() {
        let name = names.next().unwrap_or_default();
        let socket = match descriptors.take_tcp_listener(index) {
            Ok(Some(socket)) => Some(OwnedFd::from(socket)),
            Ok(None) | Err(_) => {
                descriptors.take_unix_listener(index).ok().flatten().map(OwnedFd::from)
            }
        };
        // A stream socket that was never told to listen is none either.
        match socket.filter(|socket| SockRef::from(socket).is_listener().unwrap_or(false)) {
            Some(socket) => taken.push((name, socket)),
            None => return Err(WrongKind { number: index + 3, name }),
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_for_another_process_are_left_alone() {
        let own = std::process::id().to_string();
        for (pid, count) in [(None, Some("1")), (Some("1"), Some("1")), (Some(own.as_str()), None)]
        {
            let variables =
                Variables { pid: pid.map(OsStr::new), count: count.map(OsStr::new), names: None };
            assert!(take(variables).unwrap().is_empty(), "{variables:?}");
        }
    }
}
