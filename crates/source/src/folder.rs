//! Reads a folder as a revision.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::files::{
    Gathered, MAX_FILE_BYTES, Tree, TreeError, check_depth, content_revision, is_hidden, is_resource_file,
};

/// Reads all YAML and JSON files below a folder; hidden files and folders are left out.
///
/// A link to a file inside the folder is followed (a mounted ConfigMap consists of such); any other link that bears a
/// resource file's name is an error.
///
/// # Errors
/// When the folder is missing, when anything in it cannot be read, or when it is too big. It is never "empty" then.
pub fn read_folder(root: &Path) -> Result<Tree, TreeError> {
    let shown = || root.display().to_string();
    let real = root.canonicalize().map_err(|source| match source.kind() {
        ErrorKind::NotFound => TreeError::Missing { path: shown() },
        _ => TreeError::Unreadable { path: shown(), source },
    })?;
    if !real.is_dir() {
        return Err(TreeError::Missing { path: shown() });
    }
    let mut gathered = Gathered::default();
    let mut folders = vec![(real.clone(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        check_depth(depth)?;
        let unreadable = |path: &str| {
            let path = if path.is_empty() { shown() } else { path.to_owned() };
            move |source| TreeError::Unreadable { path, source }
        };
        for entry in folder.read_dir().map_err(unreadable(&prefix))? {
            let entry = entry.map_err(unreadable(&prefix))?;
            let name =
                entry.file_name().into_string().map_err(|name| TreeError::BadPath { path: name.into() })?;
            if is_hidden(&name) {
                continue;
            }
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(unreadable(&path))?;
            if kind.is_dir() {
                folders.push((entry.path(), path, depth + 1));
            } else if is_resource_file(&name) {
                if kind.is_symlink() {
                    check_link(&real, &entry.path(), &path)?;
                }
                let content = read_file(&entry.path()).map_err(unreadable(&path))?;
                gathered.push(path, content)?;
            } else if kind.is_symlink() && entry.path().is_dir() {
                return Err(TreeError::Link { path, why: "to a folder, which is not followed" });
            }
        }
    }
    let files = gathered.finish();
    Ok(Tree { revision: content_revision(&files), files })
}

fn check_link(root: &Path, link: &Path, shown: &str) -> Result<(), TreeError> {
    let refuse = |why| Err(TreeError::Link { path: shown.to_owned(), why });
    match link.canonicalize() {
        Err(_) => refuse("that leads nowhere"),
        Ok(target) if !target.starts_with(root) => refuse("that leads out of the source"),
        Ok(target) if !target.is_file() => refuse("to something that is not a file"),
        Ok(_) => Ok(()),
    }
}

/// At most one byte more than the limit, which then says so.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn only_resource_files_are_read_and_tools_own_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "b.yaml",
            "a.yml",
            "sub/c.json",
            ".git/x.yaml",
            ".b.yaml.swp",
            "b.yaml~",
            "#b.yaml#",
            "notes.txt",
            "4913",
            ".yaml",
        ] {
            write(folder.path(), path, "x");
        }
        assert_eq!(paths(&read_folder(folder.path()).unwrap()), ["a.yml", "b.yaml", "sub/c.json"]);
    }

    #[test]
    fn the_revision_is_of_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.yaml", "1");
        let first = read_folder(folder.path()).unwrap().revision;
        assert!(first.starts_with("folder@sha256:"), "{first}");
        write(folder.path(), "ignored.txt", "1");
        assert_eq!(read_folder(folder.path()).unwrap().revision, first);
        write(folder.path(), "a.yaml", "2");
        assert_ne!(read_folder(folder.path()).unwrap().revision, first);
        write(folder.path(), "a.yaml", "1");
        std::fs::rename(folder.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
        assert_ne!(read_folder(folder.path()).unwrap().revision, first);
    }

    // rule: G4
    #[test]
    fn what_cannot_be_read_is_never_empty() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read_folder(&folder.path().join("gone")).unwrap_err();
        assert!(matches!(missing, TreeError::Missing { .. }), "{missing}");
        std::fs::write(folder.path().join("latin.yaml"), b"a: 1\nb: \xe9\n").unwrap();
        let latin = read_folder(folder.path()).unwrap_err();
        assert_eq!(
            latin.to_string(),
            "latin.yaml:2 is not UTF-8 text: save it as UTF-8, or move it out of the source"
        );
        std::fs::write(folder.path().join("latin.yaml"), vec![b' '; 1 + (1 << 20)]).unwrap();
        assert!(matches!(read_folder(folder.path()).unwrap_err(), TreeError::FileTooLong { .. }));
    }

    #[test]
    fn links_are_followed_only_inside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        write(folder.path(), "..data/a.yaml", "a: 1");
        std::os::unix::fs::symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        assert_eq!(paths(&read_folder(folder.path()).unwrap()), ["a.yaml"]);
        std::os::unix::fs::symlink(outside.path(), folder.path().join("b.yaml")).unwrap();
        let error = read_folder(folder.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "b.yaml is a symbolic link that leads out of the source: put the file itself there"
        );
    }

    #[test]
    fn a_folder_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let deep: String = (0..=MAX_DEPTH_OF_TEST).map(|n| format!("{n}/")).collect();
        write(folder.path(), &format!("{deep}a.yaml"), "a: 1");
        assert!(matches!(read_folder(folder.path()).unwrap_err(), TreeError::TooMuch { .. }));
    }

    const MAX_DEPTH_OF_TEST: usize = crate::MAX_DEPTH;
}
