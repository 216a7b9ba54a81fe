//! What stands before the gateway in production, for tests: a TLS server for one domain and all its names, and the
//! CONNECT proxy through which a client without DNS reaches it.
//!
//! nginx ends TLS (HTTP/2 and HTTP/1.1) and passes everything on unbuffered, as an operator would set it up. Only its
//! own certificate authority, made for the one test, vouches for it. Nothing here knows what a sandbox is.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use socket2::SockRef;
use tempfile::TempDir;

use super::authority::Authority;
use super::wait::{PATIENCE, eventually};

/// Debian puts it there; it is not in every user's `PATH`.
const NGINX: &str = "/usr/sbin/nginx";
/// A request head of the CONNECT proxy larger than this is no client of ours.
const MAX_HEAD: u64 = 16 * 1024;

/// A running TLS server and the proxy that leads to it. Both stop when it is dropped.
#[derive(Debug)]
pub(crate) struct Front {
    authority: Authority,
    // Only held, so that nginx finds its files as long as it runs.
    _folder: TempDir,
    nginx: Child,
    proxy: ConnectProxy,
}

impl Front {
    /// Serves `https://<domain>` and `https://*.<domain>` by passing requests on to `upstream`, an `http://host:port`
    /// address, with their Host.
    pub(crate) fn new(upstream: &str, domain: &str) -> Self {
        let folder =
            tempfile::Builder::new().prefix("front-").tempdir().expect("a temporary directory");
        let authority = Authority::new();
        let server = authority.issue("server", &format!("DNS:{domain},DNS:*.{domain}"));
        let socket = folder.path().join("tls.sock");
        let nginx = start_nginx(folder.path(), &socket, server, upstream, domain);
        let proxy = ConnectProxy::start(Target::Unix(socket), domain);
        Self { authority, _folder: folder, nginx, proxy }
    }

    /// The address for a client's `proxy` option.
    pub(crate) fn proxy_url(&self) -> String {
        self.proxy.url()
    }

    /// The PEM file of the authority to trust: `SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.authority.file()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // The master gets SIGTERM and ends its worker; a plain kill would leave the worker behind.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
    }
}

/// Starts nginx on a unix socket (no port to lose to somebody else) and returns when it accepts.
fn start_nginx(
    folder: &Path,
    socket: &Path,
    (certificate, key): (PathBuf, PathBuf),
    upstream: &str,
    domain: &str,
) -> Child {
    let root = folder.display();
    let (certificate, key) = (certificate.display(), key.display());
    let socket_path = socket.display();
    let address = upstream.trim_start_matches("http://").trim_end_matches('/');
    let config = format!(
        r#"user root;
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    # An empty value removes the header, which keeps plain requests on kept-alive connections.
    map $http_upgrade $hop {{ default upgrade; "" ""; }}
    upstream gateway {{ server {address}; keepalive 64; }}
    server {{
        listen unix:{socket_path} ssl http2;
        server_name {domain} *.{domain};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        client_max_body_size 0;
        location / {{
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $hop;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 700s;
            proxy_send_timeout 700s;
        }}
    }}
}}
"#
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).expect("write nginx.conf");
    let mut nginx = Command::new(NGINX)
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .args(["-g", "daemon off;"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx must be installed (Debian: nginx-light)");
    // nginx has no way to say that it listens, so it is asked until it answers or is gone.
    eventually("nginx listens", PATIENCE, || {
        if let Ok(Some(status)) = nginx.try_wait() {
            let log = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            panic!("nginx ended with {status}: {log}");
        }
        UnixStream::connect(socket).is_ok()
    });
    nginx
}

/// Where every name of the domain leads.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Target {
    /// A connection, whichever kind it is.
    fn connect(&self) -> io::Result<File> {
        let connection: OwnedFd = match self {
            Self::Unix(path) => UnixStream::connect(path)?.into(),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.into()
            }
        };
        Ok(connection.into())
    }
}

/// An HTTP proxy that knows CONNECT only and leads every name of the domain to one server.
#[derive(Debug)]
pub(crate) struct ConnectProxy {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl ConnectProxy {
    pub(crate) fn start(target: Target, domain: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("the bound address");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let suffix = format!(".{domain}");
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), target, suffix) = (client, target.clone(), suffix.clone()) else {
                    continue;
                };
                // A tunnel that breaks is the client's to report.
                thread::spawn(move || drop(tunnel(client, &target, &suffix)));
            }
        });
        Self { address, stopping, acceptor: Some(acceptor) }
    }
}

impl ConnectProxy {
    /// The address for a client's `proxy` option.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which is waiting for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers one CONNECT and copies both ways until both sides are done.
fn tunnel(client: TcpStream, target: &Target, suffix: &str) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let mut writer = client;
    let Some(host) = connect_host(&mut reader)? else {
        return writer.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    };
    // A client that asks for any other host has ignored its settings: it must not look as if it worked.
    if !host.ends_with(suffix) && host != suffix[1..] {
        return writer.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    }
    let mut server = target.connect()?;
    writer.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n")?;

    let mut from_server = server.try_clone()?;
    let mut to_client = writer.try_clone()?;
    let downstream = thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut reader, &mut server);
    let _ = SockRef::from(&server).shutdown(Shutdown::Write);
    let _ = downstream.join();
    Ok(())
}

/// Reads a request head and returns the host of a CONNECT; `None` for any other method.
fn connect_host(reader: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let mut first = String::new();
    head.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? <= 2 {
            break;
        }
    }
    let mut words = first.split_ascii_whitespace();
    let (method, authority) = (words.next(), words.next().unwrap_or_default());
    let host = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
    Ok((method == Some("CONNECT")).then(|| host.to_owned()))
}
