//! Real repositories, made with libgit2, reached by `file://` and by plain HTTP.

use std::path::Path;

use git2::{Repository as Raw, Signature};
use muster_source::git::{Credentials, GitError, Reference, Repository, read_commit};
use muster_source::{TreeError, validate};

use crate::baseline;

/// Commits exactly these files to main.
fn commit(repository: &Raw, files: &[(&str, &str)]) -> String {
    let mut index = repository.index().unwrap();
    index.clear().unwrap();
    for (path, text) in files {
        let id = repository.blob(text.as_bytes()).unwrap();
        let entry = git2::IndexEntry {
            ctime: git2::IndexTime::new(0, 0),
            mtime: git2::IndexTime::new(0, 0),
            dev: 0,
            ino: 0,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            file_size: 0,
            id,
            flags: 0,
            flags_extended: 0,
            path: path.as_bytes().to_vec(),
        };
        index.add(&entry).unwrap();
    }
    let tree = repository.find_tree(index.write_tree_to(repository).unwrap()).unwrap();
    let author = Signature::now("A", "a@example.org").unwrap();
    let parent = repository.find_reference("refs/heads/main").ok().map(|main| main.peel_to_commit().unwrap());
    let parents: Vec<_> = parent.iter().collect();
    repository
        .commit(Some("refs/heads/main"), &author, &author, "change", &tree, &parents)
        .unwrap()
        .to_string()
}

struct World {
    folder: tempfile::TempDir,
    origin: Raw,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let origin = Raw::init_bare(folder.path().join("origin")).unwrap();
    World { folder, origin }
}

impl World {
    fn url(&self) -> String {
        format!("file://{}", self.origin.path().display())
    }

    fn cache(&self) -> std::path::PathBuf {
        self.folder.path().join("cache")
    }

    fn source(&self, reference: Reference, path: Option<&str>) -> Repository {
        Repository::new(&self.url(), reference, path, &Credentials::default(), self.cache()).unwrap()
    }

    fn main(&self) -> Repository {
        self.source(Reference::Branch("main".to_owned()), None)
    }
}

// rule: G7
#[test]
fn asking_for_the_revision_clones_nothing() {
    let world = world();
    let first = commit(&world.origin, &[("a.yaml", &baseline("web"))]);
    let source = world.main();
    assert_eq!(source.revision().unwrap(), format!("main@sha1:{first}"));
    assert!(!world.cache().exists(), "one ls-remote makes no clone");
    let tree = source.tree().unwrap();
    assert_eq!(tree.revision, source.revision().unwrap());
    assert_eq!(validate(&tree, None).unwrap().objects.len(), 1);
}

// rule: G1, G4
#[test]
fn a_new_commit_is_fetched_and_a_broken_one_names_its_line() {
    let world = world();
    commit(&world.origin, &[("a.yaml", &baseline("web"))]);
    let source = world.main();
    source.tree().unwrap();
    let second =
        commit(&world.origin, &[("web/a.yaml", "apiVersion: muster.dev/v1alpha1\nkind: PackageBaselin\n")]);
    let tree = source.tree().unwrap();
    assert_eq!(tree.revision, format!("main@sha1:{second}"));
    let rejected = validate(&tree, None).unwrap_err();
    assert_eq!((rejected.problems[0].file.as_str(), rejected.problems[0].line), ("web/a.yaml", 2));
    // History that was rewritten is followed, and an empty tree is a tree.
    world.origin.find_reference("refs/heads/main").unwrap().delete().unwrap();
    commit(&world.origin, &[("README.md", "")]);
    assert_eq!(source.tree().unwrap().files, []);
}

// rule: G4
#[test]
fn a_missing_branch_path_or_repository_is_never_empty() {
    let world = world();
    let hash = commit(&world.origin, &[("web/a.yaml", &baseline("web"))]);
    let other = world.source(Reference::Branch("other".to_owned()), None);
    assert!(matches!(other.revision().unwrap_err(), GitError::NoBranch { .. }));
    assert!(matches!(other.tree().unwrap_err(), GitError::NoBranch { .. }));
    let path = world.source(Reference::Branch("main".to_owned()), Some("db"));
    assert!(matches!(path.tree().unwrap_err(), GitError::Tree(TreeError::Missing { .. })));
    let good = world.source(Reference::Branch("main".to_owned()), Some("./web/"));
    assert_eq!(good.tree().unwrap().files[0].path, "a.yaml");
    let pinned = world.source(Reference::Commit(hash), None);
    assert_eq!(pinned.tree().unwrap().files[0].path, "web/a.yaml");
    let nothing =
        world.source(Reference::Commit("0123456789012345678901234567890123456789".to_owned()), None);
    assert!(matches!(nothing.tree().unwrap_err(), GitError::NoCommit { .. }));
    std::fs::remove_dir_all(world.origin.path()).unwrap();
    assert!(matches!(world.main().revision().unwrap_err(), GitError::Reach { .. }));
}

#[test]
fn a_commit_that_a_branch_has_left_behind_can_be_pinned() {
    let world = world();
    let old = commit(&world.origin, &[("a.yaml", &baseline("old"))]);
    commit(&world.origin, &[("a.yaml", &baseline("new"))]);
    let tree = world.source(Reference::Commit(old.clone()), None).tree().unwrap();
    assert_eq!(tree.revision, format!("sha1:{old}"));
    assert!(tree.files[0].text.contains("old"));
}

#[test]
fn a_broken_cache_is_made_anew() {
    let world = world();
    commit(&world.origin, &[("a.yaml", &baseline("web"))]);
    let source = world.main();
    source.tree().unwrap();
    commit(&world.origin, &[("a.yaml", &baseline("web2"))]);
    std::fs::remove_dir_all(world.cache().join("objects")).unwrap();
    std::fs::write(world.cache().join("objects"), "not a folder").unwrap();
    assert!(source.tree().unwrap().files[0].text.contains("web2"));
}

#[test]
fn a_checkout_is_read_without_a_remote() {
    let world = world();
    let hash = commit(&world.origin, &[("a.yaml", &baseline("web")), (".ci/x.yaml", "x"), ("b.txt", "x")]);
    let tree = read_commit(world.origin.path(), "main", None).unwrap();
    assert_eq!(tree.revision, format!("main@sha1:{hash}"));
    assert_eq!(tree.files.len(), 1);
    assert_eq!(read_commit(world.origin.path(), &hash, None).unwrap().revision, format!("sha1:{hash}"));
    assert!(matches!(
        read_commit(world.origin.path(), "gone", None).unwrap_err(),
        TreeError::Repository { .. }
    ));
}

#[test]
fn addresses_with_secrets_in_them_are_refused_and_not_repeated() {
    let refused = |url: &str| {
        Repository::new(
            url,
            Reference::Branch("main".to_owned()),
            None,
            &Credentials::default(),
            "/nowhere".into(),
        )
        .unwrap_err()
        .to_string()
    };
    let said = refused("https://me:hunter2@example.org/a.git");
    assert!(said.contains("put them into the secret") && !said.contains("hunter2"), "{said}");
    assert!(refused("git@example.org:a.git").contains("begins with none of"));
    let credentials = Credentials { password: Some("hunter2".to_owned()), ..Credentials::default() };
    let main = Reference::Branch("main".to_owned());
    let plain =
        Repository::new("http://example.org/a", main, None, &credentials, "/nowhere".into()).unwrap_err();
    assert!(plain.to_string().contains("use https://"), "{plain}");
    assert_eq!(format!("{credentials:?}"), "Credentials(…)");
}

#[test]
fn a_server_that_is_not_git_says_so_without_hanging() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.git", server.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = server.accept().unwrap();
        let mut asked = vec![0; 4096];
        let read = stream.read(&mut asked).unwrap();
        let body = "<html>";
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    let main = Reference::Branch("main".to_owned());
    let source =
        Repository::new(&url, main, None, &Credentials::default(), Path::new("/nowhere").to_owned()).unwrap();
    let error = source.revision().unwrap_err();
    let GitError::Reach { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.message().contains("not Git's"), "{source}");
    assert!(answering.join().unwrap().starts_with("GET /a.git/info/refs?service=git-upload-pack"));
}

/// A server of Git's smart protocol in front of `git upload-pack`, which wants this authorization; ends with its
/// listener's last connection. Returns its address.
fn serve(origin: std::path::PathBuf, authorization: &'static str) -> String {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::process::{Command, Stdio};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a.git", server.local_addr().unwrap());
    let answer = move |stream: std::net::TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut asked, mut authorized, mut length, mut line) =
            (String::new(), authorization.is_empty(), 0, String::new());
        while reader.read_line(&mut line)? > 2 {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "authorization" => authorized = value.trim() == authorization,
                "content-length" => length = value.trim().parse().unwrap(),
                _ if asked.is_empty() => asked = line.clone(),
                _ => {}
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut stream = stream;
        if !authorized {
            return write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
        let asks = asked.starts_with("GET ");
        let mut command = Command::new("git");
        command
            .args(["upload-pack", "--stateless-rpc"])
            .args(asks.then_some("--advertise-refs"))
            .arg(&origin);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().unwrap().write_all(&body)?;
        let mut said = if asks { b"001e# service=git-upload-pack\n0000".to_vec() } else { Vec::new() };
        said.extend(child.wait_with_output()?.stdout);
        let kind = if asks { "advertisement" } else { "result" };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-{kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            said.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&said)
    };
    std::thread::spawn(move || {
        while let Ok((stream, _)) = server.accept() {
            // A client that hangs up early is its own affair; what it makes of it is what the test looks at.
            let _ = answer(stream);
        }
    });
    url
}

// rule: G7
#[test]
fn a_repository_behind_http_is_asked_and_fetched() {
    let world = world();
    commit(&world.origin, &[("a.yaml", &baseline("old"))]);
    let hash = commit(&world.origin, &[("a.yaml", &baseline("web"))]);
    let url = serve(world.origin.path().to_owned(), "");
    let main = Reference::Branch("main".to_owned());
    let source = Repository::new(&url, main, None, &Credentials::default(), world.cache()).unwrap();
    assert_eq!(source.revision().unwrap(), format!("main@sha1:{hash}"));
    assert_eq!(source.tree().unwrap().files[0].path, "a.yaml");
    let second = commit(&world.origin, &[("b.yaml", &baseline("web"))]);
    let tree = source.tree().unwrap();
    assert_eq!((tree.revision, tree.files[0].path.as_str()), (format!("main@sha1:{second}"), "b.yaml"));
    let pinned = Reference::Commit(hash.clone());
    let pinned =
        Repository::new(&url, pinned, None, &Credentials::default(), world.folder.path().join("other"))
            .unwrap();
    assert_eq!(pinned.tree().unwrap().revision, format!("sha1:{hash}"));
}

#[test]
fn a_server_that_wants_credentials_says_so() {
    let world = world();
    commit(&world.origin, &[("a.yaml", &baseline("web"))]);
    let url = serve(world.origin.path().to_owned(), "Basic bWU6aHVudGVyMg==");
    let main = Reference::Branch("main".to_owned());
    let source = Repository::new(&url, main, None, &Credentials::default(), world.cache()).unwrap();
    let GitError::Reach { source, .. } = source.revision().unwrap_err() else { panic!("it was let in") };
    assert!(source.message().contains("the server answered 401"), "{source}");
}
