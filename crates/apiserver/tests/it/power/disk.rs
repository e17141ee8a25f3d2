//! A disk that forgets: what was written and not synced is lost, kept or torn when the power goes.
//!
//! It keeps files in memory and promises no more than a real one: a sync makes one file's writes durable; a new name,
//! or the end of one, is durable once the folder was synced. Unsynced writes survive in any combination of sectors,
//! and where a file had grown, garbage may be where its data should be. That the bytes beside a torn write are whole
//! is what SQLite asks of a disk by default (powersafe overwrite).

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::rngs::StdRng;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The power is off: nothing can be read or written any more.
#[derive(Debug)]
pub(crate) struct Off;

/// Names of files, with their content by number.
type Folder = BTreeMap<String, usize>;

/// What was done to a file and is not yet durable.
enum Change {
    Write { at: usize, data: Vec<u8> },
    Truncate(usize),
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Change>,
}

/// The disk.
#[derive(Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    durable: Folder,
    now: Folder,
    /// Names that came (with their file) or went, and whose folder was not synced since.
    unsynced: Vec<(String, Option<usize>)>,
    /// How many more changes and syncs the power lasts; `None`: for ever.
    pub(crate) power: Option<u64>,
    off: bool,
}

impl Disk {
    /// A disk with those files on it, all durable.
    pub(crate) fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let mut disk = Self::default();
        for (name, durable) in files {
            disk.durable.insert(name, disk.files.len());
            disk.files.push(File { now: durable.clone(), durable, unsynced: Vec::new() });
        }
        disk.now = disk.durable.clone();
        disk
    }

    /// The file's number; makes it if need be. Without a name it is nobody else's and nothing survives of it.
    pub(crate) fn open(&mut self, name: Option<&str>) -> Result<usize, Off> {
        if let Some(number) = name.and_then(|name| self.now.get(name)) {
            return self.is_on().map(|()| *number);
        }
        self.spend()?;
        let number = self.files.len();
        self.files.push(File::default());
        if let Some(name) = name {
            self.now.insert(name.to_owned(), number);
            self.unsynced.push((name.to_owned(), Some(number)));
        }
        Ok(number)
    }

    /// Is there such a file, with something in it?
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.now.get(name).is_some_and(|file| !self.files[*file].now.is_empty())
    }

    pub(crate) fn delete(&mut self, name: &str, sync_folder: bool) -> Result<bool, Off> {
        self.spend()?;
        let was_there = self.now.remove(name).is_some();
        if was_there {
            self.unsynced.push((name.to_owned(), None));
        }
        if sync_folder {
            self.sync_folder();
        }
        Ok(was_there)
    }

    /// The file's content now.
    pub(crate) fn content(&self, file: usize) -> Result<&[u8], Off> {
        self.is_on().map(|()| &*self.files[file].now)
    }

    pub(crate) fn write(&mut self, file: usize, at: usize, data: &[u8]) -> Result<(), Off> {
        self.is_on()?;
        // The write in whose midst the power goes has begun all the same.
        let spent = self.spend();
        self.change(file, Change::Write { at, data: data.to_owned() });
        spent
    }

    pub(crate) fn truncate(&mut self, file: usize, length: usize) -> Result<(), Off> {
        self.spend()?;
        self.change(file, Change::Truncate(length));
        Ok(())
    }

    /// Makes the file's content durable, and its folder if asked; the power may go before it is done.
    pub(crate) fn sync(&mut self, file: usize, folder_too: bool) -> Result<(), Off> {
        self.spend()?;
        let file = &mut self.files[file];
        file.durable.clone_from(&file.now);
        file.unsynced.clear();
        if folder_too {
            self.sync_folder();
        }
        Ok(())
    }

    /// What is there when the power is back.
    pub(crate) fn survivors(&self, dice: &mut StdRng) -> BTreeMap<String, Vec<u8>> {
        // Between a disk that wrote nothing without being told to, and one that wrote everything at once.
        let kept = [0.0, 0.5, 0.9, 1.0][dice.random_range(0..4)];
        let mut names = self.durable.clone();
        for (name, file) in &self.unsynced {
            if !dice.random_bool(kept) {
                continue;
            }
            match file {
                Some(file) => names.insert(name.clone(), *file),
                None => names.remove(name),
            };
        }
        names.into_iter().map(|(name, file)| (name, self.files[file].survivor(kept, dice))).collect()
    }

    fn change(&mut self, file: usize, change: Change) {
        let file = &mut self.files[file];
        change.make(&mut file.now, |_| Fate::Kept);
        file.unsynced.push(change);
    }

    fn sync_folder(&mut self) {
        self.durable.clone_from(&self.now);
        self.unsynced.clear();
    }

    fn is_on(&self) -> Result<(), Off> {
        if self.off { Err(Off) } else { Ok(()) }
    }

    /// Counts down; the power goes with the change after the last.
    fn spend(&mut self) -> Result<(), Off> {
        self.is_on()?;
        match &mut self.power {
            None => Ok(()),
            Some(0) => {
                self.off = true;
                Err(Off)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// What becomes of a sector that was being written.
enum Fate {
    Kept,
    Lost,
    Garbage(u8),
}

impl File {
    fn survivor(&self, kept: f64, dice: &mut StdRng) -> Vec<u8> {
        let mut content = self.durable.clone();
        for change in &self.unsynced {
            let whole = matches!(change, Change::Truncate(_));
            if whole && !dice.random_bool(kept) {
                continue;
            }
            let grown = content.len();
            change.make(&mut content, |at| {
                if dice.random_bool(kept) {
                    Fate::Kept
                } else if at >= grown && dice.random_bool(0.5) {
                    Fate::Garbage(dice.random())
                } else {
                    Fate::Lost
                }
            });
        }
        content
    }
}

impl Change {
    /// Does it to the content, sector by sector.
    fn make(&self, content: &mut Vec<u8>, mut fate: impl FnMut(usize) -> Fate) {
        match self {
            Self::Truncate(length) => content.truncate(*length),
            Self::Write { at, data } => {
                let mut at = *at;
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let (part, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                    let end = at + part.len();
                    let fate = fate(at);
                    if !matches!(fate, Fate::Lost) && content.len() < end {
                        content.resize(end, 0);
                    }
                    match fate {
                        Fate::Kept => content[at..end].copy_from_slice(part),
                        Fate::Garbage(byte) => content[at..end].fill(byte),
                        Fate::Lost => {}
                    }
                    (at, rest) = (end, after);
                }
            }
        }
    }
}
