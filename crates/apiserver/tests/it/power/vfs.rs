//! [`Disk`] as a file system of SQLite's: `file:/NAME/api.db?vfs=power` is `api.db` on the disk that was mounted as NAME.
//!
//! What it reports of itself is what SQLite's own file system for Unix reports, so that the same code runs: sectors of
//! 4 KiB, powersafe overwrite, a journal's first sync syncs the folder too, and the database's does not.

#![allow(unsafe_code, reason = "a file system is handed to SQLite as C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use super::disk::{Disk, Off};

/// What `PRAGMA synchronous` is set to instead of what the store says; `None` leaves it alone.
pub(crate) type Mutation = Option<&'static str>;

/// A disk in its place.
pub(crate) struct Mount {
    pub(crate) disk: Mutex<Disk>,
    mutation: Mutation,
}

impl Mount {
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static MOUNTS: Mutex<BTreeMap<String, Arc<Mount>>> = Mutex::new(BTreeMap::new());

fn mounts() -> MutexGuard<'static, BTreeMap<String, Arc<Mount>>> {
    MOUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the disk under that name (in place of another), and says where its `api.db` is for SQLite.
pub(crate) fn mount(name: &str, disk: Disk, mutation: Mutation) -> (Arc<Mount>, PathBuf) {
    static ONCE: Once = Once::new();
    ONCE.call_once(register);
    let mount = Arc::new(Mount { disk: Mutex::new(disk), mutation });
    mounts().insert(format!("/{name}"), mount.clone());
    (mount, format!("file:/{name}/api.db?vfs=power").into())
}

/// `/NAME/FILE`: the mount, and the file's name.
fn find(path: &str) -> Option<(Arc<Mount>, &str)> {
    let (folder, name) = path.rsplit_once('/')?;
    Some((mounts().get(folder)?.clone(), name))
}

/// An open file, as SQLite keeps it: its own part first.
#[repr(C)]
struct Open {
    base: sqlite3_file,
    // Boxed: SQLite gives room for it, and no destructor.
    file: *mut Handle,
}

struct Handle {
    mount: Arc<Mount>,
    number: usize,
    /// The next sync is one of the folder as well.
    sync_folder: bool,
}

fn register() {
    // SAFETY: SQLite's default file system exists, lives for ever, and its own functions for sleep, time and
    // randomness use nothing of the sqlite3_vfs that they are called with. The new one is leaked, so it lives as long.
    unsafe {
        let default = ffi::sqlite3_vfs_find(std::ptr::null());
        assert!(!default.is_null(), "SQLite has a default file system");
        let vfs = sqlite3_vfs {
            iVersion: 1,
            szOsFile: c_int::try_from(size_of::<Open>()).expect("two pointers"),
            pNext: std::ptr::null_mut(),
            zName: c"power".as_ptr(),
            pAppData: std::ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path),
            ..*default
        };
        let code = ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0);
        assert_eq!(code, ffi::SQLITE_OK, "a file system can be registered");
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
///
/// A string that SQLite passed, or null.
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    // SAFETY: the caller's promise.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().expect("the tests' paths are ASCII"))
}

/// # Safety
///
/// A file that [`open`] opened and [`close`] has not closed.
unsafe fn handle<'a>(file: *mut sqlite3_file) -> &'a mut Handle {
    // SAFETY: then it is an `Open`, and its handle lives; SQLite uses a file in one thread at a time.
    unsafe { &mut *(*file.cast::<Open>()).file }
}

fn code(result: Result<(), Off>, otherwise: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Off) => otherwise,
    }
}

fn place(offset: i64) -> usize {
    usize::try_from(offset).expect("SQLite's offsets are not negative")
}

extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    const JOURNALS: c_int =
        ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
    // SAFETY: SQLite passes room for an `Open`, and closes only what has methods.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let (mount, name) = match text(name) {
            Some(path) => match find(path) {
                Some((mount, name)) => (mount, Some(name)),
                None => return ffi::SQLITE_CANTOPEN,
            },
            // A file for a sort or the like: nothing of it has to last.
            None => (Arc::new(Mount { disk: Mutex::default(), mutation: None }), None),
        };
        // What the store opens without that flag, it has made itself.
        let create = flags & ffi::SQLITE_OPEN_CREATE != 0;
        let Ok(number) = mount.disk().open(name) else { return ffi::SQLITE_IOERR };
        let handle = Handle { mount, number, sync_folder: create && flags & JOURNALS != 0 };
        (*file.cast::<Open>()).file = Box::into_raw(Box::new(handle));
        (*file).pMethods = &METHODS;
        if !out.is_null() {
            *out = flags;
        }
    }
    ffi::SQLITE_OK
}

extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes once what it opened.
    drop(unsafe { Box::from_raw((*file.cast::<Open>()).file) });
    ffi::SQLITE_OK
}

extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: an open file, and room for `amount` bytes.
    let (handle, to) =
        unsafe { (handle(file), std::slice::from_raw_parts_mut(to.cast::<u8>(), place(amount.into()))) };
    let disk = handle.mount.disk();
    let Ok(content) = disk.content(handle.number) else { return ffi::SQLITE_IOERR_READ };
    let found = content.get(place(offset)..).unwrap_or_default();
    let length = found.len().min(to.len());
    to[..length].copy_from_slice(&found[..length]);
    to[length..].fill(0);
    if length == to.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: an open file, and `amount` bytes.
    let (handle, from) =
        unsafe { (handle(file), std::slice::from_raw_parts(from.cast::<u8>(), place(amount.into()))) };
    code(handle.mount.disk().write(handle.number, place(offset), from), ffi::SQLITE_IOERR_WRITE)
}

extern "C" fn truncate(file: *mut sqlite3_file, length: i64) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    code(handle.mount.disk().truncate(handle.number, place(length)), ffi::SQLITE_IOERR_TRUNCATE)
}

extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    let folder_too = std::mem::take(&mut handle.sync_folder);
    code(handle.mount.disk().sync(handle.number, folder_too), ffi::SQLITE_IOERR_FSYNC)
}

extern "C" fn size(file: *mut sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: an open file, and a place for the answer.
    unsafe {
        let handle = handle(file);
        let disk = handle.mount.disk();
        let Ok(content) = disk.content(handle.number) else { return ffi::SQLITE_IOERR_FSTAT };
        *out = i64::try_from(content.len()).expect("it is in memory");
    }
    ffi::SQLITE_OK
}

/// One process, one connection: nobody to lock out.
extern "C" fn lock(_: *mut sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

extern "C" fn is_reserved(_: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: a place for the answer.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

/// SQLite asks here first what a PRAGMA means: the mutation changes `synchronous` on its way.
extern "C" fn control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    if operation == ffi::SQLITE_FCNTL_PRAGMA {
        // SAFETY: an open file; for a PRAGMA the argument is {answer, name, value}, the value null or SQLite's own copy
        // of its text, into which a text that is no longer fits.
        unsafe {
            let words = argument.cast::<*mut c_char>();
            let (name, value) = (text(*words.add(1)), *words.add(2));
            if name == Some("synchronous")
                && let Some(instead) = handle(file).mount.mutation
                && let Some(length) = text(value).map(str::len)
            {
                assert!(instead.len() <= length, "{instead} does not fit");
                value.copy_from_nonoverlapping(instead.as_ptr().cast(), instead.len());
                *value.add(instead.len()) = 0;
            }
        }
    }
    ffi::SQLITE_NOTFOUND
}

extern "C" fn sector(_: *mut sqlite3_file) -> c_int {
    4096
}

extern "C" fn characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: a name of SQLite's.
    let found = unsafe { text(name) }.and_then(find);
    let Some((mount, name)) = found else { return ffi::SQLITE_IOERR_DELETE_NOENT };
    match mount.disk().delete(name, sync_folder != 0) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(Off) => ffi::SQLITE_IOERR_DELETE,
    }
}

extern "C" fn access(_: *mut sqlite3_vfs, name: *const c_char, _: c_int, out: *mut c_int) -> c_int {
    // SAFETY: a name of SQLite's, and a place for the answer.
    unsafe {
        let there = text(name).and_then(find).is_some_and(|(mount, name)| mount.disk().exists(name));
        *out = c_int::from(there);
    }
    ffi::SQLITE_OK
}

extern "C" fn full_path(_: *mut sqlite3_vfs, name: *const c_char, room: c_int, out: *mut c_char) -> c_int {
    // SAFETY: a name of SQLite's, and room for so many bytes.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > place(room.into()) {
            return ffi::SQLITE_CANTOPEN;
        }
        out.copy_from_nonoverlapping(name.as_ptr().cast(), name.len());
    }
    ffi::SQLITE_OK
}
