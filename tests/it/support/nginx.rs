//! nginx before a simulator, as the upstream that a gateway is told of: through TLS on loopback ports, or in clear on unix sockets.
//!
//! What it knows of the connection a request came by is told to the simulator in `X-Seen`, see [`Seen`].

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coppice_gateway::simulator::{RecordedRequest, Simulator};
use tempfile::TempDir;

use super::wait::{PATIENCE, eventually};

/// Debian puts it there; it is not in every user's `PATH`.
const NGINX: &str = "/usr/sbin/nginx";

/// A running nginx. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    nginx: Child,
    /// What stands for the sandbox API.
    pub(crate) api: String,
    /// What stands for the sandboxes' ports.
    pub(crate) envd: String,
    // Only held, so that nginx finds its files as long as it runs.
    _folder: TempDir,
}

/// How one request came to nginx.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The version of TLS, or nothing.
    pub(crate) tls: String,
    /// The version of HTTP.
    pub(crate) http: String,
    /// The name that was asked for in TLS, or nothing.
    pub(crate) name: String,
    /// The connection's number.
    pub(crate) connection: u64,
}

impl Seen {
    /// What nginx told of a request that it passed on.
    pub(crate) fn of(request: &RecordedRequest) -> Self {
        let told =
            request.header("x-seen").unwrap_or_else(|| panic!("not from nginx: {request:?}"));
        let told: Vec<&str> = told.split(';').map(str::trim).collect();
        let [tls, http, name, connection] = told[..] else { panic!("{told:?}") };
        Self {
            tls: tls.to_owned(),
            http: http.to_owned(),
            name: name.to_owned(),
            connection: connection.parse().unwrap(),
        }
    }
}

impl Nginx {
    /// Through TLS, with this certificate and its key. `lines` are further directives of both servers, and `listen` further words of
    /// where they listen.
    pub(crate) fn tls(
        simulator: &Simulator,
        (certificate, key): &(PathBuf, PathBuf),
        listen: &str,
        lines: &str,
    ) -> Self {
        let lines = format!(
            "ssl_certificate {}; ssl_certificate_key {}; {lines}",
            certificate.display(),
            key.display()
        );
        // Between finding a free port and taking it, somebody else may.
        let started = (0..5).find_map(|_| {
            let free = || TcpListener::bind("127.0.0.1:0").unwrap();
            let ports = [free(), free()].map(|bound| bound.local_addr().unwrap());
            let folder = folder();
            let at = ports.map(|port| format!("{port} ssl {listen}"));
            let nginx = start(folder.path(), simulator, &at, &lines)?;
            let [api, envd] = ports.map(|port| format!("https://{port}"));
            Some(Self { nginx, api, envd, _folder: folder })
        });
        started.expect("nginx starts")
    }

    /// In clear, on two unix sockets.
    pub(crate) fn sockets(simulator: &Simulator) -> Self {
        let folder = folder();
        let [api, envd] = ["api", "envd"]
            .map(|name| format!("unix:{}", folder.path().join(format!("{name}.sock")).display()));
        let nginx = start(folder.path(), simulator, &[api.clone(), envd.clone()], "");
        Self { nginx: nginx.expect("nginx starts"), api, envd, _folder: folder }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master gets SIGTERM and ends its worker; a plain kill would leave the worker behind.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("nginx-").tempdir().expect("a temporary directory")
}

/// Starts nginx and returns when it listens; `None` if it could not.
fn start(folder: &Path, simulator: &Simulator, at: &[String; 2], lines: &str) -> Option<Child> {
    let root = folder.display();
    let servers: String = at
        .iter()
        .zip([simulator.api_url(), simulator.envd_url()])
        .map(|(at, to)| {
            format!(
                r#"server {{
        listen {at};
        {lines}
        location / {{ proxy_pass {to}; }}
    }}
    "#
            )
        })
        .collect();
    let config = format!(
        r#"user root;
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    client_max_body_size 0;
    map $http_upgrade $hop {{ default upgrade; "" ""; }}
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $hop;
    proxy_set_header X-Seen "$ssl_protocol; $server_protocol; $ssl_server_name; $connection";
    proxy_buffering off;
    proxy_request_buffering off;
    {servers}
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
    // It listens before it writes that file.
    let mut ended = false;
    eventually("nginx listens", PATIENCE, || {
        ended = nginx.try_wait().unwrap().is_some();
        ended || std::fs::read_to_string(folder.join("nginx.pid")).is_ok_and(|pid| !pid.is_empty())
    });
    (!ended).then_some(nginx)
}
