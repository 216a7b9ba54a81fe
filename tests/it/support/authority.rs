//! A certificate authority for one test, and TLS servers that it vouches for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use coppice_gateway::clock::UnixTime;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

const EXTENSIONS: &str = "[req]\n\
    distinguished_name = name\n\
    prompt = no\n\
    [name]\n\
    CN = one-test\n\
    [authority]\n\
    basicConstraints = critical, CA:TRUE\n\
    keyUsage = critical, keyCertSign, cRLSign\n\
    subjectKeyIdentifier = hash\n\
    [end]\n\
    basicConstraints = critical, CA:FALSE\n\
    keyUsage = critical, digitalSignature\n\
    extendedKeyUsage = serverAuth, clientAuth\n\
    subjectKeyIdentifier = hash\n\
    authorityKeyIdentifier = keyid\n";

/// The authority, in a folder that vanishes with this value.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("openssl.cnf"), EXTENSIONS).unwrap();
        openssl(folder.path(), "-extensions authority -subj /CN=authority", "ca");
        Self { folder }
    }

    /// Its certificate, for whoever is to trust it.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate for `name` (`DNS:…` or `IP:…`, or several with commas between); the files of certificate and
    /// key.
    pub(crate) fn issue(&self, file: &str, name: &str) -> (PathBuf, PathBuf) {
        let arguments = format!(
            "-extensions end -addext subjectAltName={name} -subj /CN={file} -CA ca.pem -CAkey ca.key"
        );
        openssl(self.folder.path(), &arguments, file);
        let path = |ending| self.folder.path().join(format!("{file}.{ending}"));
        (path("pem"), path("key"))
    }

    /// The same, but its time was over years ago.
    pub(crate) fn issue_expired(&self, file: &str, name: &str) -> (PathBuf, PathBuf) {
        self.issue_until(file, name, "2020-02-01T00:00:00Z".parse().unwrap())
    }

    /// The same, but its time is over after that second.
    pub(crate) fn issue_until(&self, file: &str, name: &str, ends: UnixTime) -> (PathBuf, PathBuf) {
        let folder = self.folder.path();
        let config = format!(
            "[ca]\ndefault_ca = one\n[one]\ndatabase = index\nserial = serial\nnew_certs_dir = .\npolicy = any\n\
             default_md = sha256\n[any]\ncommonName = supplied\n\
             [end]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = {name}\n"
        );
        std::fs::write(folder.join("ca.cnf"), config).unwrap();
        std::fs::write(folder.join("index"), "").unwrap();
        let ask = "req -config openssl.cnf -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj";
        run(folder, &format!("{ask} /CN={file} -keyout {file}.key -out {file}.csr"));
        let sign = "ca -batch -notext -config ca.cnf -create_serial -cert ca.pem -keyfile ca.key -extensions end";
        let ends: String = ends.to_string().chars().filter(|one| !"-:T".contains(*one)).collect();
        let time = format!("-startdate 20200101000000Z -enddate {ends}");
        run(folder, &format!("{sign} {time} -in {file}.csr -out {file}.pem"));
        (folder.join(format!("{file}.pem")), folder.join(format!("{file}.key")))
    }

    /// A server under `name`, which may insist on a client certificate of this authority.
    pub(crate) fn server(&self, name: &str, ask_client: bool) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue("server", name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if ask_client {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.file()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

fn openssl(folder: &Path, arguments: &str, file: &str) {
    let begin = "req -x509 -config openssl.cnf -newkey ec -nodes -days 2";
    let curve = "-pkeyopt ec_paramgen_curve:prime256v1";
    run(folder, &format!("{begin} {curve} {arguments} -keyout {file}.key -out {file}.pem"));
}

fn run(folder: &Path, arguments: &str) {
    let made = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl must be installed");
    assert!(
        made.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
}
