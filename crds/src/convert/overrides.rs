//! WindowOverride.

use muster_model::{BaselineRef, DebianVersion, ObjectName, OverrideWhat, PackageName};

use super::Reader;
use crate::{FieldError, OverrideItem, WindowOverride, WindowOverrideSpec};

impl WindowOverride {
    /// The override as the planner knows it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn to_model(&self) -> Result<muster_model::WindowOverride, Vec<FieldError>> {
        let WindowOverrideSpec { windows, items, reason, until_time } = &self.spec;
        let mut reader = Reader::default();
        let name = reader.name(&self.metadata);
        let windows: Option<_> =
            windows.iter().map(|name| reader.read("spec.windows", "W9", ObjectName::parse(name))).collect();
        let items: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(at, item)| reader.override_item(&format!("spec.items[{at}]"), item))
            .collect();
        let items: Option<Vec<_>> = items.into_iter().collect();
        reader.finish(|| {
            Some(muster_model::WindowOverride {
                name: name?,
                windows: windows?,
                items: items?,
                reason: reason.clone(),
                until: until_time.0,
            })
        })
    }
}

impl Reader {
    fn override_item(&mut self, field: &str, item: &OverrideItem) -> Option<muster_model::OverrideItem> {
        let OverrideItem { baseline, package, version, reboot } = item;
        let name = self.read(format!("{field}.baseline.name"), "", ObjectName::parse(&baseline.name));
        let what = match (package, version, reboot) {
            (Some(package), Some(version), false) => {
                let package = self.read(format!("{field}.package"), "", PackageName::parse(package));
                let version = self.read(format!("{field}.version"), "V1", DebianVersion::parse(version));
                package.and_then(|package| Some(OverrideWhat::Package(package, version?)))
            }
            (None, None, true) => Some(OverrideWhat::Reboot),
            _ => {
                self.refuse(field, "W9", "write either package and version, or reboot: true");
                None
            }
        };
        let baseline = BaselineRef { kind: baseline.kind, name: name? };
        Some(muster_model::OverrideItem { baseline, what: what? })
    }
}
