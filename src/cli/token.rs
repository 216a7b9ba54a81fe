//! Which token, and which gateway, a client-side command uses.
//!
//! One source gives the token; the next is asked only when a source is absent, never when it is broken. A stored token
//! goes only to the gateway it was stored for.

use std::fs::File;
use std::io::{self, Read};

use reqwest::Url;

use super::args::{ClientOptions, TokenOption};
use super::credentials::Login;
use super::{Exit, Failure};
use crate::config::Sources;
use crate::keys::MAX_KEY;
use crate::secret::Secret;

const DEFAULT_URL: &str = "http://127.0.0.1:3000";

/// How a token is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Header {
    /// `Authorization: Bearer`
    Bearer,
    /// `X-API-Key`
    ApiKey,
}

/// A gateway, and what to send it.
#[derive(Debug)]
pub(super) struct Access {
    /// Its base URL.
    pub(super) url: Url,
    /// The token.
    pub(super) token: Secret,
    /// How to send it.
    pub(super) header: Header,
}

impl Access {
    /// Finds the token in its sources: options, `COPPICE_TOKEN`, `E2B_API_KEY`, then the stored login.
    pub(super) fn find(options: &ClientOptions, sources: &Sources) -> Result<Self, Failure> {
        let url = explicit_url(options, sources)?;
        let (token, header) = if let Some(found) = given_token(options, sources)? {
            found
        } else if let Some(login) = Login::load(sources)? {
            return stored(login, url);
        } else {
            let message = "no token; give --token, --token-file or --token-stdin, set COPPICE_TOKEN or E2B_API_KEY, \
                           or store one with 'coppice-gateway login'";
            return Err(Failure::new(Exit::Usage, message));
        };
        let url = url.map_or_else(|| parse_url(DEFAULT_URL, "the default"), Ok)?;
        Ok(Self { url, token, header })
    }

    /// As [`Access::find`], without the stored login: for storing another.
    pub(super) fn given(options: &ClientOptions, sources: &Sources) -> Result<Self, Failure> {
        let url = explicit_url(options, sources)?;
        let message = "no token; give --token, --token-file or --token-stdin, or set COPPICE_TOKEN or E2B_API_KEY";
        let found = given_token(options, sources)?;
        let (token, header) = found.ok_or_else(|| Failure::new(Exit::Usage, message))?;
        let url = url.map_or_else(|| parse_url(DEFAULT_URL, "the default"), Ok)?;
        Ok(Self { url, token, header })
    }
}

fn stored(login: Login, url: Option<Url>) -> Result<Access, Failure> {
    let home = parse_url(&login.url, "the stored login")?;
    if let Some(url) = url.filter(|url| *url != home) {
        let message =
            format!("the stored login is for {home}, not for {url}; log in there, or give a token");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(Access { url: home, token: login.token, header: Header::Bearer })
}

fn explicit_url(options: &ClientOptions, sources: &Sources) -> Result<Option<Url>, Failure> {
    match &options.url {
        Some(url) => parse_url(url, "--url").map(Some),
        None => {
            variable(sources, "COPPICE_URL")?.map(|url| parse_url(url, "COPPICE_URL")).transpose()
        }
    }
}

/// Reads a base URL. It is not quoted when it is wrong, since people put passwords into URLs.
fn parse_url(text: &str, name: &str) -> Result<Url, Failure> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let mut url = Url::parse(text).ok().filter(plain).ok_or_else(|| {
        let message =
            format!("{name}: must be a URL like http://HOST:PORT, without user, query or fragment");
        Failure::new(Exit::Config, message)
    })?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn given_token(
    options: &ClientOptions,
    sources: &Sources,
) -> Result<Option<(Secret, Header)>, Failure> {
    if let Some(option) = &options.token {
        return read_token(option).map(|token| Some((token, Header::Bearer)));
    }
    let of = |name, header| -> Result<Option<(Secret, Header)>, Failure> {
        let token = variable(sources, name)?;
        token
            .map(|token| usable(Secret::new(token.to_owned()), name))
            .transpose()
            .map(|token| token.map(|token| (token, header)))
    };
    match of("COPPICE_TOKEN", Header::Bearer)? {
        Some(found) => Ok(Some(found)),
        None => of("E2B_API_KEY", Header::ApiKey),
    }
}

/// The token that the command line gives, or says where to find.
pub(super) fn read_token(option: &TokenOption) -> Result<Secret, Failure> {
    let token = match option {
        TokenOption::Inline(token) => Secret::new(token.expose().to_owned()),
        TokenOption::File(path) => {
            // Not the path: it may be the token, put where the path belongs.
            let name = "--token-file";
            let file = File::open(path).map_err(|why| {
                Failure::new(Exit::Failed, format!("{name}: cannot be read: {why}"))
            })?;
            read_line(file, name)?
        }
        TokenOption::Stdin => read_line(io::stdin().lock(), "standard input")?,
    };
    usable(token, "the token")
}

/// A variable's value. One that is present but empty is an error, not absent: the next source may be somebody else.
fn variable<'a>(sources: &'a Sources, name: &str) -> Result<Option<&'a str>, Failure> {
    let Some(value) = sources.environment.get(name) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Some("") => Err(Failure::new(
            Exit::Config,
            format!("{name}: is empty; unset it or give it a value"),
        )),
        Some(value) => Ok(Some(value)),
        None => Err(Failure::new(Exit::Config, format!("{name}: is not UTF-8 text"))),
    }
}

fn usable(token: Secret, name: &str) -> Result<Secret, Failure> {
    let text = token.expose();
    if text.is_empty() || text.len() > MAX_KEY || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!("{name}: must be 1 to {MAX_KEY} visible ASCII characters");
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(token)
}

/// Reads a secret up to the end, less one newline.
pub(super) fn read_line(from: impl Read, name: &str) -> Result<Secret, Failure> {
    let mut text = String::new();
    let limit = MAX_KEY as u64 + 3;
    let read = from.take(limit).read_to_string(&mut text);
    read.map_err(|why| Failure::new(Exit::Failed, format!("{name}: cannot be read: {why}")))?;
    let text = Secret::new(text);
    let line = text.expose().strip_suffix('\n').unwrap_or(text.expose());
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}
