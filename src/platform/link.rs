//! A line between two processes of one program: whole messages, each of which may carry one descriptor.
//!
//! The end that a child gets is its standard input, the one descriptor that survives the start of a program without being
//! named. Sending and receiving block; a line is for threads of its own.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
    recvmsg, sendmsg, shutdown, socketpair,
};

/// Longest message, in bytes. The system's default buffers take it.
pub const MAX_MESSAGE: usize = 160 * 1024;

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
    /// The other end is gone, or the message is too long.
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
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the next message. `None`: the other end is gone.
    ///
    /// # Errors
    /// The line broke, or a message was longer than [`MAX_MESSAGE`].
    pub fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Option<Option<OwnedFd>>> {
        buffer.resize(MAX_MESSAGE, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(buffer)];
            match recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received,
                Err(rustix::io::Errno::INTR) => {}
                // What a closed end says that had not read everything.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        };
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if received.bytes == 0 {
            return Ok(None);
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

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
        assert!(other.send(b"too late", None).is_err());
    }

    #[test]
    fn what_would_be_cut_short_is_not_sent() {
        let (own, _other) = Link::pair().unwrap();
        assert!(own.send(&[], None).is_err());
        assert!(own.send(&[0; MAX_MESSAGE + 1], None).is_err());
    }
}
