//! Answers on their way out.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, VARY, WARNING};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use crate::media::{Form, to_yaml};
use crate::status::Fault;

/// A response body: whole, or a watch's stream.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Longest warning, as in Kubernetes.
const WARNING_LENGTH: usize = 256;

/// An answer before it is HTTP.
pub(crate) struct Reply {
    pub code: u16,
    pub media: String,
    pub body: Body,
    pub warnings: Vec<String>,
    pub etag: Option<String>,
    /// Name of the object that was made, for the audit file.
    pub name: String,
}

impl Reply {
    pub(crate) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, "application/json", format!("{value}\n"))
    }

    pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Self {
        Self::bytes(code, "text/plain; charset=utf-8", text)
    }

    pub(crate) fn bytes(code: u16, media: &str, body: impl Into<Bytes>) -> Self {
        let body = Full::new(body.into()).boxed_unsync();
        Self { code, media: media.to_owned(), body, warnings: Vec::new(), etag: None, name: String::new() }
    }

    /// A value in the form that the client wants; tables and the like are made before.
    pub(crate) fn value(code: u16, form: Form, value: &Value) -> Self {
        match form {
            Form::Yaml => Self::bytes(code, "application/yaml", to_yaml(value)),
            Form::Json | Form::Table | Form::Partial | Form::PartialList | Form::Aggregated(_) => {
                Self::json(code, value)
            }
        }
    }

    pub(crate) fn into_response(self, id: &str) -> Response<Body> {
        let Self { code, media, body, warnings, etag, name: _ } = self;
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let mut put = |key, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.append(key, value);
            }
        };
        if !media.is_empty() {
            put(CONTENT_TYPE, &media);
        }
        put(CACHE_CONTROL, "no-cache, private");
        put(http::HeaderName::from_static("audit-id"), id);
        if let Some(etag) = etag {
            put(ETAG, &etag);
            put(VARY, "Accept");
        }
        for mut warning in warnings {
            let mut end = WARNING_LENGTH.min(warning.len());
            while !warning.is_char_boundary(end) {
                end -= 1;
            }
            warning.truncate(end);
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
            put(WARNING, &format!("299 - \"{quoted}\""));
        }
        response
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        if fault.plain && fault.message.is_empty() {
            Self::bytes(fault.code, "", "")
        } else if fault.plain {
            Self::text(fault.code, fault.message)
        } else {
            Self { warnings: fault.warnings.to_vec(), ..Self::json(fault.code, &fault.to_value()) }
        }
    }
}
