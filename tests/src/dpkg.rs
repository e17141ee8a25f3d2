//! What dpkg says it did: `/var/log/dpkg.log`.

/// One thing that dpkg did to one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpkgAction {
    /// When, in the machine's local time with seconds, as dpkg writes it.
    pub time: String,
    /// `install`, `upgrade`, `configure`, `remove` or `purge`. A downgrade is an `upgrade` to a lower version.
    pub action: String,
    /// The package's name.
    pub package: String,
    /// Its architecture.
    pub architecture: String,
    /// The version before; `None` if it was not there.
    pub from: Option<String>,
    /// The version after; `None` if it is not there.
    pub to: Option<String>,
}

/// The lines that say what was done; those on states and triggers repeat it.
pub(crate) fn parse_log(log: &str) -> Vec<DpkgAction> {
    log.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<DpkgAction> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [day, clock, action @ ("install" | "upgrade" | "configure" | "remove" | "purge"), package, from, to] =
        words[..]
    else {
        return None;
    };
    let (package, architecture) = package.split_once(':')?;
    let version = |text: &str| (text != "<none>").then(|| text.to_owned());
    Some(DpkgAction {
        time: format!("{day} {clock}"),
        action: action.to_owned(),
        package: package.to_owned(),
        architecture: architecture.to_owned(),
        from: version(from),
        to: version(to),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_read_and_what_repeats_it_is_not() {
        let log = "2026-11-23 01:50:00 startup archives unpack\n\
                   2026-11-23 01:50:01 upgrade ferry:amd64 1.0-1 1.1-1\n\
                   2026-11-23 01:50:01 status half-configured ferry:amd64 1.0-1\n\
                   2026-11-23 01:50:02 install oar:all <none> 2.0\n";
        let actions = parse_log(log);
        let told: Vec<_> = actions
            .iter()
            .map(|a| (a.action.as_str(), a.package.as_str(), a.from.as_deref(), a.to.as_deref()))
            .collect();
        assert_eq!(
            told,
            [("upgrade", "ferry", Some("1.0-1"), Some("1.1-1")), ("install", "oar", None, Some("2.0"))]
        );
    }
}
