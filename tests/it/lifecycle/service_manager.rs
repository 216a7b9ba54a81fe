//! systemd's protocols, with the test as the service manager: what it is told, and sockets that it opened.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use coppice_gateway::simulator::{Options, Simulator};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use tempfile::TempDir;

use super::Processes;
use crate::support::authority::Authority;
use crate::support::gateway::Setup;
use crate::support::tls::speaks;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::world::{key, key_list, setup_before};
use crate::support::{Ask, Wire, World};

/// Records what it is told by the main process, as with `NotifyAccess=main`.
struct Manager {
    directory: TempDir,
    told: Arc<Mutex<Vec<String>>>,
    /// What others said.
    refused: Arc<Mutex<Vec<String>>>,
}

/// A notice, and the process that it is from.
fn receive(socket: &UnixDatagram) -> std::io::Result<(String, i32)> {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut buffer)];
    let length = recvmsg(socket, parts, &mut control, RecvFlags::empty())?.bytes;
    let sender = control.drain().find_map(|message| {
        if let RecvAncillaryMessage::ScmCredentials(sender) = message {
            return Some(sender.pid.as_raw_nonzero().get());
        }
        None
    });
    Ok((String::from_utf8(buffer[..length].to_vec()).unwrap(), sender.unwrap()))
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        sockopt::set_socket_passcred(&socket, true).unwrap();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let (recorded, thrown_away) = (Arc::clone(&told), Arc::clone(&refused));
        std::thread::spawn(move || {
            // The first one who speaks was started as the service.
            let mut main = None;
            while let Ok((text, sender)) = receive(&socket) {
                let is_heard = *main.get_or_insert(sender) == sender;
                let list = if is_heard { &recorded } else { &thrown_away };
                list.lock().unwrap().extend(text.lines().map(str::to_owned));
                let next = text.lines().find_map(|line| line.strip_prefix("MAINPID="));
                if let Some(next) = next.filter(|_| is_heard) {
                    main = Some(next.parse().unwrap());
                }
            }
        });
        Self { directory, told, refused }
    }

    fn address(&self) -> String {
        self.directory.path().join("notify").to_str().unwrap().to_owned()
    }

    /// Every line so far.
    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn waits_for(&self, count: usize, start: &str) {
        let found = || self.told().iter().filter(|line| line.starts_with(start)).count();
        eventually(&format!("{start} {count} times"), PATIENCE, || found() >= count);
    }

    /// Where a line is among those of these beginnings.
    fn order(&self, starts: &[&str]) -> Vec<String> {
        let told = self.told();
        let wanted = told.iter().filter(|line| starts.iter().any(|start| line.starts_with(start)));
        wanted.map(|line| line.split('=').next().unwrap().to_owned()).collect()
    }
}

#[test]
fn the_service_manager_hears_of_every_step() {
    let manager = Manager::new();
    let world = World::with(Options::default(), |setup| {
        setup.env("NOTIFY_SOCKET", manager.address()).env("WATCHDOG_USEC", "2000000")
    });
    manager.waits_for(1, "READY=1");
    // Ready means that requests are answered.
    assert_eq!(world.ask("read", Ask::get("/auth/whoami")).status, 200);
    let stream = Wire::open(world.control());
    manager.waits_for(1, "STATUS=1 connections");
    drop(stream);
    manager.waits_for(2, "WATCHDOG=1");
    world.gateway.reload();
    manager.waits_for(1, "RELOADING=1");
    manager.waits_for(2, "READY=1");
    assert_eq!(manager.order(&["READY", "RELOADING"]), ["READY", "RELOADING", "READY"]);
    let micros = manager.told();
    let micros = micros.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let up = std::fs::read_to_string("/proc/uptime").unwrap();
    let up: f64 = up.split(' ').next().unwrap().parse().unwrap();
    let at = micros.parse::<f64>().unwrap() / 1e6;
    assert!((up - 60.0..=up + 1.0).contains(&at), "{at} of {up}");
    world.gateway.signal("TERM");
    world.gateway.wait();
    manager.waits_for(1, "STOPPING=1");
}

#[test]
fn the_end_takes_the_time_that_it_needs() {
    let manager = Manager::new();
    let world =
        World::with(Options::default(), |setup| setup.env("NOTIFY_SOCKET", manager.address()));
    let (sandbox, _) = world.create("exec");
    let ask = Ask::get("/stream?chunks=100000&ms=50").key(&key("exec"));
    let ask = ask.header("E2b-Sandbox-Id", &sandbox).header("E2b-Sandbox-Port", "8080");
    let mut wire = Wire::open(world.data());
    assert_eq!(wire.start(&ask).status, 200);
    world.gateway.signal("TERM");
    manager.waits_for(2, "EXTEND_TIMEOUT_USEC=");
    manager.waits_for(1, "STATUS=1 connections, 1 streams; draining");
    world.gateway.signal("TERM");
    assert_eq!(world.gateway.wait().code(), Some(0));
}

#[test]
fn a_hung_worker_starves_the_watchdog() {
    let manager = Manager::new();
    let world = World::with(Options::default(), |setup| {
        setup.env("NOTIFY_SOCKET", manager.address()).env("WATCHDOG_USEC", "1000000")
    });
    manager.waits_for(2, "WATCHDOG=1");
    // One thread of it stands still, as if it were stuck.
    let stopped = stop_thread(world.gateway.id(), "worker-1");
    world.gateway.wait_for_log(&["not every worker turns"]);
    let fed = || manager.told().iter().filter(|line| *line == "WATCHDOG=1").count();
    let before = fed();
    world.gateway.wait_for_logs(3, &["not every worker turns"]);
    assert_eq!(fed(), before, "it was fed all the same");
    drop(stopped);
    manager.waits_for(before + 1, "WATCHDOG=1");
}

/// Holds a thread of that name until dropped.
fn stop_thread(process: u32, name: &str) -> impl Drop {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
    let named = |id: &String| {
        let own = std::fs::read_to_string(format!("/proc/{process}/task/{id}/comm")).unwrap();
        own.trim() == name
    };
    let id = ids.find(named).unwrap();
    // A tracer interrupts the thread, which goes on when the tracer ends (PTRACE_SEIZE, PTRACE_INTERRUPT).
    let script = "import ctypes, sys, time; \
        libc = ctypes.CDLL(None, use_errno=True); \
        task = int(sys.argv[1]); \
        failed = libc.ptrace(0x4206, task, 0, 0) or libc.ptrace(0x4207, task, 0, 0); \
        sys.exit(1) if failed else print('held', flush=True); \
        time.sleep(60)";
    let mut child = Command::new("python3");
    let child = child.args(["-c", script, &id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut held = Held(child);
    let mut line = String::new();
    let out = held.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
    assert_eq!(line, "held\n");
    held
}

struct Held(std::process::Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the gateway with these descriptors from 3 on, as a service manager does.
fn activated(setup: Setup, names: &str, count: usize, inherit: &[i32]) -> Setup {
    // By way of numbers that none of them has: one would be lost under another's.
    let aside = inherit.iter().zip(200..).map(|(from, to)| format!("exec {to}<&{from}; "));
    let moves = (200..).zip(3..).take(inherit.len());
    let moves = moves.map(|(from, to)| format!("exec {to}<&{from} {from}<&-; "));
    let moves: String = aside.chain(moves).collect();
    let script = format!("{moves}export LISTEN_PID=$$ LISTEN_FDS={count}; exec \"$@\"");
    setup.under(&["bash", "-c", &script, "activate"]).env("LISTEN_FDNAMES", names)
}

/// A descriptor that a child gets.
fn inherited(socket: impl Into<std::os::fd::OwnedFd>) -> (std::os::fd::OwnedFd, i32) {
    use std::os::fd::AsRawFd as _;
    let socket: std::os::fd::OwnedFd = socket.into();
    // Only a copy that was made for this is inherited.
    let copy = socket2::Socket::from(socket.try_clone().unwrap());
    copy.set_cloexec(false).unwrap();
    let copy = std::os::fd::OwnedFd::from(copy);
    let number = copy.as_raw_fd();
    (copy, number)
}

fn loopback() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The upstream has to have been asked first, which the start does not wait for.
fn is_ready_soon(ops: SocketAddr) {
    eventually("readiness", PATIENCE, || Ask::get("/readyz").send(ops).status == 200);
}

fn whoami(address: SocketAddr) -> u16 {
    Ask::get("/auth/whoami").key(&key("read")).send(address).status
}

#[test]
fn sockets_that_were_opened_by_name_replace_the_addresses() {
    let (api, api_address) = loopback();
    let (other, other_address) = loopback();
    let (ops, ops_address) = loopback();
    let sockets = [inherited(api), inherited(ops), inherited(other)];
    let numbers: Vec<i32> = sockets.iter().map(|(_, number)| *number).collect();
    // Clients may come before the gateway does.
    let early = TcpStream::connect(api_address).unwrap();
    let world = World::with(Options::default(), |setup| {
        activated(setup.without("--envd-listen"), "api:ops:api", 3, &numbers)
            .flag("--envd-listen=127.0.0.1:0=*,127.0.0.1:0=1")
    });
    assert_eq!((whoami(api_address), whoami(other_address)), (200, 200));
    is_ready_soon(ops_address);
    assert_eq!(world.gateway.control(), api_address, "--listen means nothing now");
    let mut early = Wire::over(early);
    assert_eq!(early.ask(&Ask::get("/auth/whoami").key(&key("read"))).status, 200);
    // They are there after an upgrade, too.
    let processes = Processes::of(&world.gateway);
    drop(sockets);
    processes.upgrade();
    assert_eq!((whoami(api_address), whoami(other_address)), (200, 200));
    is_ready_soon(ops_address);
}

#[test]
fn sockets_without_names_are_taken_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let (envd, envd_address) = loopback();
    let sockets = [inherited(UnixListener::bind(&path).unwrap()), inherited(envd)];
    let numbers: Vec<i32> = sockets.iter().map(|(_, number)| *number).collect();
    let simulator = Simulator::start(Options::default()).unwrap();
    let setup = setup_before(&simulator.api_url(), &simulator.envd_url())
        .env("COPPICE_API_KEYS", key_list())
        .flag("--envd-listen=127.0.0.1:1=*,127.0.0.1:0=7")
        .flag("--ops-listen=127.0.0.1:0");
    let gateway = activated(setup, "", 2, &numbers).start(2);
    assert_eq!(gateway.address("port=*"), envd_address, "its label is that of the first address");
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    is_ready_soon(gateway.address("metrics"));
}

#[test]
fn a_socket_in_clear_beside_required_certificates_is_warned_of() {
    let authority = Authority::new();
    let (certificate, own_key) = authority.issue("server", "DNS:gate.test");
    let path = authority.file().with_file_name("api.sock");
    let (other, _) = loopback();
    let sockets = [inherited(UnixListener::bind(&path).unwrap()), inherited(other)];
    let numbers: Vec<i32> = sockets.iter().map(|(_, number)| *number).collect();
    let world = World::with(Options::default(), |setup| {
        let setup = activated(setup.without("--envd-listen"), "api:api", 2, &numbers);
        speaks(setup, (&certificate, &own_key))
            .flag("--envd-listen=127.0.0.1:0=*,127.0.0.1:0=1")
            .flag(format!("--tls-client-ca={}", authority.file().display()))
    });
    let said = format!("unix:{} is in clear text and asks for no certificate", path.display());
    world.gateway.wait_for_log(&["\"WARN\"", &said]);
    let log = world.gateway.log();
    assert_eq!(log.iter().filter(|line| line.contains("is in clear text")).count(), 1);
}

#[test]
fn what_cannot_be_listened_on_stops_the_start() {
    let datagrams = || inherited(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let connected = || {
        let (listener, address) = loopback();
        let stream = TcpStream::connect(address).unwrap();
        drop(listener);
        inherited(stream)
    };
    let everywhere = || inherited(TcpListener::bind("0.0.0.0:0").unwrap());
    let fifth = || inherited(loopback().0);
    for (socket, names, count, why) in [
        (datagrams(), "api", 1, "is no listening stream socket"),
        (connected(), "api", 1, "is no listening stream socket"),
        (everywhere(), "api", 1, "is reachable from elsewhere"),
        (fifth(), "a:b:c:d", 4, "nothing says what 'd' is for"),
    ] {
        let setup = Setup::default().flag("--upstream=http://127.0.0.1:9");
        let setup = setup.env("COPPICE_LOG", "error");
        let numbers = vec![socket.1; count];
        let (status, text) = activated(setup, names, count, &numbers).run();
        assert_eq!(status.code(), Some(78), "{text}");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn an_upgrade_makes_the_new_process_the_service() {
    let manager = Manager::new();
    let world = World::with(Options::default(), |setup| {
        setup.env("NOTIFY_SOCKET", manager.address()).env("WATCHDOG_USEC", "2000000")
    });
    manager.waits_for(1, "READY=1");
    let processes = Processes::of(&world.gateway);
    processes.upgrade();
    manager.waits_for(1, &format!("MAINPID={}", processes.current()));
    // It says itself how things are, and is heard.
    manager.waits_for(2, "READY=1");
    let stream = Wire::open(world.control());
    manager.waits_for(1, "STATUS=1 connections");
    drop(stream);
    assert_eq!(*manager.refused.lock().unwrap(), Vec::<String>::new());
    world.gateway.wait();
    let after = manager.told().len();
    let feeds = || manager.told()[after..].iter().filter(|line| *line == "WATCHDOG=1").count();
    eventually("the new process feeds the watchdog", PATIENCE, || feeds() >= 2);
    processes.signal("TERM");
    eventually("the new process ends", PATIENCE, || processes.alive().is_empty());
    manager.waits_for(1, "STOPPING=1");
}
