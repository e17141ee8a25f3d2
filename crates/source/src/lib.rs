//! Sources: a Git repository or a folder becomes a validated change set, or a list of everything that is wrong with it.
//!
//! [`Tree`] is a revision's files, read within limits; [`validate`] judges them whole (rule G1); [`judge_removals`] says
//! which change sets wait for a person (rule G4) and [`order`] in which order one is applied (rule G2). [`git`] asks
//! repositories, [`FolderWatch`] waits for folders.
//!
//! Deliberately not here: the Kubernetes API, and any decision about machines.

mod files;
mod folder;
pub mod git;
mod guard;
mod kinds;
mod loosened;
mod metadata;
mod order;
mod placed;
mod problem;
mod validate;
mod watch;
mod written;
mod yaml;

pub use files::{MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_TREE_BYTES, SourceFile, Tree, TreeError};
pub use folder::read_folder;
pub use guard::{Held, REMOVAL_LIMIT_FROM, Removals, judge_removals};
pub use kinds::{Kind, Model};
pub use loosened::{Guards, LabelledMachine, Loosened, Loosening, loosened, may_loosen};
pub use order::{Step, order};
pub use problem::{MAX_PROBLEMS, Problem, Problems};
pub use validate::{ChangeSet, MAX_OBJECTS, Object, ObjectKey, Rejected, validate};
pub use watch::{FolderWatch, LONGEST_STORM, QUIET, RESCAN_EVERY};
