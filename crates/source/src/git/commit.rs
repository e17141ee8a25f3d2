//! The files of one commit.

use std::path::Path;

use git2::{ErrorCode, ObjectType, Oid, Repository};

use crate::files::{Gathered, MAX_FILE_BYTES, Tree, TreeError, check_depth, is_hidden, is_resource_file};

const LINK: i32 = 0o120_000;

/// The files of a commit of a local repository, of `path` in it (absent: everything). `commit` is anything that
/// `git rev-parse` takes: a branch, a tag, a hash.
///
/// # Errors
/// If there is no such commit or folder, or when it is too big.
pub fn read_commit(repository: &Path, commit: &str, path: Option<&str>) -> Result<Tree, TreeError> {
    let fail = |source| TreeError::Repository { commit: commit.to_owned(), source };
    let repository = Repository::open(repository).map_err(fail)?;
    let id = repository.revparse_single(commit).and_then(|found| found.peel_to_commit()).map_err(fail)?.id();
    let revision =
        if id.to_string() == commit { format!("sha1:{id}") } else { format!("{commit}@sha1:{id}") };
    read(&repository, id, path, revision)
}

pub(super) fn read(
    repository: &Repository,
    commit: Oid,
    path: Option<&str>,
    revision: String,
) -> Result<Tree, TreeError> {
    let fail = |source| TreeError::Repository { commit: commit.to_string(), source };
    let mut root = repository.find_commit(commit).and_then(|commit| commit.tree()).map_err(fail)?;
    let path = path.map(|path| path.trim_matches('/')).filter(|path| !path.is_empty() && *path != ".");
    if let Some(path) = path.map(|path| path.strip_prefix("./").unwrap_or(path)) {
        let missing = || TreeError::Missing { path: format!("{path} in the repository at {revision}") };
        let entry = root.get_path(Path::new(path)).map_err(|error| match error.code() {
            ErrorCode::NotFound => missing(),
            _ => fail(error),
        })?;
        root = repository.find_tree(entry.id()).map_err(|_| missing())?;
    }
    let mut gathered = Gathered::default();
    let mut folders = vec![(root.id(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        check_depth(depth)?;
        for entry in repository.find_tree(folder).map_err(fail)?.iter() {
            let name = entry.name().map_err(|_| TreeError::BadPath {
                path: String::from_utf8_lossy(entry.name_bytes()).into_owned().into(),
            })?;
            if is_hidden(name) {
                continue;
            }
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            match entry.kind() {
                Some(ObjectType::Tree) => folders.push((entry.id(), path, depth + 1)),
                Some(ObjectType::Commit) => return Err(TreeError::Submodule { path }),
                Some(ObjectType::Blob) if is_resource_file(name) => {
                    let mut id = entry.id();
                    if entry.filemode() == LINK {
                        id = followed(repository, &root, &prefix, &path, id)?;
                    }
                    let content = blob(repository, id, &path).map_err(fail)??;
                    gathered.push(path, content)?;
                }
                // Other files are not resources.
                Some(_) | None => {}
            }
        }
    }
    Ok(Tree { revision, files: gathered.finish() })
}

/// The file's content. The length is asked first, so that a long one is not read.
fn blob(repository: &Repository, id: Oid, path: &str) -> Result<Result<Vec<u8>, TreeError>, git2::Error> {
    let (length, _) = repository.odb()?.read_header(id)?;
    if length as u64 > MAX_FILE_BYTES {
        return Ok(Err(TreeError::FileTooLong { path: path.to_owned() }));
    }
    Ok(Ok(repository.find_blob(id)?.content().to_vec()))
}

/// The file that a link inside the root leads to.
fn followed(
    repository: &Repository,
    root: &git2::Tree<'_>,
    folder: &str,
    link: &str,
    id: Oid,
) -> Result<Oid, TreeError> {
    let refuse = |why| TreeError::Link { path: link.to_owned(), why };
    let target = repository.find_blob(id).map_err(|_| refuse("that cannot be read"))?;
    let target = std::str::from_utf8(target.content()).map_err(|_| refuse("that cannot be read"))?;
    if target.starts_with('/') {
        return Err(refuse("that leads out of the source"));
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| refuse("that leads out of the source"))?;
            }
            name => parts.push(name),
        }
    }
    let entry = root.get_path(Path::new(&parts.join("/"))).map_err(|_| refuse("that leads nowhere"))?;
    match (entry.kind(), entry.filemode()) {
        (Some(ObjectType::Blob), mode) if mode != LINK => Ok(entry.id()),
        _ => Err(refuse("to something that is not a file")),
    }
}
