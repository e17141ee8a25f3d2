//! What bodies are: reading requests (JSON, YAML, protobuf), choosing the form of answers.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use crate::json::{self, Decoded};
use crate::status::Fault;

/// Largest request body: what etcd's limits let the real server take.
pub(crate) const BODY: usize = 3 << 20;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Yaml,
    Table,
    Partial,
    PartialList,
    /// Discovery of everything in one document; the version of its group.
    Aggregated(&'static str),
}

/// The first form that the client takes and we have.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Form, Fault> {
    let mut offered = false;
    for header in headers.get_all(ACCEPT) {
        for range in header.to_str().unwrap_or_default().split(',').filter(|range| !range.trim().is_empty()) {
            offered = true;
            if let Some(form) = form_of(range) {
                return Ok(form);
            }
        }
    }
    if offered { Err(Fault::not_acceptable()) } else { Ok(Form::Json) }
}

fn form_of(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (mut kind, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    match (&*media, kind) {
        ("application/json" | "*/*" | "application/*", "") => Some(Form::Json),
        ("application/yaml", "") => Some(Form::Yaml),
        ("application/json", "Table") if group == "meta.k8s.io" && version == "v1" => Some(Form::Table),
        ("application/json", "PartialObjectMetadata") if group == "meta.k8s.io" => Some(Form::Partial),
        ("application/json", "PartialObjectMetadataList") if group == "meta.k8s.io" => {
            Some(Form::PartialList)
        }
        ("application/json", "APIGroupDiscoveryList") if group == "apidiscovery.k8s.io" => match version {
            "v2" => Some(Form::Aggregated("v2")),
            "v2beta1" => Some(Form::Aggregated("v2beta1")),
            _ => None,
        },
        _ => None,
    }
}

/// The media type of the request's body, without parameters; empty if it says none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a body up to its limit.
pub(crate) async fn collect<B>(body: B) -> Result<Bytes, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match http_body_util::Limited::new(body, BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Fault::too_large(BODY)),
        Err(error) => Err(Fault::bad_request(format!("unable to read the body: {error}"))),
    }
}

/// An object from a body of that media type.
pub(crate) fn decode(media: &str, body: &[u8]) -> Result<Decoded, Fault> {
    match media {
        "" | "application/json" => json::read(body).map_err(|error| {
            Fault::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        }),
        "application/yaml" => json::read(body).or_else(|_| lenient_yaml(body)),
        "application/vnd.kubernetes.protobuf" => crate::protobuf::decode(body).map(Decoded::from),
        _ => Err(Fault::unsupported_media(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ])),
    }
}

/// YAML of which the last of what it names twice counts.
fn lenient_yaml(body: &[u8]) -> Result<Decoded, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::bad_request("error decoding YAML: not UTF-8"))?;
    let read = |duplicate_keys| {
        let options = serde_saphyr::options! { duplicate_keys: duplicate_keys };
        serde_saphyr::from_str_with_options::<Value>(text, options)
    };
    let failed = |error: serde_saphyr::Error| Fault::bad_request(format!("error decoding YAML: {error}"));
    let error = match read(DuplicateKeyPolicy::Error) {
        Ok(value) => return Ok(value.into()),
        Err(error) => error,
    };
    let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), location } = error.without_snippet()
    else {
        return Err(failed(error));
    };
    let twice =
        format!("yaml: unmarshal errors:\n  line {}: key \"{key}\" already set in map", location.line());
    let value = read(DuplicateKeyPolicy::LastWins).map_err(failed)?;
    Ok(Decoded { value, duplicates: vec![twice] })
}

/// YAML, of which JSON is a part.
pub(crate) fn yaml(body: &[u8]) -> Result<Value, Fault> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|_| Fault::bad_request("error decoding YAML: not UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|error| Fault::bad_request(format!("error decoding YAML: {error}")))
}

/// A value as YAML.
pub(crate) fn to_yaml(value: &Value) -> String {
    // JSON is YAML: whatever the writer cannot say is still readable.
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}
