//! One recorded scenario, asked again of a server in this process.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use muster_apiserver::{ApiServer, Body, Config, Identity};
use regex::Regex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::compare::{dig, shape, view};
use super::normalise::Normaliser;

/// The user without rights, as the recording calls it.
const USER: &str = "token-user";

/// How long to wait between two looks where a scenario waits for something.
const PAUSE: Duration = Duration::from_millis(10);

/// How long to wait for what was recorded before the test has failed. The recording's own times are those of a reader who
/// cannot know whether more will come; here all that a step shows has happened before it is asked, so nothing waits for
/// time to pass, and a busy machine is only slow.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Scenario<'a> {
    server: ApiServer,
    steps: &'a [Value],
    variables: HashMap<String, String>,
    normaliser: Normaliser,
    streams: HashMap<String, (http::response::Parts, Stream)>,
    /// Names of the steps that are known to be answered otherwise.
    differing: Vec<String>,
}

impl<'a> Scenario<'a> {
    /// A server with the recording's kinds, and the scenario's namespace.
    pub(super) async fn new(setup: &[Value], steps: &'a [Value], differing: Vec<String>) -> Self {
        let server = ApiServer::open(Config::default()).await.unwrap();
        let namespace = "api-case-5eed0001";
        let made = json!({"path": "/api/v1/namespaces", "body": {
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}});
        for object in setup.iter().chain([&made]) {
            let request = Request::post(object["path"].as_str().expect("a setup has paths"))
                .header("content-type", "application/json")
                .header("user-agent", "api-cases/1.0")
                .body(Full::new(Bytes::from(object["body"].to_string())))
                .unwrap();
            assert_eq!(server.handle(request, Identity::admin("admin")).await.status(), 201);
        }
        let variables: HashMap<String, String> = [("ns", namespace), ("id", "i5eed0002"), ("user", USER)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let names = variables.iter().map(|(key, value)| (value.clone(), format!("<{key}>"))).collect();
        let normaliser = Normaliser::new(names);
        Self { server, steps, variables, normaliser, streams: HashMap::new(), differing }
    }

    /// Asks everything; our response to each step, as the recording has its own.
    pub(super) async fn run(mut self) -> Vec<Value> {
        let mut answers = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            answers.push(self.step(step).await);
        }
        self.server.shutdown().await;
        answers
    }

    async fn step(&mut self, step: &Value) -> Value {
        let wanted = &step["expect_stream_lines"];
        if let Some(name) = step["read_stream"].as_str() {
            let (parts, mut stream) =
                self.streams.remove(name).expect("a stream is opened before it is read");
            let read = stream.read(wanted, &step["response"]).await;
            let answer = self.finish(step, &parts, Some(read));
            self.streams.insert(name.to_owned(), (parts, stream));
            return answer;
        }
        let until = &step["until"];
        // What will not come is not waited for.
        let differs = self.differing.iter().any(|name| step["name"] == **name);
        let deadline = Instant::now() + if differs { Duration::ZERO } else { PATIENCE };
        loop {
            let (parts, body) = self.send(step).await.into_parts();
            let mut stream = Stream { body, rest: Vec::new() };
            if let Some(name) = step["open_stream"].as_str() {
                let answer = self.finish(step, &parts, None);
                self.streams.insert(name.to_owned(), (parts, stream));
                return answer;
            }
            if !wanted.is_null() {
                let read = stream.read(wanted, &step["response"]).await;
                return self.finish(step, &parts, Some(read));
            }
            let bytes = stream.body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
            if until.is_null() || Instant::now() > deadline || reached(until, &parts, &body) {
                return self.finish(step, &parts, Some(json!({"body": body})));
            }
            // The recording polls too: what it waits for (a role in force, a name freed) is announced nowhere.
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send(&self, step: &Value) -> Response<Body> {
        let mut path = self.substitute(step["path"].as_str().expect("a step has a path"), true);
        let left = step["response"]["ended"] == false || !step["open_stream"].is_null();
        if let Some((before, after)) = path.split_once("timeoutSeconds=").filter(|_| left) {
            // The recorder left before the server would have ended it; so do we, however late.
            path = format!(
                "{before}timeoutSeconds=600{}",
                after.trim_start_matches(|c: char| c.is_ascii_digit())
            );
        }
        let method = step["method"].as_str().expect("a step has a method");
        let mut headers = vec![
            ("accept".to_owned(), Some("application/json".to_owned())),
            ("user-agent".to_owned(), Some("api-cases/1.0".to_owned())),
        ];
        let identity = match step["as"].as_str().unwrap_or("admin") {
            "admin" => Identity::admin("admin"),
            "user" => Identity::new(USER, &[]),
            "anonymous" => Identity::anonymous(),
            "badtoken" => {
                headers.push(("authorization".to_owned(), Some("Bearer not-a-token".to_owned())));
                Identity::anonymous()
            }
            other => panic!("nobody is called {other}"),
        };
        let body = match &step["body"] {
            Value::Null => None,
            Value::String(text) => Some(self.substitute(text, false)),
            value => Some(spaced(&self.substitute_all(value))),
        };
        if body.is_some() {
            let media = match step.get("content_type") {
                None => Some("application/json".to_owned()),
                Some(media) => media.as_str().map(str::to_owned),
            };
            headers.push(("content-type".to_owned(), media));
        }
        for (key, value) in step["headers"].as_object().into_iter().flatten() {
            let key = key.to_lowercase();
            headers.retain(|(known, _)| *known != key);
            headers.push((key, value.as_str().map(|text| self.substitute(text, false))));
        }
        let mut request = Request::builder().method(method).uri(&path);
        for (key, value) in headers {
            if let Some(value) = value {
                request = request.header(key, value);
            }
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).unwrap();
        self.server.handle(request, identity).await
    }

    fn substitute(&self, text: &str, in_path: bool) -> String {
        let pattern = Regex::new(r"\$\{([\w:]+)\}").expect("a valid pattern");
        let value = |found: &regex::Captures<'_>| {
            let name = &found[1];
            if let Some(count) = name.strip_prefix("big:") {
                return "x".repeat(count.parse().expect("a number"));
            }
            let value = self.variables.get(name).cloned().unwrap_or_else(|| format!("unset-{name}"));
            if in_path { encode(&value) } else { value }
        };
        pattern.replace_all(text, value).into_owned()
    }

    fn substitute_all(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.substitute(text, false).into(),
            Value::Array(list) => list.iter().map(|one| self.substitute_all(one)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(key, value)| (self.substitute(key, false), self.substitute_all(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// The answer as the recording would have it; `got` is a body, or a stream's lines.
    fn finish(&mut self, step: &Value, parts: &http::response::Parts, got: Option<Value>) -> Value {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers = json!({});
        if let Some(media) = parts.headers.get("content-type") {
            headers["content-type"] = text(media).into();
        }
        let warnings: Vec<Value> = parts
            .headers
            .get_all("warning")
            .iter()
            .map(|value| self.normaliser.text(&text(value)).into())
            .collect();
        if !warnings.is_empty() {
            headers["warning"] = warnings.into();
        }
        let mut answer = json!({"status": parts.status.as_u16(), "headers": headers});
        let Some(got) = got else { return answer };
        let whole = got.get("body").or_else(|| got.get("lines")).cloned().unwrap_or_default();
        for (name, path) in step["save"].as_object().into_iter().flatten() {
            match dig(&whole, path.as_str().unwrap_or_default()) {
                Some(Value::String(text)) => drop(self.variables.insert(name.clone(), text.clone())),
                Some(value) => drop(self.variables.insert(name.clone(), value.to_string())),
                None => {}
            }
        }
        if let Some(lines) = got["lines"].as_array() {
            let lines: Vec<Value> = lines.iter().map(|line| self.normaliser.body(line)).collect();
            answer["stream"] = lines.into();
            answer["ended"] = got["ended"].clone();
            return answer;
        }
        let body = match step["view"].as_array() {
            Some(steps) => view(whole, steps),
            None => whole,
        };
        let body = self.normaliser.body(&body);
        answer["body"] = if step["shape"] == true { shape(&body) } else { body };
        answer
    }
}

/// JSON as the recorder wrote it, with blanks: some messages repeat what was sent.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.clone()), spaced(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn reached(until: &Value, parts: &http::response::Parts, body: &Value) -> bool {
    let status = until["status"].as_u64().is_none_or(|status| status == u64::from(parts.status.as_u16()));
    let value = until["path"].as_str().is_none_or(|path| {
        let found = dig(body, path).filter(|value| !value.is_null());
        match until.get("equals") {
            Some(wanted) => found == Some(wanted),
            None => found.is_some(),
        }
    });
    status && value
}

/// Percent-encoding of all that is not plain.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An answer that is read line by line.
struct Stream {
    body: Body,
    rest: Vec<u8>,
}

impl Stream {
    /// At most so many lines, and whether the server ended the stream before: as many as were recorded, and then what is
    /// there besides.
    async fn read(&mut self, wanted: &Value, recorded: &Value) -> Value {
        let count = wanted["lines"].as_u64().and_then(|count| usize::try_from(count).ok()).expect("a number");
        let expected = recorded["stream"].as_array().map_or(0, Vec::len);
        let (mut lines, mut ended) = (Vec::new(), false);
        loop {
            while lines.len() < count
                && let Some(end) = self.rest.iter().position(|byte| *byte == b'\n')
            {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    lines.push(parse(&line[..end]));
                }
            }
            if lines.len() == count {
                break;
            }
            let frame = if lines.len() < expected || recorded["ended"] == true {
                tokio::time::timeout(PATIENCE, self.body.frame()).await.ok()
            } else {
                self.body.frame().now_or_never()
            };
            match frame {
                None => break,
                Some(Some(Ok(frame))) => self.rest.extend(frame.into_data().unwrap_or_default()),
                Some(None | Some(Err(_))) => {
                    ended = true;
                    if !self.rest.is_empty() {
                        lines.push(parse(&std::mem::take(&mut self.rest)));
                    }
                    break;
                }
            }
        }
        json!({"lines": lines, "ended": ended})
    }
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or_else(|_| String::from_utf8_lossy(line).into_owned().into())
}
