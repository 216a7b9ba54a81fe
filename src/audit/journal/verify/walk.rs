//! The walk along the chain, line by line and file by file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};

use super::super::chain::{Hash, Line, Link};
use super::super::gap::Record;
use super::super::head::Head;
use super::{FileReport, MAX_LINE};

/// The lines of a file, each with its newline, where it has one. What is too long comes in pieces.
pub(super) struct Lines<'a> {
    reader: BufReader<&'a File>,
    text: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(256 << 10, file);
        reader.rewind()?;
        Ok(Self { reader, text: Vec::new() })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.text.clear();
        (&mut self.reader).take(MAX_LINE as u64).read_until(b'\n', &mut self.text)?;
        Ok((!self.text.is_empty()).then_some(self.text.as_slice()))
    }
}

/// What the next line should follow.
#[derive(Clone, Copy, Default)]
enum Expect {
    /// Whatever it says: nothing was read yet.
    #[default]
    Any,
    /// This line.
    After(Link),
    /// A line of this number, whose hash cannot be known.
    Number(u64),
}

/// Lines that are none of a journal: a crash leaves one, and the line behind it says so.
#[derive(Default)]
struct Torn {
    line: u64,
    bytes: Vec<u8>,
}

/// Where the walk has come to.
#[derive(Default)]
pub(super) struct Walk {
    expect: Expect,
}

impl Walk {
    /// Walks through a file, which follows those before it.
    pub(super) fn file(
        &mut self,
        file: &File,
        head: Option<&Head>,
        report: &mut FileReport,
    ) -> io::Result<()> {
        let mut lines = Lines::new(file)?;
        let mut torn: Option<Torn> = None;
        let mut number = 0;
        while let Some(text) = lines.next()? {
            number += 1;
            let (text, is_whole) = match text.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (text, false),
            };
            match Line::parse(text) {
                Some(line) => {
                    report.lines += 1;
                    if self.line(number, text, &line, torn.take(), report) {
                        if report.first.replace(report.first.unwrap_or(line.link.seq)).is_none() {
                            begin(number, &line, head, report);
                        }
                        report.last = report.last.max(Some(line.link.seq));
                    }
                    if let Some(head) = head.filter(|head| head.link.seq == line.link.seq)
                        && head.link.hash != line.link.hash
                    {
                        report.fault(Some(number), "is not the line that the head says was here");
                    }
                    if !is_whole {
                        report.remark(Some(number), "has no newline: a crash cut it off");
                    }
                }
                None if is_whole || text.len() >= MAX_LINE => {
                    report.lines += 1;
                    let torn = torn.get_or_insert_with(|| Torn { line: number, bytes: Vec::new() });
                    if !torn.bytes.is_empty() && torn.bytes.len() < MAX_LINE {
                        torn.bytes.push(b'\n');
                    }
                    torn.bytes.extend(text.iter().take(MAX_LINE - torn.bytes.len().min(MAX_LINE)));
                }
                None => {
                    let text = format!(
                        "is not finished ({} bytes): a crash cut it, or it is being written",
                        text.len()
                    );
                    report.remark(Some(number), text);
                }
            }
        }
        if let Some(torn) = torn {
            report.fault(Some(torn.line), NO_LINE);
        }
        self.end(head, report);
        Ok(())
    }

    /// Looks at one line. Whether its content is what its hash says.
    fn line(
        &mut self,
        number: u64,
        text: &[u8],
        line: &Line<'_>,
        torn: Option<Torn>,
        report: &mut FileReport,
    ) -> bool {
        let is_sound = line.is_sound();
        let record = Record::parse(text).filter(|_| is_sound);
        let explained = record.as_ref().and_then(|record| record.torn.as_deref());
        if let Some(Torn { line: at, bytes }) = torn {
            if explained == Some(Hash::of(&[&bytes]).as_str()) {
                report.remark(
                    Some(at),
                    "was not finished: a crash cut it, and the next line says so",
                );
            } else {
                report.fault(Some(at), NO_LINE);
                // It stands for a line, unless the chain goes on without it.
                self.expect = match self.expect {
                    Expect::After(link) if !line.follows(&link) => {
                        Expect::Number(link.next().saturating_add(1))
                    }
                    Expect::Any => Expect::Number(line.link.seq),
                    expect @ (Expect::After(_) | Expect::Number(_)) => expect,
                };
            }
        }
        if let Some(record) = record {
            report.lost += record.gap;
            let Record { gap, since, until, why, .. } = record;
            let at = match (since, until) {
                (Some(since), Some(until)) => format!(" from {since} to {until}"),
                (_, Some(until)) => format!(" before {until}"),
                (_, None) => String::new(),
            };
            report
                .remark(Some(number), format!("records that {gap} events are missing{at}: {why}"));
        }
        if !is_sound {
            report.fault(Some(number), "was edited: its hash does not fit its content");
            self.expect = match self.expect {
                Expect::After(link) => Expect::Number(link.next().saturating_add(1)),
                Expect::Number(seq) => Expect::Number(seq.saturating_add(1)),
                Expect::Any => Expect::Number(line.link.next()),
            };
            return false;
        }
        self.place(number, line, report);
        self.expect = Expect::After(line.link);
        true
    }

    /// Holds a sound line against the one before it.
    fn place(&self, number: u64, line: &Line<'_>, report: &mut FileReport) {
        let seq = line.link.seq;
        let expected = match self.expect {
            Expect::Any if seq == 1 => Link::GENESIS.next(),
            Expect::Any => {
                report.remark(
                    Some(number),
                    format!("has number {seq}: lines before it are in other files"),
                );
                return;
            }
            Expect::After(link) => link.next(),
            Expect::Number(expected) => expected,
        };
        let prev = match self.expect {
            Expect::After(link) => Some(link.hash),
            Expect::Any => Some(Link::GENESIS.hash),
            Expect::Number(_) => None,
        };
        if seq > expected {
            let text = match seq - expected {
                1 => format!(
                    "comes too early: line number {expected} of the chain is missing before it"
                ),
                _ => format!(
                    "comes too early: line numbers {expected} to {} of the chain are missing before it",
                    seq - 1
                ),
            };
            report.fault(Some(number), text);
        } else if seq < expected {
            let text = format!("is out of order: it has number {seq}, where {expected} belongs");
            report.fault(Some(number), text);
        } else if prev.is_some_and(|prev| prev != line.prev) {
            report.fault(
                Some(number),
                "does not follow the line before it: one of them was replaced",
            );
        }
    }

    /// Holds the end of a file against its head.
    fn end(&mut self, head: Option<&Head>, report: &mut FileReport) {
        let Some(Head { first, link }) = head else {
            if report.lines == 0 && report.remarks.is_empty() {
                report.remark(None, "is empty");
            }
            return;
        };
        let reached = match self.expect {
            Expect::Any => 0,
            Expect::After(link) => link.seq,
            Expect::Number(next) => next.saturating_sub(1),
        };
        let last = reached.max(report.last.unwrap_or(first - 1));
        if last < link.seq {
            let text = format!(
                "the file was cut: it ends with line number {last} of the chain, and the head says that {} was written",
                link.seq
            );
            report.fault(Some(report.lines + 1), text);
        } else if report.lines == 0 && report.remarks.is_empty() {
            report.remark(None, "is empty");
            if matches!(self.expect, Expect::Any) {
                self.expect = Expect::After(*link);
            }
        } else if last > link.seq {
            let text = format!(
                "{} lines are newer than the head: a gateway is writing, or was killed",
                last - link.seq
            );
            report.remark(None, text);
        }
    }
}

const NO_LINE: &str = "was edited or put there: it is no line of a journal";

/// Holds the first line of a file against its head.
fn begin(number: u64, line: &Line<'_>, head: Option<&Head>, report: &mut FileReport) {
    if let Some(head) = head.filter(|head| head.first < line.link.seq && report.faults.is_empty()) {
        let text = format!(
            "lines before it were removed: it has number {}, and the head says that the file begins with {}",
            line.link.seq, head.first
        );
        report.fault(Some(number), text);
    }
}
