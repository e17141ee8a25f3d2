//! Where `muster up` keeps its state by default, and where other commands look for it.
//!
//! A source has a state directory of its own, since a namespace that another folder had filled would rightly refuse to
//! be emptied (rule G4). A link `current` names the one that was started last.

use std::path::{Path, PathBuf};

use muster_model::Digest;

/// Name of the kubeconfig in a state directory.
pub(crate) const KUBECONFIG: &str = "kubeconfig";

const CURRENT: &str = "current";

/// The directory of state directories: `$XDG_STATE_HOME/muster` or `~/.local/state/muster`.
pub(crate) fn base() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(set.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?.join("muster"))
}

/// The state directory that was started last, if `muster up` chose it.
pub(crate) fn current() -> Option<PathBuf> {
    Some(base()?.join(CURRENT))
}

/// A source's own state directory: the last part of its name for people, a digest against mix-ups.
pub(crate) fn of_source(base: &Path, source: &str, namespace: &str) -> PathBuf {
    let words = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = words.chars().map(safe).take(40).collect();
    let digest = Digest::of(format!("{namespace}\n{source}").as_bytes());
    base.join(format!("{}-{}", name.trim_matches(['.', '-']), &digest.hex()[..8]))
}

/// Lets `current` name that state directory.
///
/// # Errors
/// When the link cannot be made.
pub(crate) fn set_current(base: &Path, state: &Path) -> std::io::Result<()> {
    let aside = base.join(format!(".{CURRENT}-{}", std::process::id()));
    // Left by a process of the same id that died in between; if it is not there, all the better.
    let _ = std::fs::remove_file(&aside);
    std::os::unix::fs::symlink(state, &aside)?;
    std::fs::rename(&aside, base.join(CURRENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_and_namespace_has_a_state_directory_of_its_own() {
        let base = Path::new("/state");
        let one = of_source(base, "/home/me/examples/quickstart", "default");
        assert!(one.starts_with("/state") && one.to_string_lossy().contains("/quickstart-"));
        assert_ne!(one, of_source(base, "/home/you/examples/quickstart", "default"));
        assert_ne!(one, of_source(base, "/home/me/examples/quickstart", "other"));
        assert!(
            of_source(base, "https://example.com/fleet.git?ref=a b", "x")
                .to_string_lossy()
                .contains("/fleet.git-ref-a-b-")
        );
    }
}
