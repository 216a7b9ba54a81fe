//! A load generator that does not wait for answers before it owes the next request.
//!
//! Requests are due at fixed times; how long one takes counts from when it was due, not from when it could be sent, so
//! that a server that stalls is seen to delay all that were due meanwhile (no coordinated omission). Without a rate, each
//! connection sends as soon as it has its answer. Reads requests from standard input, separated by NUL, which are sent in
//! turn; prints one JSON object. `benches/audit.py` runs it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for one's own use, which should stop where something is wrong"
)]

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// What one connection saw.
#[derive(Default)]
struct Seen {
    /// From when each request was due to the end of its answer.
    took: Vec<Duration>,
    /// From when each request was due to when it was sent.
    late: Vec<Duration>,
    statuses: BTreeMap<u16, u64>,
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [address, requests, connections, rate] = &words[..] else {
        panic!("ADDRESS REQUESTS CONNECTIONS RATE (requests a second; 0: as many as possible)");
    };
    let (requests, connections): (u64, u64) =
        (requests.parse().unwrap(), connections.parse().unwrap());
    let rate: f64 = rate.parse().unwrap();
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input).unwrap();
    let texts: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();

    let streams: Vec<TcpStream> =
        (0..connections).map(|_| TcpStream::connect(address).unwrap()).collect();
    let start = Instant::now() + Duration::from_millis(50);
    let due =
        |number: u64| (rate > 0.0).then(|| start + Duration::from_secs_f64(number as f64 / rate));
    let seen: Vec<Seen> = thread::scope(|scope| {
        let threads: Vec<_> = streams
            .into_iter()
            .zip(0..)
            .map(|(stream, first)| {
                let numbers = (first..requests).step_by(usize::try_from(connections).unwrap());
                let (texts, due) = (&texts, &due);
                scope.spawn(move || run(stream, numbers, texts, due))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    report(seen, start.elapsed());
}

fn run(
    stream: TcpStream,
    numbers: impl Iterator<Item = u64>,
    texts: &[&[u8]],
    due: impl Fn(u64) -> Option<Instant>,
) -> Seen {
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream);
    let mut seen = Seen::default();
    for number in numbers {
        let due = due(number).unwrap_or_else(Instant::now);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        seen.late.push(due.elapsed());
        let turn = usize::try_from(number).unwrap() % texts.len();
        answers.get_mut().write_all(texts[turn]).unwrap();
        let status = answer(&mut answers);
        seen.took.push(due.elapsed());
        *seen.statuses.entry(status).or_default() += 1;
    }
    seen
}

/// Reads an answer whose head tells its length.
fn answer(from: &mut BufReader<TcpStream>) -> u16 {
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        assert!(from.read_line(&mut line).unwrap() > 0, "the connection was closed");
        match (status, line.trim_end().split_once(": ")) {
            (None, _) => status = line.split(' ').nth(1).map(|status| status.parse().unwrap()),
            (_, Some((name, value))) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            (_, Some(_)) => {}
            (_, None) => break,
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).unwrap();
    status.expect("a head has a status")
}

fn report(seen: Vec<Seen>, whole: Duration) {
    let mut all = Seen::default();
    for one in seen {
        all.took.extend(one.took);
        all.late.extend(one.late);
        for (status, count) in one.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    all.took.sort_unstable();
    all.late.sort_unstable();
    let micros = |of: &[Duration], per_mille: usize| {
        of[(of.len() * per_mille / 1000).min(of.len() - 1)].as_secs_f64() * 1e6
    };
    let statuses = all.statuses.iter().map(|(status, count)| format!("\"{status}\":{count}"));
    println!(
        "{{\"seconds\":{:.3},\"p50\":{:.1},\"p99\":{:.1},\"max\":{:.1},\"late_p99\":{:.1},\"statuses\":{{{}}}}}",
        whole.as_secs_f64(),
        micros(&all.took, 500),
        micros(&all.took, 990),
        micros(&all.took, 1000),
        micros(&all.late, 990),
        statuses.collect::<Vec<_>>().join(","),
    );
}
