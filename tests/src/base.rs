//! The base root: one Debian, made once with debootstrap, that every machine's root lies on top of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::command::{Output, may, must, run};
use crate::paths;

/// What a machine has beyond the smallest Debian: an init system that reboots, and the bus that the agent
/// talks to it over.
const PACKAGES: &str = "systemd,systemd-sysv,dbus";

/// What would start by itself and only take time, or change packages behind a test's back.
const MASKED: [&str; 9] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "console-getty.service",
    "getty@tty1.service",
    "systemd-networkd-wait-online.service",
    "unattended-upgrades.service",
];

/// Files that are written into the root before anything else. dpkg without its syncs halves the time: what a test
/// kills is processes, never the host's disk cache.
const FILES: [(&str, &str); 2] = [
    ("etc/dpkg/dpkg.cfg.d/muster-tests", "force-unsafe-io\n"),
    ("etc/apt/apt.conf.d/99muster-tests", "Acquire::Languages \"none\";\n"),
];

/// Changes when the steps of [`Base::ensure`] do, so that an old base is not mistaken for a new one.
const RECIPE: u32 = 1;

/// A Debian root that nobody writes to any more.
#[derive(Debug)]
pub struct Base {
    root: PathBuf,
    codename: String,
}

impl Base {
    /// The base of this host's own Debian release, made if it is not there yet (about a minute) and kept under
    /// `target/machines/` for the next run. Delete it there to have a fresh one.
    ///
    /// # Panics
    ///
    /// If this is not root, or debootstrap fails, with the end of its log.
    pub fn ensure() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(|| {
            must("sh", &[&paths::workspace().join("tests/tools/prepare.sh").to_string_lossy()]);
            assert_eq!(must("id", &["-u"]), "0", "the suite with real machines must run as root");
            make_if_missing()
        })
    }

    /// The root's directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The release's code name, such as `bookworm`.
    #[must_use]
    pub fn codename(&self) -> &str {
        &self.codename
    }
}

fn make_if_missing() -> Base {
    let machines = paths::machines();
    fs::create_dir_all(&machines)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", machines.display()));
    // Two suites at a time share the base: the second waits for the first to have made it.
    let lock = fs::File::create(machines.join("base.lock")).expect("the directory was just made");
    lock.lock().expect("a local file can be locked");

    let release = fs::read_to_string("/etc/os-release").expect("the host has /etc/os-release");
    let codename = codename(&release).expect("the host's /etc/os-release has VERSION_CODENAME");
    let root = machines.join(format!("base-{codename}-{}", recipe_digest()));
    if !root.is_dir() {
        let draft = machines.join("base-draft");
        may("rm", &["-rf", &draft.to_string_lossy()]);
        make(&draft, &codename);
        fs::rename(&draft, &root).unwrap_or_else(|error| panic!("cannot make {}: {error}", root.display()));
    }
    Base { root, codename }
}

fn make(draft: &Path, codename: &str) {
    for (path, contents) in FILES {
        write(&draft.join(path), contents);
    }
    let output = debootstrap(draft, codename);
    assert!(output.is_success(), "{}", crate::files::last_lines(&output.to_string()));
    for unit in MASKED {
        let link = draft.join("etc/systemd/system").join(unit);
        // An enabled unit may be there already, as a link to the real one.
        fs::remove_file(&link).ok();
        std::os::unix::fs::symlink("/dev/null", &link)
            .unwrap_or_else(|error| panic!("cannot mask {unit}: {error}"));
    }
    for file in
        ["etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "var/log/dpkg.log"]
    {
        fs::remove_file(draft.join(file)).ok();
    }
    for downloads in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        let directory = draft.join(downloads);
        let files = fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok);
        files.for_each(|file| drop(fs::remove_file(file.path())));
    }
}

fn debootstrap(draft: &Path, codename: &str) -> Output {
    let mut command = Command::new("debootstrap");
    command
        .arg("--variant=minbase")
        .arg(format!("--include={PACKAGES}"))
        .arg(codename)
        .arg(draft)
        .arg(mirror(codename));
    // debootstrap's own downloader knows proxies from the environment only; apt's configuration is the host's word.
    let proxy = must("apt-config", &["shell", "proxy", "Acquire::http::Proxy"]);
    if let Some(proxy) = proxy.strip_prefix("proxy='").and_then(|rest| rest.strip_suffix('\'')) {
        command.env("http_proxy", proxy);
    }
    run(&mut command)
}

/// Where this host's own apt gets its release from, whatever the format of its source files.
fn mirror(codename: &str) -> String {
    let format = "$(RELEASE) $(COMPONENT) $(REPO_URI)";
    let targets =
        must("apt-get", &["indextargets", "--no-release-info", "--format", format, "Created-By: Packages"]);
    mirror_of(&targets, codename)
        .unwrap_or_else(|| panic!("this host's apt has no source for {codename} main"))
}

fn mirror_of(targets: &str, codename: &str) -> Option<String> {
    let wanted = format!("{codename} main ");
    targets.lines().find_map(|line| line.strip_prefix(&wanted)).map(str::to_owned)
}

fn codename(os_release: &str) -> Option<String> {
    let line = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(line.trim_matches('"').to_owned())
}

fn recipe_digest() -> String {
    let recipe = format!("{RECIPE} {PACKAGES} {MASKED:?} {FILES:?}");
    Sha256::digest(recipe)[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, contents: &str) {
    let parent = path.parent().expect("a file in a root has a parent");
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, contents));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_comes_from_where_the_hosts_apt_gets_its_release() {
        let targets = "bookworm-security main http://security.invalid/debian/\n\
                       bookworm contrib http://a.invalid/debian/\n\
                       bookworm main http://b.invalid/debian/\n";
        assert_eq!(mirror_of(targets, "bookworm").as_deref(), Some("http://b.invalid/debian/"));
        assert_eq!(mirror_of(targets, "trixie"), None);
    }

    #[test]
    fn the_release_is_the_hosts() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n").as_deref(), Some("noble"));
    }
}
