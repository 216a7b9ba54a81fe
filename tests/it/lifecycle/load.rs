//! Reloads and upgrades while everything is going on: nobody notices, but whoever's key was removed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::Processes;
use crate::support::keys_file::KeysFile;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{DOMAIN, key};
use crate::support::{Ask, Wire};

const RELOADS: usize = 100;
const UPGRADES: usize = 5;

/// What a removed key's streams have left, with some allowance for a busy machine.
const SOON: Duration = Duration::from_millis(1_500);

/// How much of each kind was done, and when to stop.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    kept: AtomicU64,
    fresh: AtomicU64,
    commands: AtomicU64,
    messages: AtomicU64,
    uploads: AtomicU64,
}

impl Tally {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn counts(&self) -> [u64; 5] {
        let Self { kept, fresh, commands, messages, uploads, .. } = self;
        [kept, fresh, commands, messages, uploads].map(|count| count.load(Ordering::Relaxed))
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One sandbox and how to reach it.
#[derive(Clone)]
struct Place {
    control: SocketAddr,
    data: SocketAddr,
    id: String,
    token: String,
}

impl Place {
    fn into(&self, ask: Ask, port: u16) -> Ask {
        let host = format!("{port}-{}.{DOMAIN}", self.id);
        ask.host(&host).header("X-Access-Token", &self.token)
    }

    /// One connection that is never given up.
    fn keep_asking(&self, tally: &Tally, pause: Duration) {
        let mut wire = Wire::open(self.control);
        let ask = Ask::get("/templates").key(&key("read"));
        while tally.goes_on() {
            assert_eq!(wire.ask(&ask).status, 200);
            count(&tally.kept);
            std::thread::sleep(pause);
        }
    }

    /// A connection for each request.
    fn ask_afresh(&self, tally: &Tally) {
        while tally.goes_on() {
            let mut wire = Wire::open(self.control);
            assert_eq!(wire.ask(&Ask::get("/auth/whoami").key(&key("read"))).status, 200);
            count(&tally.fresh);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Commands, one after the other, each of which takes a while and prints all the time.
    fn run_commands(&self, tally: &Tally) {
        let start = br#"{"process":{"cmd":"/bin/bash","args":["-l","-c","for i in 1 2 3; do echo $i; sleep 0.2; done"]}}"#;
        let length = u32::try_from(start.len()).unwrap().to_be_bytes();
        let body = [&[0], &length[..], start].concat();
        let mut wire = Wire::open(self.data);
        while tally.goes_on() {
            let ask = Ask::new("POST", "/process.Process/Start").body(body.clone());
            let ask = ask.header("Content-Type", "application/connect+json");
            let ask = ask.header("Connect-Protocol-Version", "1");
            let answer = wire.ask(&self.into(ask, 49_983));
            let text = answer.text();
            assert_eq!(answer.status, 200, "{text}");
            assert!(text.contains("\"end\"") && !text.contains("\"error\""), "{text}");
            count(&tally.commands);
        }
    }

    /// One upload that ends with everything else, and then its answer.
    fn upload(&self, tally: &Tally) {
        let mut wire = Wire::open(self.data);
        let host = format!("8080-{}.{DOMAIN}", self.id);
        wire.send(
            format!(
                "POST /upload HTTP/1.1\r\nHost: {host}\r\nX-Access-Token: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
                self.token
            )
            .as_bytes(),
        );
        while tally.goes_on() {
            wire.send(format!("400\r\n{}\r\n", "x".repeat(0x400)).as_bytes());
            count(&tally.uploads);
            std::thread::sleep(Duration::from_millis(20));
        }
        wire.send(b"0\r\n\r\n");
        let answer = wire.answer_to("POST");
        assert_eq!(answer.status, 200);
        let sent = tally.uploads.load(Ordering::Relaxed) * 0x400;
        assert!(answer.text().contains(&sent.to_string()), "{sent}: {}", answer.text());
        // The same connection is good for more, in whatever process it is by now.
        assert_eq!(wire.ask(&self.into(Ask::get("/p"), 8080)).status, 200);
    }

    /// One WebSocket that echoes.
    fn echo(&self, tally: &Tally) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let host = format!("8080-{}.{DOMAIN}", self.id);
            let mut request = format!("ws://{host}/ws").into_client_request().unwrap();
            request.headers_mut().insert("e2b-traffic-access-token", self.token.parse().unwrap());
            let stream = tokio::net::TcpStream::connect(self.data).await.unwrap();
            let (mut socket, _) = client_async(request, stream).await.unwrap();
            while tally.goes_on() {
                socket.send(Message::text("once more")).await.unwrap();
                let echo = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
                assert_eq!(echo.unwrap().unwrap(), Message::text("once more"));
                count(&tally.messages);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
}

#[test]
fn nobody_notices_a_hundred_reloads_and_five_upgrades() {
    let file = KeysFile::new("team-a:k-removed:exec\nteam-a:k-stays:exec\n");
    let world = file.world();
    let processes = Processes::of(&world.gateway);
    let created = world.ask("exec", Ask::post("/v2/sandboxes", r#"{"templateID":"base"}"#)).json();
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    let place = Place {
        control: world.control(),
        data: world.data(),
        id: text("sandboxID"),
        token: text("trafficAccessToken"),
    };
    let envd = Place { token: text("envdAccessToken"), ..place.clone() };
    let tally = Tally::default();
    std::thread::scope(|scope| {
        scope.spawn(|| place.keep_asking(&tally, Duration::ZERO));
        scope.spawn(|| place.keep_asking(&tally, Duration::from_millis(50)));
        // Parked between two requests.
        scope.spawn(|| place.keep_asking(&tally, Duration::from_millis(2_500)));
        scope.spawn(|| place.ask_afresh(&tally));
        for _ in 0..3 {
            scope.spawn(|| envd.run_commands(&tally));
        }
        scope.spawn(|| envd.upload(&tally));
        scope.spawn(|| place.echo(&tally));
        let over = Over(&tally);
        let cut: Vec<_> = (0..UPGRADES)
            .map(|round| {
                let mut doomed = endless(&place, "k-removed");
                for _ in 0..RELOADS / UPGRADES {
                    reload(&processes);
                }
                let before = tally.counts();
                processes.upgrade();
                eventually("everything goes on", PATIENCE, || {
                    tally.counts().iter().zip(before).all(|(now, before)| *now > before + 1)
                });
                assert!(doomed.chunk().is_some(), "round {round}");
                doomed
            })
            .collect();
        file.write("team-a:k-stays:exec\n");
        processes.signal("HUP");
        let since = Instant::now();
        for mut doomed in cut {
            doomed.until_closed(PATIENCE);
        }
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        drop(over);
    });
    eventually("only the last process is left", PATIENCE, || processes.alive().len() == 1);
}

/// Ends the load, also when something went wrong.
struct Over<'a>(&'a Tally);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn endless(place: &Place, key: &str) -> Wire {
    let mut wire = Wire::open(place.data);
    let ask = Ask::get("/stream?chunks=100000&ms=50").key(key);
    let ask = ask.header("E2b-Sandbox-Id", &place.id).header("E2b-Sandbox-Port", "8080");
    assert_eq!(wire.start(&ask).status, 200);
    assert!(wire.chunk().is_some());
    wire
}

/// Has the process in place reload, and waits until it has.
fn reload(processes: &Processes<'_>) {
    let reloaded = || {
        let log = processes.gateway.log();
        log.iter().filter(|line| line.contains("\"reloaded; settings")).count()
    };
    let before = reloaded();
    processes.signal("HUP");
    eventually("it reloads", PATIENCE, || reloaded() > before);
}
