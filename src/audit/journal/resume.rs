//! Where a journal goes on when the gateway starts.
//!
//! The head is believed before the file: if a line that it names is not there, the chain goes on from the head all the
//! same, so that the break stays to be seen. Lines after the head are believed as far as they follow from it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::chain::{Hash, Line, Link};
use super::file::{self, Identity, MAX_LINE, Opened};
use super::head::Head;

/// A journal to go on with.
#[derive(Debug)]
pub(super) struct Resumed {
    /// Its file.
    pub(super) opened: Opened,
    /// What is on the disk, and where this file begins.
    pub(super) head: Head,
    /// The last line that is there.
    pub(super) link: Link,
    /// Whether the file's last line has no newline.
    pub(super) needs_newline: bool,
    /// The hash of what a crash left behind the last line, less a newline at its end.
    pub(super) torn: Option<Hash>,
}

/// Opens the journal at `path` and finds its end.
///
/// # Errors
/// The system says no, or the file was not written by a gateway that could vouch for its lines.
pub(super) fn resume(path: &Path) -> io::Result<Resumed> {
    file::make_directory(path)?;
    let known = Head::read(path)?;
    if Identity::at(path).is_none() {
        // Its head is there before the file is, so that at no moment there is one that cannot vouch for the other.
        let link = known.map_or(Link::GENESIS, |head| head.link);
        Head { first: link.next(), link }.write(path)?;
    }
    let opened = file::open(path)?;
    if opened.size == 0 && known.is_none() {
        Head { first: 1, link: Link::GENESIS }.write(path)?;
    }
    let known = Head::read(path)?;
    let Some(head) = known else {
        let message = format!(
            "it has lines but {} is missing, so that nobody could tell whether some were cut off; move it away to begin a new journal",
            Head::path(path).display()
        );
        return Err(io::Error::new(ErrorKind::InvalidData, message));
    };
    let found = match file::last_line(&opened.file, opened.size)?.as_deref().and_then(Line::parse) {
        Some(last) if last.link == head.link => Some(Found { link: head.link, end: opened.size }),
        Some(_) | None => follow(&opened.file, &head)?,
    };
    let (link, rest) = match found {
        Some(Found { link, end }) => (link, rest(&opened, end)?),
        None => (head.link, Rest::Foreign),
    };
    if rest == Rest::Foreign {
        tracing::error!(
            file = %path.display(),
            seq = head.link.seq,
            "the audit journal is not as it was left; it goes on, and 'audit verify' names the place"
        );
    }
    let needs_newline = opened.needs_newline()?;
    let torn = if let Rest::Torn(hash) = rest { Some(hash) } else { None };
    Ok(Resumed { opened, head, link, needs_newline, torn })
}

/// The last line that follows from the head without a break, and where in the file it ends.
#[derive(Clone, Copy, Debug)]
struct Found {
    link: Link,
    end: u64,
}

/// Looks for the head's line and follows the chain from there; none when it is not there.
fn follow(file: &File, head: &Head) -> io::Result<Option<Found>> {
    let mut reader = BufReader::new(file);
    reader.rewind()?;
    let mut found = (head.link.seq < head.first).then_some(Found { link: head.link, end: 0 });
    let (mut text, mut end) = (Vec::new(), 0);
    loop {
        text.clear();
        (&mut reader).take(MAX_LINE as u64).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(found);
        }
        end += text.len() as u64;
        let line = Line::parse(text.strip_suffix(b"\n").unwrap_or(&text));
        found = match (found, line) {
            (Some(Found { link, .. }), Some(line)) if line.follows(&link) => {
                Some(Found { link: line.link, end })
            }
            (Some(found), _) => return Ok(Some(found)),
            (None, Some(line)) if line.link == head.link => Some(Found { link: head.link, end }),
            (None, _) => None,
        };
    }
}

/// What stands behind the last line of the chain.
#[derive(PartialEq, Eq, Debug)]
enum Rest {
    Nothing,
    /// What a crash left of a line.
    Torn(Hash),
    /// What no crash leaves.
    Foreign,
}

fn rest(opened: &Opened, from: u64) -> io::Result<Rest> {
    let length = usize::try_from(opened.size - from).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(Rest::Nothing);
    }
    if length > MAX_LINE {
        return Ok(Rest::Foreign);
    }
    let mut bytes = vec![0; length];
    opened.file.read_exact_at(&mut bytes, from)?;
    let rest = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if rest.split(|byte| *byte == b'\n').any(|line| Line::parse(line).is_some()) {
        return Ok(Rest::Foreign);
    }
    Ok(Rest::Torn(Hash::of(&[rest])))
}
