//! `load`: sends requests over many connections at once and tells what came of it as a line of JSON.
//!
//! Without `--rate`, each connection sends its next request when it has its answer (a closed loop, for CPU time). With
//! it, requests are due at fixed times, whether or not earlier ones were answered, and their latency counts from when
//! they were due: a proxy that stalls does not get out of what it would have been sent meanwhile.

mod connection;
mod schedule;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::json;

use self::connection::Connection;
use self::schedule::Schedule;
use crate::Failure;
use crate::deck::Deck;
use crate::options::Options;

/// Read at once. Large enough that a body of any size costs the load generator less than the proxy.
const BUFFER: usize = 256 * 1024;
/// A run in which nothing happens for so long has failed.
const PATIENCE: rustix::time::Timespec = rustix::time::Timespec { tv_sec: 30, tv_nsec: 0 };
/// What the timer's events are told by.
const TIMER: u64 = u64::MAX;

/// When a run is over.
#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    Requests(u64),
}

struct Run {
    connections: Vec<Connection>,
    /// Numbers of those that have nothing to do, the one that has had nothing for longest first.
    idle: VecDeque<usize>,
    deck: Deck,
    schedule: Option<Schedule>,
    until: Until,
    expect: Vec<u16>,
    began: Instant,
    sent: u64,
    answered: u64,
    statuses: BTreeMap<u16, u64>,
    received: u64,
    latencies: Vec<Duration>,
}

/// Runs `load --to ADDRESS --deck FILE --connections N --seconds S|--requests N [--rate PER_SECOND]
/// [--expect STATUS,…] [--first NUMBER] [--filler BYTES] [--message BYTES]`. `--first` is the request of the deck to begin
/// with. `--filler` sends so many bytes of body after each request; `--message` sends
/// WebSocket messages of so many bytes after the first answer, which is a 101 then.
///
/// # Errors
/// Any answer with a status that is not expected, and whatever ends a connection.
pub fn run(options: &Options) -> Result<(), Failure> {
    let to: SocketAddr = options.need("to")?;
    let until = match options.maybe::<f64>("seconds")? {
        Some(seconds) => Until::Time(Duration::from_secs_f64(seconds)),
        None => Until::Requests(options.need("requests")?),
    };
    let first = options.maybe("first")?.unwrap_or(0);
    let (filler, message) = (options.maybe("filler")?.unwrap_or(0), options.maybe("message")?);
    let connections = (0..options.need("connections")?)
        .map(|_| Connection::open(to, filler, message))
        .collect::<Result<Vec<_>, _>>()?;
    let mut run = Run {
        idle: (0..connections.len()).collect(),
        connections,
        deck: Deck::read(&options.need::<String>("deck")?, first)?,
        schedule: options.maybe("rate")?.map(Schedule::new).transpose()?,
        until,
        expect: expected(&options.maybe::<String>("expect")?.unwrap_or_else(|| "200".to_owned()))?,
        began: Instant::now(),
        sent: 0,
        answered: 0,
        statuses: BTreeMap::new(),
        received: 0,
        latencies: Vec::new(),
    };
    run.all()?;
    println!("{}", run.told());
    Ok(())
}

fn expected(list: &str) -> Result<Vec<u16>, Failure> {
    list.split(',')
        .map(|status| status.parse().map_err(|why| format!("--expect {list}: {why}").into()))
        .collect()
}

impl Run {
    fn all(&mut self) -> Result<(), Failure> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        for (number, connection) in self.connections.iter().enumerate() {
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&poll, connection.stream(), EventData::new_u64(number as u64), flags)?;
        }
        if let Some(schedule) = &self.schedule {
            epoll::add(
                &poll,
                schedule.timer(),
                EventData::new_u64(TIMER),
                EventFlags::IN | EventFlags::ET,
            )?;
        }
        if self.connections.iter().any(Connection::upgrades) {
            self.upgrade()?;
        }
        self.began = Instant::now();
        if let Some(schedule) = &mut self.schedule {
            schedule.begin(self.began)?;
        }
        let mut buffer = vec![0; BUFFER];
        let mut events = Vec::with_capacity(self.connections.len() + 1);
        self.send_what_is_due()?;
        while self.answered < self.sent || !self.is_over() {
            epoll::wait(&poll, spare_capacity(&mut events), Some(&PATIENCE))?;
            if events.is_empty() {
                return Err("nothing happened for too long".into());
            }
            for event in events.drain(..) {
                let (number, flags) = (event.data.u64(), event.flags);
                match &mut self.schedule {
                    Some(schedule) if number == TIMER => schedule.woke()?,
                    _ => self.serve(number as usize, flags, &mut buffer)?,
                }
            }
            self.send_what_is_due()?;
        }
        Ok(())
    }

    /// Brings all connections to where messages can be sent, one after the other.
    fn upgrade(&mut self) -> Result<(), Failure> {
        for connection in &mut self.connections {
            let number = self.deck.deal();
            connection.upgrade(self.deck.request(number))?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        match self.until {
            Until::Time(time) => self.began.elapsed() >= time,
            Until::Requests(count) => self.sent >= count,
        }
    }

    fn send_what_is_due(&mut self) -> Result<(), Failure> {
        while !self.idle.is_empty() && !self.is_over() {
            let now = Instant::now();
            let due = match &mut self.schedule {
                None => now,
                Some(schedule) => match schedule.take(now) {
                    Some(due) => due,
                    None => return Ok(()),
                },
            };
            let Some(number) = self.idle.pop_front() else { return Ok(()) };
            let card = self.deck.deal();
            self.sent += 1;
            self.connections[number].send(due, card, &self.deck)?;
        }
        Ok(())
    }

    fn serve(
        &mut self,
        number: usize,
        flags: EventFlags,
        buffer: &mut [u8],
    ) -> Result<(), Failure> {
        let connection = &mut self.connections[number];
        if flags.contains(EventFlags::OUT) {
            connection.write(&self.deck)?;
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(());
        }
        loop {
            let length = match connection.read(buffer) {
                Ok(0) => return Err("a connection was closed".into()),
                Ok(length) => length,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(why) => return Err(why.into()),
            };
            self.received += length as u64;
            if let Some(status) = connection.feed(&buffer[..length])? {
                if !self.expect.contains(&status) {
                    return Err(format!("an answer was {status}").into());
                }
                *self.statuses.entry(status).or_default() += 1;
                self.answered += 1;
                if self.schedule.is_some() {
                    self.latencies.push(connection.due().elapsed());
                }
                self.idle.push_back(number);
            }
            // Less than there was room for: the next byte is an event of its own.
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    fn told(&mut self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        self.latencies.sort_unstable();
        let percentile = |part| percentile(&self.latencies, part);
        let mut waits =
            self.schedule.as_ref().map_or_else(Vec::new, |schedule| schedule.waits().to_vec());
        waits.sort_unstable();
        json!({
            "requests": self.answered,
            "seconds": seconds,
            "received": self.received,
            "statuses": self.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "p50": percentile(0.5),
            "p90": percentile(0.9),
            "p99": percentile(0.99),
            "p999": percentile(0.999),
            "max": percentile(1.0),
            "late_p99": self::percentile(&waits, 0.99),
        })
        .to_string()
    }
}

/// In microseconds, of durations in order. `None` where there are none.
fn percentile(sorted: &[Duration], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some(sorted.get((last as f64 * part).round() as usize)?.as_nanos() as f64 / 1e3)
}
