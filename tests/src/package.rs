//! A small Debian package of a test's own.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::base::write;
use crate::command::run;

/// What to put into a package; built when it is published.
#[derive(Clone, Debug)]
pub struct Package {
    name: String,
    version: String,
    architecture: Option<String>,
    fields: Vec<(String, String)>,
    index_fields: Vec<(String, String)>,
    files: Vec<(String, String)>,
    conffiles: Vec<(String, String)>,
    scripts: Vec<(&'static str, String)>,
}

impl Package {
    /// A package of this machine's architecture that holds one file, `/usr/share/NAME/version`.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: None,
            fields: Vec::new(),
            index_fields: Vec::new(),
            files: vec![(format!("/usr/share/{name}/version"), format!("{version}\n"))],
            conffiles: Vec::new(),
            scripts: Vec::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes it `Architecture: all`.
    #[must_use]
    pub fn for_all_architectures(mut self) -> Self {
        self.architecture = Some("all".to_owned());
        self
    }

    /// `Depends:`, in Debian's words, such as `oar (>= 1.0), rope`.
    #[must_use]
    pub fn depends(self, relations: &str) -> Self {
        self.field("Depends", relations)
    }

    /// Any other field of its control file, such as `Conflicts`.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Offered as a phased update, to this percentage of machines (a field of the archive, not of the package).
    #[must_use]
    pub fn phased(mut self, percentage: u8) -> Self {
        self.index_fields.push(("Phased-Update-Percentage".to_owned(), percentage.to_string()));
        self
    }

    /// One more file.
    #[must_use]
    pub fn file(mut self, path: &str, contents: &str) -> Self {
        self.files.push((path.to_owned(), contents.to_owned()));
        self
    }

    /// A configuration file, about which dpkg asks where the machine's was edited.
    #[must_use]
    pub fn conffile(mut self, path: &str, contents: &str) -> Self {
        self.conffiles.push((path.to_owned(), contents.to_owned()));
        self
    }

    /// Shell lines to run when it is configured.
    #[must_use]
    pub fn postinst(self, script: &str) -> Self {
        self.script("postinst", script)
    }

    /// Shell lines to run before it is removed.
    #[must_use]
    pub fn prerm(self, script: &str) -> Self {
        self.script("prerm", script)
    }

    /// Configuring it takes until the file `gate` is on the machine. The file `gate.reached` shows that it began:
    /// between the two, apt is in the middle.
    #[must_use]
    pub fn configures_only_after(self, gate: &str) -> Self {
        self.postinst(&format!("touch {gate}.reached\nuntil [ -e {gate} ]; do sleep 0.1; done"))
    }

    /// Configuring it fails until the file `cure` is on the machine.
    #[must_use]
    pub fn fails_until(self, cure: &str) -> Self {
        self.postinst(&format!("[ -e {cure} ] || {{ echo 'not before there is {cure}' >&2; exit 1; }}"))
    }

    /// Configuring it leaves the mark by which Debian's packages ask for a reboot.
    #[must_use]
    pub fn asks_for_a_reboot(self) -> Self {
        let mark = format!("touch /run/reboot-required\necho {} >>/run/reboot-required.pkgs", self.name);
        self.postinst(&mark)
    }

    /// Scripts of one name run one after the other.
    fn script(mut self, name: &'static str, lines: &str) -> Self {
        match self.scripts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, script)) => *script = format!("{script}\n{lines}"),
            None => self.scripts.push((name, lines.to_owned())),
        }
        self
    }

    /// Where it is in the archive's pool.
    pub(crate) fn file_name(&self) -> String {
        // An epoch's colon is not in file names, as in Debian's own archive.
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        let epoch = self.version.split_once(':').map(|(epoch, _)| format!("e{epoch}/")).unwrap_or_default();
        format!("pool/{}/{epoch}{}_{version}_{}.deb", self.name, self.name, self.architecture())
    }

    /// Fields that the archive's index has beyond those of the package.
    pub(crate) fn index_fields(&self) -> String {
        paragraph(&self.index_fields)
    }

    /// Its control file.
    pub(crate) fn control(&self) -> String {
        let Self {
            name,
            version,
            architecture: _,
            fields,
            index_fields: _,
            files: _,
            conffiles: _,
            scripts: _,
        } = self;
        let mut control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {}\nMaintainer: Muster's tests <tests@muster.invalid>\n\
             Section: misc\nPriority: optional\n{}",
            self.architecture(),
            paragraph(fields)
        );
        control.push_str("Description: a package made by a test\n");
        control
    }

    fn architecture(&self) -> String {
        self.architecture.clone().unwrap_or_else(|| native().to_owned())
    }

    /// Builds it into a file, from a directory beside it.
    pub(crate) fn build(&self, target: &Path) {
        let tree = target.with_extension("tree");
        write(&tree.join("DEBIAN/control"), &self.control());
        for (path, contents) in self.files.iter().chain(&self.conffiles) {
            write(&tree.join(path.trim_start_matches('/')), contents);
        }
        if !self.conffiles.is_empty() {
            let list: String = self.conffiles.iter().map(|(path, _)| format!("{path}\n")).collect();
            write(&tree.join("DEBIAN/conffiles"), &list);
        }
        for (name, lines) in &self.scripts {
            let path = tree.join("DEBIAN").join(name);
            write(&path, &format!("#!/bin/sh\nset -e\n{lines}\n"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file was just written");
        }
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(target);
        let _: String = run(&mut command).expect_success();
        fs::remove_dir_all(&tree).expect("the tree was just made");
    }
}

/// This machine's architecture, as Debian names it.
pub(crate) fn native() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        "powerpc64" => "ppc64el",
        "s390x" => "s390x",
        other => panic!("Debian's name of {other} is not known here: add it"),
    }
}

fn paragraph(fields: &[(String, String)]) -> String {
    fields.iter().fold(String::new(), |mut text, (name, value)| {
        writeln!(text, "{name}: {value}").expect("writing to a String cannot fail");
        text
    })
}
