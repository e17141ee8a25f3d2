//! Where things are: the workspace, its target directory, the binaries under test.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ is in the workspace").to_owned()
}

/// The directory of this build's binaries, such as `target/debug`: the test runs from its `deps`.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let deps = test.parent().expect("an executable is in a directory");
    deps.parent().expect("cargo builds tests into deps/").to_owned()
}

/// Where the bases and the runs live: under the target directory, which is on a disk with room and is not in Git.
pub(crate) fn machines() -> PathBuf {
    let debug = binaries();
    debug.parent().expect("a profile's directory is in the target directory").join("machines")
}

/// A binary of the product: from the environment variable, else beside this test.
///
/// # Panics
///
/// If it is not there, saying how to build it: cargo builds only the tests' own package.
#[track_caller]
pub(crate) fn binary(name: &str, variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| binaries().join(name), PathBuf::from);
    assert!(
        path.is_file(),
        "there is no {} – build it with `cargo build -p muster -p muster-agent`, or set {variable}",
        path.display()
    );
    path
}
