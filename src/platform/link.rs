//! A line between two processes of one program: whole messages, each of which may carry one descriptor.
//!
//! The end that a child gets is its standard input, the one descriptor that survives the start of a program without being
//! named. Sending and receiving block; a line is for threads of its own.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
    recvmsg, sendmsg, shutdown, socketpair, sockopt,
};

/// Longest message, in bytes.
pub const MAX_MESSAGE: usize = 160 * 1024;

/// What the system has to buffer, in bytes. FreeBSD by itself takes no message longer than 64 KiB.
const BUFFER: usize = 2 * MAX_MESSAGE;

/// How long sending rests when the system has no room for a message, or for one more descriptor on its way.
const REST: Duration = Duration::from_millis(10);

/// One end. Cheap to clone; clones are the same end.
#[derive(Clone, Debug)]
pub struct Link(Arc<OwnedFd>);

impl Link {
    /// A line: this process's end, and the one to start a child with.
    ///
    /// # Errors
    /// The system has none.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (own, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for end in [&own, &other] {
            sockopt::set_socket_send_buffer_size(end, BUFFER)?;
            sockopt::set_socket_recv_buffer_size(end, BUFFER)?;
        }
        Ok((Self(Arc::new(own)), other))
    }

    /// The end that this process was started with, in place of which standard input is then empty.
    ///
    /// # Errors
    /// There is none.
    pub fn from_stdin() -> io::Result<Self> {
        let end = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::net::sockopt::socket_type(&end)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self(Arc::new(end)))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The other end is gone ([`is_gone`]), or the message cannot be sent, and others can.
    pub fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        if message.is_empty() || message.len() > MAX_MESSAGE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let descriptors = descriptor.as_slice();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS | Errno::NOMEM | Errno::TOOMANYREFS) => std::thread::sleep(REST),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the next message. `None`: the other end is gone. A descriptor for which this process has no place is
    /// closed, and the message comes without it.
    ///
    /// # Errors
    /// The line broke.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Option<Option<OwnedFd>>> {
        buffer.resize(MAX_MESSAGE, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut was_reset = false;
        let received = loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) if received.flags.contains(ReturnFlags::TRUNC) => {
                    tracing::error!("the other process said something too long, which is lost");
                }
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                // What an end says, once, that was closed before it had read everything. What it had said is still there.
                Err(Errno::CONNRESET) if !was_reset => was_reset = true,
                Err(Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            tracing::error!(
                "no file descriptor is left for what the other process hands over; it is closed"
            );
        }
        buffer.truncate(received.bytes);
        let mut descriptors = control.drain().filter_map(|message| {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                return Some(descriptors);
            }
            None
        });
        Ok(Some(descriptors.next().and_then(|mut descriptors| descriptors.next())))
    }

    /// Ends the line for both, whoever waits at either end.
    pub fn close(&self) {
        // It may be closed already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

/// Whether a message was not sent since nobody is at the other end.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::Command;

    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_carry_descriptors() {
        let (own, other) = Link::pair().unwrap();
        let other = Link(Arc::new(other));
        let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        own.send(b"one", None).unwrap();
        own.send(&[7; MAX_MESSAGE], Some(there.as_fd())).unwrap();
        drop(there);
        let mut buffer = Vec::new();
        assert!(other.receive(&mut buffer).unwrap().unwrap().is_none());
        assert_eq!(buffer, b"one");
        let passed = other.receive(&mut buffer).unwrap().unwrap().unwrap();
        assert_eq!(buffer, [7; MAX_MESSAGE]);
        std::os::unix::net::UnixStream::from(passed).write_all(b"through").unwrap();
        let mut through = String::new();
        here.read_to_string(&mut through).unwrap();
        assert_eq!(through, "through");
        drop(own);
        assert!(other.receive(&mut buffer).unwrap().is_none());
        assert!(is_gone(&other.send(b"too late", None).unwrap_err()));
    }

    #[test]
    fn what_was_said_before_the_end_is_heard() {
        let (own, other) = Link::pair().unwrap();
        let other = Link(Arc::new(other));
        other.send(b"never read", None).unwrap();
        own.send(b"one", None).unwrap();
        own.send(b"two", None).unwrap();
        drop(own);
        let mut buffer = Vec::new();
        for said in ["one", "two"] {
            assert!(other.receive(&mut buffer).unwrap().is_some());
            assert_eq!(buffer, said.as_bytes());
        }
        assert!(other.receive(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn a_descriptor_for_which_there_is_no_place_costs_no_message() {
        const CHILD: &str = "LINK_TEST_CHILD";
        if std::env::var_os(CHILD).is_none() {
            // The limit would be that of all tests.
            let own = std::env::current_exe().unwrap();
            let name = std::thread::current().name().unwrap().to_owned();
            let mut child = Command::new("sh");
            child.args(["-c", "ulimit -n 32; exec \"$0\" --exact \"$1\" --nocapture"]);
            let output = child.arg(own).arg(name).env(CHILD, "1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            return;
        }
        let (own, other) = Link::pair().unwrap();
        let other = Link(Arc::new(other));
        let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        own.send(b"one", Some(there.as_fd())).unwrap();
        own.send(b"two", Some(there.as_fd())).unwrap();
        drop(there);
        let all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let mut buffer = Vec::new();
        assert!(other.receive(&mut buffer).unwrap().unwrap().is_none());
        assert_eq!(buffer, b"one");
        drop(all);
        let passed = other.receive(&mut buffer).unwrap().unwrap();
        assert_eq!(buffer, b"two");
        drop(passed.unwrap());
        assert_eq!(here.read(&mut [0]).unwrap(), 0, "nobody has the other one");
    }

    #[test]
    fn what_would_be_cut_short_is_not_sent() {
        let (own, _other) = Link::pair().unwrap();
        assert!(own.send(&[], None).is_err());
        assert!(own.send(&[0; MAX_MESSAGE + 1], None).is_err());
    }
}
