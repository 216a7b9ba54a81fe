//! A client that speaks TLS and says what it saw: which certificate, which protocol, how the connection ended.
//!
//! It trusts one authority, made for the one test, and shows a certificate of its own if it was given one.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use coppice_gateway::tls::certificate::Certificate;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::authority::Authority;
use super::gateway::Setup;
use super::wait::PATIENCE;
use super::{Answer, Ask};

/// Certificate and key, as files.
pub(crate) type Pair<'a> = (&'a Path, &'a Path);

/// Has the gateway speak TLS with this certificate.
pub(crate) fn speaks(setup: Setup, (certificate, key): Pair<'_>) -> Setup {
    setup
        .flag(format!("--tls-cert={}", certificate.display()))
        .flag(format!("--tls-key={}", key.display()))
}

/// What a client believes, and who it says it is.
pub(crate) fn client(authority: &Authority, own: Option<Pair<'_>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                .unwrap()
        }
    }
}

/// The alert that ended a connection; panics when it ended otherwise.
pub(crate) fn alert(why: &io::Error) -> AlertDescription {
    let error = why.get_ref().and_then(|error| error.downcast_ref());
    let Some(rustls::Error::AlertReceived(alert)) = error else { panic!("no alert: {why:?}") };
    *alert
}

/// A TLS connection.
#[derive(Debug)]
pub(crate) struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Secure {
    /// Connects and shakes hands, asking for `name`.
    pub(crate) fn open(address: SocketAddr, authority: &Authority, name: &str) -> Self {
        Self::with(address, client(authority, None), name).unwrap()
    }

    /// The same as this client. In TLS 1.3 a server that refuses says so only when asked for something.
    pub(crate) fn with(address: SocketAddr, client: ClientConfig, name: &str) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { stream: StreamOwned::new(session, socket) })
    }

    /// Sends a request and reads its answer, which has a length.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.try_ask(ask).unwrap()
    }

    pub(crate) fn try_ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        self.send(&ask.kept_bytes(self.stream.sock.peer_addr()?))?;
        self.answer()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads an answer that has a length, or no body.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            read.extend(byte);
        }
        let mut answer = Answer::parse(&read);
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    /// Reads so many bytes, or to a goodbye before that.
    pub(crate) fn next(&mut self, count: u64) -> Vec<u8> {
        let mut read = Vec::new();
        (&mut self.stream).take(count).read_to_end(&mut read).unwrap();
        read
    }

    /// Reads to the end, which must be a goodbye and not only the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }

    /// The DNS names of the certificate that the server showed.
    pub(crate) fn shown(&self) -> Vec<String> {
        let chain = self.stream.conn.peer_certificates().unwrap();
        let names = Certificate::read(&chain[0]).unwrap().names;
        names.into_iter().map(String::from).collect()
    }
}
