//! Why a request head was refused, and how that reason travels through the HTTP server to whoever answers.
//!
//! The server only takes requests, so the reason rides in the method of a made-up one. Nothing the client sent is kept:
//! codes, statuses and sentences are constants.

use http::{Method, StatusCode};

/// What every made-up method starts with.
const METHOD_PREFIX: &str = "REFUSED-";

/// Why a request head was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// A line ended in LF without CR.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
    /// NUL or another control character; HTAB is allowed in header values only.
    ControlCharacter,
    /// An empty line where a request line should be.
    EmptyLine,
    /// The first line is not `method SP target SP version`.
    RequestLine,
    /// HTTP/1 with a version other than 1.0 and 1.1.
    Version,
    /// `CONNECT` or `TRACE`.
    Method,
    /// The target is neither a path nor the `*` of `OPTIONS`: absolute-form or authority-form.
    TargetForm,
    /// The target has a fragment.
    TargetFragment,
    /// The target has a byte that must be percent-encoded.
    TargetCharacter,
    /// A header line continued on the next one (obs-fold).
    ObsFold,
    /// White space between a header's name and its colon.
    SpaceBeforeColon,
    /// A header line without a colon, or with a name that is empty or no token.
    HeaderName,
    /// HTTP/1.1 without Host.
    MissingHost,
    /// More than one Host.
    RepeatedHost,
    /// Both Transfer-Encoding and Content-Length.
    AmbiguousLength,
    /// A Transfer-Encoding that is not exactly one `chunked`.
    TransferEncoding,
    /// Transfer-Encoding in HTTP/1.0.
    TransferEncodingVersion,
    /// More than one Content-Length, or a list in one.
    RepeatedContentLength,
    /// A Content-Length that is no plain decimal number, or too large.
    ContentLength,
    /// More headers than allowed.
    TooManyHeaders,
    /// More bytes of head than allowed.
    HeadTooLarge,
    /// The head was not complete in time.
    HeadTimeout,
}

impl Refusal {
    /// Every reason there is.
    pub const ALL: [Self; 23] = [
        Self::BareLf,
        Self::BareCr,
        Self::ControlCharacter,
        Self::EmptyLine,
        Self::RequestLine,
        Self::Version,
        Self::Method,
        Self::TargetForm,
        Self::TargetFragment,
        Self::TargetCharacter,
        Self::ObsFold,
        Self::SpaceBeforeColon,
        Self::HeaderName,
        Self::MissingHost,
        Self::RepeatedHost,
        Self::AmbiguousLength,
        Self::TransferEncoding,
        Self::TransferEncodingVersion,
        Self::RepeatedContentLength,
        Self::ContentLength,
        Self::TooManyHeaders,
        Self::HeadTooLarge,
        Self::HeadTimeout,
    ];

    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TooManyHeaders | Self::HeadTooLarge => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BareLf
            | Self::BareCr
            | Self::ControlCharacter
            | Self::EmptyLine
            | Self::RequestLine
            | Self::TargetForm
            | Self::TargetFragment
            | Self::TargetCharacter
            | Self::ObsFold
            | Self::SpaceBeforeColon
            | Self::HeaderName
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::AmbiguousLength
            | Self::TransferEncoding
            | Self::TransferEncodingVersion
            | Self::RepeatedContentLength
            | Self::ContentLength => StatusCode::BAD_REQUEST,
        }
    }

    /// A stable snake_case name, for logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::ControlCharacter => "control_character",
            Self::EmptyLine => "empty_line",
            Self::RequestLine => "request_line",
            Self::Version => "version",
            Self::Method => "method",
            Self::TargetForm => "target_form",
            Self::TargetFragment => "target_fragment",
            Self::TargetCharacter => "target_character",
            Self::ObsFold => "obs_fold",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::HeaderName => "header_name",
            Self::MissingHost => "missing_host",
            Self::RepeatedHost => "repeated_host",
            Self::AmbiguousLength => "ambiguous_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::TransferEncodingVersion => "transfer_encoding_version",
            Self::RepeatedContentLength => "repeated_content_length",
            Self::ContentLength => "content_length",
            Self::TooManyHeaders => "too_many_headers",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
        }
    }

    /// One sentence for the client.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::BareLf => "Lines of a request head must end in CRLF.",
            Self::BareCr => "A CR in a request head must be followed by LF.",
            Self::ControlCharacter => "The request head contains a control character.",
            Self::EmptyLine => "A request must not begin with an empty line.",
            Self::RequestLine => "The request line is malformed.",
            Self::Version => "Only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here.",
            Self::Method => "CONNECT and TRACE are not allowed.",
            Self::TargetForm => "The request target must be a path.",
            Self::TargetFragment => "The request target must not contain '#'.",
            Self::TargetCharacter => {
                "The request target contains a character that must be percent-encoded."
            }
            Self::ObsFold => "Folded header lines are not allowed.",
            Self::SpaceBeforeColon => "White space before the colon of a header is not allowed.",
            Self::HeaderName => "The name of a header is malformed.",
            Self::MissingHost => "HTTP/1.1 requires a Host header.",
            Self::RepeatedHost => "More than one Host header.",
            Self::AmbiguousLength => "Transfer-Encoding and Content-Length exclude each other.",
            Self::TransferEncoding => "The only Transfer-Encoding allowed is one 'chunked'.",
            Self::TransferEncodingVersion => "HTTP/1.0 has no Transfer-Encoding.",
            Self::RepeatedContentLength => "More than one Content-Length.",
            Self::ContentLength => "The Content-Length is not a valid number.",
            Self::TooManyHeaders => "The request has too many headers.",
            Self::HeadTooLarge => "The request head is too large.",
            Self::HeadTimeout => "The request head did not arrive in time.",
        }
    }

    /// The reason a made-up request stands for; `None` for every real method.
    ///
    /// A client that sends such a method itself refuses itself and nobody else.
    #[must_use]
    pub fn from_method(method: &Method) -> Option<Self> {
        let code = method.as_str().strip_prefix(METHOD_PREFIX)?;
        Self::ALL.into_iter().find(|refusal| refusal.code().eq_ignore_ascii_case(code))
    }

    /// The request that is handed to the HTTP server in place of the refused one.
    pub(super) fn request(self) -> String {
        let code = self.code().to_ascii_uppercase();
        format!("{METHOD_PREFIX}{code} / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_way_through_a_method() {
        for refusal in Refusal::ALL {
            let request = refusal.request();
            let token = request.split(' ').next().unwrap();
            let method = Method::from_bytes(token.as_bytes()).unwrap();
            assert_eq!(Refusal::from_method(&method), Some(refusal));
            assert!(refusal.status().is_client_error() || refusal == Refusal::Version);
            assert!(refusal.message().ends_with('.'));
        }
    }

    #[test]
    fn real_methods_are_no_reason() {
        for name in ["GET", "POST", "REFUSED", "REFUSED-", "REFUSED-NOTHING", "XREFUSED-METHOD"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(Refusal::from_method(&method), None, "{name}");
        }
    }
}
