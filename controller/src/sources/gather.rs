//! Where a GitSource's files come from: the folder, or the repository with its credentials.

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use muster_crds::{GitSource, GitSpec, SourceType};
use muster_source::git::{Credentials, GitError, Reference, Repository};
use muster_source::{Tree, TreeError, read_folder};

use super::{Context, good};

/// Why nothing is known of the source's content; what was applied stays (rule G4).
#[derive(Debug, thiserror::Error)]
pub(super) enum GatherError {
    #[error("the spec says neither git nor folder: write one of them")]
    Spec,
    #[error("cannot read the Secret {name} with the repository's credentials")]
    Secret { name: String, source: Box<kube::Error> },
    #[error("the Secret {name} holds {key} that is not text")]
    SecretText { name: String, key: String },
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Folder(#[from] TreeError),
    #[error("reading the source was given up")]
    Stopped,
}

/// A source's files, not read yet.
#[derive(Clone)]
pub(super) enum Origin {
    Git(Arc<Repository>),
    Folder(PathBuf),
}

/// What a first look shows.
pub(super) enum Look {
    /// The commit; its files are not fetched.
    Revision(String),
    /// All of it.
    Tree(Tree),
}

impl Look {
    pub(super) fn revision(&self) -> &str {
        match self {
            Self::Revision(revision) => revision,
            Self::Tree(tree) => &tree.revision,
        }
    }
}

impl Origin {
    pub(super) async fn of(context: &Context, source: &GitSource) -> Result<Self, GatherError> {
        match (source.spec.type_, &source.spec.git, &source.spec.folder) {
            (SourceType::Git, Some(git), _) => {
                let credentials = credentials(context, git).await?;
                let GitSpec { url, reference, path, secret_ref: _, interval: _ } = git;
                let reference = match (&reference.branch, &reference.commit) {
                    (Some(branch), None) => Reference::Branch(branch.clone()),
                    (None, Some(commit)) => Reference::Commit(commit.clone()),
                    (Some(_), Some(_)) | (None, None) => return Err(GatherError::Spec),
                };
                let uid = source.metadata.uid.as_deref().unwrap_or_default();
                let cache = good::folder(context, uid).join("git");
                Ok(Self::Git(Arc::new(Repository::new(
                    url,
                    reference,
                    path.as_deref(),
                    &credentials,
                    cache,
                )?)))
            }
            (SourceType::Folder, _, Some(folder)) => Ok(Self::Folder(PathBuf::from(&folder.path))),
            (SourceType::Git, None, _) | (SourceType::Folder, _, None) => Err(GatherError::Spec),
        }
    }

    /// The revision; of a folder its files too, since only they tell it.
    pub(super) async fn look(&self) -> Result<Look, GatherError> {
        match self.clone() {
            Self::Git(repository) => blocking(move || Ok(Look::Revision(repository.revision()?))).await,
            Self::Folder(path) => blocking(move || Ok(Look::Tree(read_folder(&path)?))).await,
        }
    }

    /// The files.
    pub(super) async fn tree(&self, look: Look) -> Result<Tree, GatherError> {
        match (look, self.clone()) {
            (Look::Tree(tree), _) => Ok(tree),
            (Look::Revision(_), Self::Git(repository)) => blocking(move || Ok(repository.tree()?)).await,
            (Look::Revision(_), Self::Folder(path)) => blocking(move || Ok(read_folder(&path)?)).await,
        }
    }
}

/// Work that blocks: files, the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GatherError> + Send + 'static,
) -> Result<T, GatherError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(GatherError::Stopped),
    }
}

async fn credentials(context: &Context, git: &GitSpec) -> Result<Credentials, GatherError> {
    let Some(name) = git.secret_ref.as_ref().map(|secret| secret.name.clone()) else {
        return Ok(Credentials::default());
    };
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &context.namespace);
    let secret = secrets
        .get(&name)
        .await
        .map_err(|source| GatherError::Secret { name: name.clone(), source: Box::new(source) })?;
    let text = |key: &str| match secret.data.as_ref().and_then(|data| data.get(key)) {
        None => Ok(None),
        Some(bytes) => String::from_utf8(bytes.0.clone())
            .map(Some)
            .map_err(|_| GatherError::SecretText { name: name.clone(), key: key.to_owned() }),
    };
    Ok(Credentials {
        username: text("username")?,
        password: text("password")?,
        bearer_token: text("bearerToken")?,
        ca: text("ca.crt")?,
        identity: text("identity")?,
        known_hosts: text("known_hosts")?,
    })
}
