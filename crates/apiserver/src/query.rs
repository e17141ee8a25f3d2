//! The query of a request, decoded and checked: `limit`, `labelSelector`, `dryRun` and the rest.

use std::borrow::Cow;
use std::time::Duration;

use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Fault, cause};

/// Longest name of a field manager, as in Kubernetes.
const MANAGER_LENGTH: usize = 128;

/// Decoded pairs.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key, true).into_owned(), decode(value, true).into_owned())
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty())
    }

    /// Is it there, and not `false` or `0`? Anything else is yes, as in Kubernetes.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let value = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        value.is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    fn number(&self, key: &str) -> Result<Option<i64>, Fault> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Fault::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))
    }
}

/// Options of a list or watch.
#[derive(Debug)]
pub(crate) struct ListOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub limit: usize,
    pub resume: Option<String>,
    /// `None`: not said; `Some(0)`: anything will do.
    pub version: Option<u64>,
    pub exact: bool,
    pub timeout: Option<Duration>,
    pub bookmarks: bool,
    pub initial_events: bool,
    /// `sendInitialEvents=false`: not even those that a missing version would bring.
    pub no_initial_events: bool,
}

impl ListOptions {
    pub(crate) fn parse(query: &Query, watch: bool) -> Result<Self, Fault> {
        let selector = |key: &str| query.get(key).unwrap_or_default().to_owned();
        let version = match query.get("resourceVersion") {
            None => None,
            Some(text) => Some(text.parse::<u64>().map_err(|_| {
                Fault::bad_request(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))
            })?),
        };
        let send = query.get("sendInitialEvents");
        let initial_events = send.is_some() && query.flag("sendInitialEvents");
        let matching = query.get("resourceVersionMatch");
        check_match(matching, version, watch, send.is_some())?;
        let resume = query.get("continue").map(str::to_owned);
        if resume.is_some() && version.is_some_and(|version| version > 0) {
            return Err(Fault::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(Self {
            labels: LabelSelector::parse(&selector("labelSelector")).map_err(Fault::bad_request)?,
            fields: FieldSelector::parse(&selector("fieldSelector")).map_err(Fault::bad_request)?,
            limit: query
                .number("limit")?
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n > 0)
                .unwrap_or(usize::MAX),
            resume,
            version,
            exact: matching == Some("Exact"),
            timeout: query
                .number("timeoutSeconds")?
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
            no_initial_events: send.is_some() && !initial_events,
        })
    }
}

fn check_match(matching: Option<&str>, version: Option<u64>, watch: bool, send: bool) -> Result<(), Fault> {
    const FIELD: &str = "resourceVersionMatch";
    let mut causes = Vec::new();
    let mut forbid = |field: &str, why: &str| {
        causes.push(cause("FieldValueForbidden", field, format!("Forbidden: {why}")));
    };
    let supported = if watch { "\"NotOlderThan\"" } else { "\"Exact\", \"NotOlderThan\", \"\"" };
    let known = match matching {
        None | Some("NotOlderThan") => true,
        Some("Exact") => !watch,
        Some(_) => false,
    };
    if watch {
        if send && matching != Some("NotOlderThan") {
            forbid(FIELD, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if matching.is_some() && !send {
            forbid(FIELD, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
    } else {
        if matching.is_some() && version.is_none() {
            forbid(FIELD, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if matching == Some("Exact") && version == Some(0) {
            forbid(FIELD, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        if send {
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
    }
    if !known {
        let value = matching.unwrap_or_default();
        let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
        causes.push(cause("FieldValueNotSupported", FIELD, message));
    }
    if causes.is_empty() { Ok(()) } else { Err(Fault::invalid("meta.k8s.io", "ListOptions", "", causes)) }
}

/// What to do about fields that the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refuse,
    Warn,
    Ignore,
}

/// Options of a write.
#[derive(Debug)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    pub manager: Option<String>,
    pub unknown: Unknown,
    pub force: bool,
}

impl WriteOptions {
    /// `kind`: `CreateOptions` …; `apply`: is it a server-side apply?
    pub(crate) fn parse(query: &Query, kind: &str, apply: bool) -> Result<Self, Fault> {
        let refuse =
            |reason, field: &str, message| Err(Fault::invalid_options(kind, cause(reason, field, message)));
        let manager = query.get("fieldManager").map(str::to_owned);
        if let Some(name) = &manager
            && name.len() > MANAGER_LENGTH
        {
            return refuse(
                "FieldValueTooLong",
                "fieldManager",
                format!("Too long: may not be more than {MANAGER_LENGTH} bytes"),
            );
        }
        if let Some(name) = &manager
            && let Some((at, bad)) = name.char_indices().find(|(_, c)| c.is_control())
        {
            let code = u32::from(bad);
            let message = format!(
                "Invalid value: \"{}\": invalid character U+{code:04X} (at position {at})",
                name.replace(bad, &format!("\\x{code:02x}"))
            );
            return refuse("FieldValueInvalid", "fieldManager", message);
        }
        if apply && manager.is_none() {
            return refuse(
                "FieldValueRequired",
                "fieldManager",
                "Required value: is required for apply patch".to_owned(),
            );
        }
        if !apply && kind == "PatchOptions" && query.get("force").is_some() {
            return refuse(
                "FieldValueForbidden",
                "force",
                "Forbidden: may not be specified for non-apply patch".to_owned(),
            );
        }
        let unknown = match query.get("fieldValidation") {
            Some("Strict") => Unknown::Refuse,
            None | Some("Warn") => Unknown::Warn,
            Some("Ignore") => Unknown::Ignore,
            Some(other) => {
                let message = format!(
                    "Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
                );
                return refuse("FieldValueNotSupported", "fieldValidation", message);
            }
        };
        Ok(Self {
            dry_run: dry_run(query.get("dryRun"), kind)?,
            manager,
            unknown,
            force: apply && query.flag("force"),
        })
    }
}

/// Is it a dry run?
pub(crate) fn dry_run(value: Option<&str>, kind: &str) -> Result<bool, Fault> {
    match value {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => {
            let message = format!("Unsupported value: [\"{other}\"]: supported values: \"All\"");
            Err(Fault::invalid_options(kind, cause("FieldValueNotSupported", "dryRun", message)))
        }
    }
}

/// Percent-decoding; `+` is a blank in queries only.
pub(crate) fn decode(text: &str, query: bool) -> Cow<'_, str> {
    let encoded = text.contains('%') || query && text.contains('+');
    if !encoded {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (b'+', _) if query => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
