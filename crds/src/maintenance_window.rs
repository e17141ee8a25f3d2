//! MaintenanceWindow: when steps may start on selected machines, or may not.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use muster_model::{Cover, WindowAction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// When steps may start on selected machines (Allow), or may not (Deny, a freeze).
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "muster.dev",
    version = "v1alpha1",
    kind = "MaintenanceWindow",
    plural = "maintenancewindows",
    singular = "maintenancewindow",
    shortname = "mw",
    category = "muster",
    namespaced,
    status = "MaintenanceWindowStatus",
    derive = "PartialEq",
    doc = "When steps may start on selected machines (Allow), or may not (Deny, a freeze).",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Open", type_ = "boolean", json_path = ".status.open"),
    printcolumn(name = "Next open", type_ = "string", json_path = ".status.nextOpenTime"),
    printcolumn(name = "Next close", type_ = "string", json_path = ".status.nextCloseTime"),
    printcolumn(name = "Machines", type_ = "integer", json_path = ".status.machines"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule", priority = 1),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.timeZone", priority = 1),
    printcolumn(name = "Duration", type_ = "string", json_path = ".spec.duration", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.schedule) != (has(self.from) || has(self.to))")
        .message("write either schedule (and duration), or from and to"),
    validation = Rule::new("self.action == 'Deny' || !self.overridable")
        .message("overridable is of a Deny: an Allow may always be passed"),
    validation = Rule::new("has(self.from) == has(self.to)").message("from and to go together"),
    validation = Rule::new("has(self.schedule) == has(self.duration)")
        .message("schedule and duration go together; a span from-to has no duration"),
    validation = Rule::new("has(self.schedule) || (!has(self.timeZone) && !has(self.offsetDays))")
        .message("timeZone and offsetDays belong to a schedule; from and to are absolute"),
    validation = Rule::new("!has(self.from) || !has(self.to) || self.from < self.to").message("to must be after from"),
    // Of what is no duration it is said once, by the fields' own patterns.
    validation = Rule::new(
        "self.action == 'Deny' || !has(self.duration) || !(self.cutoff + self.duration).matches('^[0-9.hmsun]+$') || duration(self.cutoff) < duration(self.duration)"
    )
    .message("cutoff must be shorter than duration: nothing would ever start")
    .field_path(".cutoff"),
    validation = Rule::new(
        "self.action == 'Deny' || !has(self.from) || !has(self.to) || !self.cutoff.matches('^[0-9.hmsun]+$') || duration(self.cutoff) < self.to - self.from"
    )
    .message("cutoff must be shorter than the time between from and to: nothing would ever start")
    .field_path(".cutoff")
)]
pub struct MaintenanceWindowSpec {
    /// The machines that the window is for, by their labels and facts; `{}` is all of the namespace.
    #[schemars(schema_with = "schema::machine_selector")]
    pub machine_selector: LabelSelector,
    /// Allow: steps may start while it is open. Deny: none may start while it is open, whatever else allows it.
    #[schemars(schema_with = "schema::window_action")]
    pub action: WindowAction,
    /// When it opens: minute, hour, day of month, month, weekday, as in cron(5), with names, `L` and `#` (`0 3 * * TUE#2`). One
    /// of day of month and weekday is `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 256))]
    pub schedule: Option<String>,
    /// The start of a single span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// The end of a single span; the span is open from `from` until just before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Time>,
    /// Days added to each local date of the schedule: "second Tuesday plus three days".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -31, max = 31))]
    pub offset_days: Option<i32>,
    /// The IANA time zone of the schedule, such as Europe/Berlin. Absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: Option<String>,
    /// How long it stays open each time, as elapsed time: `6h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub duration: Option<String>,
    /// Nothing starts in so long a time before the end: less than it is open.
    #[serde(default = "zero")]
    #[schemars(schema_with = "schema::duration")]
    pub cutoff: String,
    /// The kinds of step that the window is about. Absent: all, those of later versions too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::covers")]
    pub covers: Option<Vec<Cover>>,
    /// Of a Deny: whether a WindowOverride may let items pass it.
    #[serde(default)]
    pub overridable: bool,
}

fn zero() -> String {
    "0s".to_owned()
}

/// Whether a window is open, and when that changes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindowStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Whether it is open now.
    #[serde(default)]
    pub open: bool,
    /// When it opens next; absent: never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_open_time: Option<Time>,
    /// When it closes next; absent: never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_close_time: Option<Time>,
    /// How many machines it selects.
    #[serde(default)]
    pub machines: u32,
    /// Ready: it can be read, selects machines and opens again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
