//! The address of the service. Operators put secrets into its query, so it shows neither that nor a user name.

use std::fmt;

use reqwest::Url;

/// Where the service is: `http://` or `https://`, with a path and a query that are sent as they stand.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl {
    url: Url,
    had_user: bool,
}

/// Why a text is no such address. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// No absolute URL.
    #[error("is no whole URL; write http://HOST:PORT/PATH or https://HOST/PATH")]
    Syntax,
    /// Another scheme.
    #[error("must start with http:// or https://")]
    Scheme,
    /// No host, or port 0.
    #[error("has no usable host and port")]
    Host,
}

impl CallbackUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        // A browser's leniency would turn a slip of the pen into another host.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(BadUrl::Syntax);
        }
        let mut url = Url::parse(text).map_err(|_| BadUrl::Syntax)?;
        let lower = text.to_ascii_lowercase();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadUrl::Scheme);
        }
        if !lower.starts_with("http://") && !lower.starts_with("https://") {
            return Err(BadUrl::Syntax);
        }
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(BadUrl::Host);
        }
        let had_user = !url.username().is_empty() || url.password().is_some();
        // `Authorization` is the client's credential; a second one in it would be judged in its place.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| BadUrl::Host)?;
        url.set_fragment(None);
        Ok(Self { url, had_user })
    }

    /// The whole address, for whoever sends the request. It has no user name, but may hold a secret in its query.
    #[must_use]
    pub const fn expose(&self) -> &Url {
        &self.url
    }

    /// Whether it was written with a user name or password, which are not sent.
    #[must_use]
    pub const fn had_user(&self) -> bool {
        self.had_user
    }

    /// Whether it is reached through TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether credentials would cross a network in clear text.
    #[must_use]
    pub fn is_in_clear(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_near = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        !self.is_tls() && !is_near
    }
}

impl fmt::Display for CallbackUrl {
    /// Without user name, password and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        shown.set_query(None);
        write!(f, "{shown}")
    }
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_and_not_shown() {
        let url = CallbackUrl::parse("https://canary:canary@auth.test/verify?tok=canary").unwrap();
        assert_eq!(url.to_string(), "https://auth.test/verify");
        assert!(!format!("{url:?}").contains("canary"));
        assert_eq!(url.expose().as_str(), "https://auth.test/verify?tok=canary");
        assert!(url.had_user());
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_quoted() {
        for (text, bad) in [
            ("", BadUrl::Syntax),
            (" ", BadUrl::Syntax),
            ("canary", BadUrl::Syntax),
            ("/verify", BadUrl::Syntax),
            ("http:canary", BadUrl::Syntax),
            ("http://auth .test", BadUrl::Syntax),
            ("http://auth.test\\@canary", BadUrl::Syntax),
            ("ftp://canary", BadUrl::Scheme),
            ("http://", BadUrl::Syntax),
            ("http://canary:0/", BadUrl::Host),
            ("http://canary:99999/", BadUrl::Syntax),
        ] {
            let refused = CallbackUrl::parse(text).unwrap_err();
            assert_eq!(refused, bad, "{text}");
            assert!(!refused.to_string().contains("canary"));
        }
    }

    #[test]
    fn only_loopback_is_near() {
        for (text, clear) in [
            ("http://127.0.0.1:9/v", false),
            ("http://[::1]:9/v", false),
            ("http://localhost/v", false),
            ("https://auth.test/v", false),
            ("http://auth.test/v", true),
            ("http://10.0.0.1/v", true),
        ] {
            assert_eq!(CallbackUrl::parse(text).unwrap().is_in_clear(), clear, "{text}");
        }
    }
}
