//! Files: the last lines of a log, and the folder of desired state.

use std::fs;
use std::path::{Path, PathBuf};

/// How many lines of a log a failure shows: enough for the end of the story, few enough to read.
const TAIL_LINES: usize = 40;

/// The last lines of a file, or why there are none.
pub(crate) fn tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// A folder of desired resources, edited as an editor does: a file is whole or it is the old one.
#[derive(Debug)]
pub struct Desired {
    folder: PathBuf,
}

impl Desired {
    /// Makes the folder if it is not there.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    #[track_caller]
    pub fn at(folder: &Path) -> Self {
        fs::create_dir_all(folder)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        Self { folder: folder.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes a file, replacing what was there in one step. The name may have folders in it.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, contents: &str) {
        let path = self.folder.join(name);
        let parent = path.parent().expect("a file in the folder has a parent");
        let draft = self.folder.with_extension("draft");
        let written = fs::create_dir_all(parent)
            .and_then(|()| fs::write(&draft, contents))
            .and_then(|()| fs::rename(&draft, &path));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Removes a file.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        let path = self.folder.join(name);
        fs::remove_file(&path).unwrap_or_else(|error| panic!("cannot remove {}: {error}", path.display()));
    }
}
