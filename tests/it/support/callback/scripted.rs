//! An auth service that answers by a script, holds its answers back while a test says so, and counts.

use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::talk::{Call, Channel, Reply};
use crate::support::wait::{PATIENCE, eventually};

/// Between two looks at whether a held call may be answered, or its caller has gone.
const LOOK: Duration = Duration::from_millis(2);

type Script = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

/// The running service; dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
    acceptor: Option<JoinHandle<()>>,
    scheme: &'static str,
}

struct State {
    script: Script,
    held: bool,
    stopping: bool,
    calls: Vec<Call>,
    connections: usize,
    open: HashMap<usize, TcpStream>,
    under_way: usize,
    most: usize,
    abandoned: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls, {} under way", self.calls.len(), self.under_way)
    }
}

impl Scripted {
    /// Answers each call as `script` says.
    pub(crate) fn start(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(script), None)
    }

    /// Answers each call alike.
    pub(crate) fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone())
    }

    /// The same by TLS. Connections whose handshake fails make no call.
    pub(crate) fn with_tls(config: Arc<ServerConfig>, reply: Reply) -> Self {
        Self::serve(Arc::new(move |_| reply.clone()), Some(config))
    }

    fn serve(script: Script, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Mutex::new(State {
            script,
            held: false,
            stopping: false,
            calls: Vec::new(),
            connections: 0,
            open: HashMap::new(),
            under_way: 0,
            most: 0,
            abandoned: 0,
        }));
        let state = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = {
                    let mut state = state.lock().unwrap();
                    if state.stopping {
                        return;
                    }
                    let number = state.connections;
                    state.connections += 1;
                    state.open.insert(number, stream.try_clone().unwrap());
                    number
                };
                let (state, tls) = (Arc::clone(&state), tls.clone());
                thread::spawn(move || {
                    converse(&state, channel(stream, tls));
                    state.lock().unwrap().open.remove(&number);
                });
            }
        });
        Self { address, shared, acceptor: Some(acceptor), scheme }
    }

    /// Answers all calls from now on so.
    pub(crate) fn script(&self, script: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        self.shared.lock().unwrap().script = Arc::new(script);
    }

    /// Answers all calls from now on alike.
    pub(crate) fn now(&self, reply: Reply) {
        self.script(move |_| reply.clone());
    }

    /// Holds back every answer that is not yet on its way. Calls are counted when they come in.
    pub(crate) fn hold(&self) {
        self.shared.lock().unwrap().held = true;
    }

    /// Lets go what was held, answered by the script of now.
    pub(crate) fn release(&self) {
        self.shared.lock().unwrap().held = false;
    }

    /// Where the gateway is to ask.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/verify", self.scheme, self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every call so far, in the order in which they came in.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.lock().unwrap().calls.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.lock().unwrap().calls.len()
    }

    /// Waits until there were so many calls.
    pub(crate) fn wait_for(&self, calls: usize) {
        eventually(&format!("{calls} calls"), PATIENCE, || self.count() >= calls);
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }

    /// Connections that are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.lock().unwrap().open.len()
    }

    /// The most calls that were ever unanswered at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.lock().unwrap().most
    }

    /// Held calls whose connection was closed before their answer.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.lock().unwrap().abandoned
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock().unwrap();
            state.stopping = true;
            for stream in state.open.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        // Wakes the acceptor, which is waiting for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn channel(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Channel {
    stream.set_nodelay(true).unwrap();
    match tls {
        None => Channel::Plain(stream),
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            Channel::Tls(Box::new(StreamOwned::new(connection, stream)))
        }
    }
}

/// Answers one call after another until either side has had enough.
fn converse(shared: &Mutex<State>, mut channel: Channel) {
    while let Some(call) = channel.call() {
        {
            let mut state = shared.lock().unwrap();
            state.calls.push(call.clone());
            state.under_way += 1;
            state.most = state.most.max(state.under_way);
        }
        let reply = may_answer(shared, &channel).then(|| {
            let script = Arc::clone(&shared.lock().unwrap().script);
            script(&call)
        });
        // Counted off first: whoever has read the answer finds it no longer under way.
        shared.lock().unwrap().under_way -= 1;
        let sent = reply.map(|reply| reply.send(&mut channel));
        let kept = matches!(sent, Some(Ok(true))) && channel.flush().is_ok();
        if !kept {
            return;
        }
    }
}

/// Waits while answers are held; whether there still is somebody to answer.
fn may_answer(shared: &Mutex<State>, channel: &Channel) -> bool {
    loop {
        let mut state = shared.lock().unwrap();
        if state.stopping {
            return false;
        }
        if !state.held {
            return true;
        }
        if channel.is_gone() {
            state.abandoned += 1;
            return false;
        }
        drop(state);
        thread::sleep(LOOK);
    }
}
