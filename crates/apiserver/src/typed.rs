//! What the built-in kinds show of the real server's types: members that cannot be absent, times with six decimals.
//!
//! Custom kinds have none of this: they are what their schemas say.

use serde_json::{Value, json};

use crate::registry::Nature;

/// What an object of a built-in kind always has in the real server.
pub(crate) fn skeleton(nature: Nature) -> Value {
    match nature {
        Nature::Review | Nature::Lease => json!({"spec": {}}),
        Nature::Namespace => json!({"spec": {}, "status": {}}),
        Nature::Event => json!({"source": {}, "involvedObject": {}}),
        Nature::Definition => json!({"spec": {"names": {}}, "status": {"acceptedNames": {}}}),
        Nature::Custom | Nature::ConfigMap | Nature::Secret => json!({}),
    }
}

/// Fills in what the server sets on its own account: nobody owns it.
pub(crate) fn settle(nature: Nature, object: &mut Value) {
    if nature != Nature::Namespace {
        return;
    }
    if object["spec"]["finalizers"].is_null() && !object["metadata"]["deletionTimestamp"].is_string() {
        object["spec"]["finalizers"] = json!(["kubernetes"]);
    }
    if object["status"]["phase"].is_null() {
        object["status"]["phase"] = "Active".into();
    }
}

/// Times with six decimals and no others, as the real server reads them.
pub(crate) fn check_times(nature: Nature, object: &Value) -> Result<(), String> {
    let paths: &[&str] = match nature {
        Nature::Lease => &["/spec/acquireTime", "/spec/renewTime"],
        Nature::Event => &["/eventTime", "/series/lastObservedTime"],
        _ => &[],
    };
    for text in paths.iter().filter_map(|path| object.pointer(path)?.as_str()) {
        let decimals =
            text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
        if decimals != 6 || text.parse::<jiff::Timestamp>().is_err() {
            return Err(format!(
                "parsing time \"{text}\" as \"2006-01-02T15:04:05.000000Z07:00\": write six decimals"
            ));
        }
    }
    Ok(())
}
