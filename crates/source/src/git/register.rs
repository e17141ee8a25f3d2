//! Gives libgit2 our transports, and each request its credentials.
//!
//! Transports are registered once for the process; which credentials a request has is known by its thread, since
//! libgit2 does all of a request's work on the thread that asked. The one unsafe call of this crate is here.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use git2::transport::Transport;

use super::http::Http;
use super::ssh::{Keys, Ssh};
use super::{Credentials, GitError};

/// How one remote is reached.
#[derive(Debug)]
pub(super) enum Access {
    /// By libgit2 itself.
    Local,
    /// By http(s).
    Http(Http),
    /// By a child process.
    Ssh(Arc<Keys>),
}

impl Access {
    pub(super) fn new(url: &str, credentials: &Credentials) -> Result<Self, GitError> {
        Ok(if url.starts_with("http") {
            Self::Http(Http::new(url, credentials)?)
        } else if url.starts_with("ssh://") {
            Self::Ssh(Arc::new(Keys::new(credentials)?))
        } else {
            Self::Local
        })
    }
}

/// Whether a remote is reached over our transports.
pub(super) fn is_networked(url: &str) -> bool {
    ["http://", "https://", "ssh://"].iter().any(|scheme| url.starts_with(scheme))
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Access>>> = const { RefCell::new(None) };
}

/// Does a request's work on this thread, with its credentials.
pub(super) fn with<T>(access: &Arc<Access>, work: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(Option::take);
        }
    }
    register();
    CURRENT.with_borrow_mut(|current| *current = Some(Arc::clone(access)));
    let _reset = Reset;
    work()
}

#[allow(unsafe_code)]
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for scheme in ["http", "https", "ssh"] {
            // SAFETY: `register` must not run while another thread creates a transport. Every use of a remote in this
            // process goes through `with`, which waits for this `Once` first; nothing else in Muster uses libgit2's
            // remotes.
            let registered = unsafe { git2::transport::register(scheme, transport) };
            registered.expect("a scheme is registered once, and there is memory for three");
        }
    });
}

fn transport(remote: &git2::Remote<'_>) -> Result<Transport, git2::Error> {
    let access = CURRENT.with_borrow(Clone::clone);
    match access.as_deref() {
        Some(Access::Http(http)) => Transport::smart(remote, true, http.clone()),
        Some(Access::Ssh(keys)) => Transport::smart(remote, false, Ssh::new(Arc::clone(keys))),
        Some(Access::Local) | None => {
            Err(git2::Error::from_str("the remote's address leads to another transport"))
        }
    }
}
