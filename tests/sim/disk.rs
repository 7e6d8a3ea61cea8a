//! Owns a disk in memory that can lose power at any operation.
//!
//! What was written since the last sync may be on it after the loss, or not, by sectors of 512
//! bytes: any subset. A new name is there only after its directory was synced, or if it is among
//! the first of those that were not. A failed sync leaves what was written out of every later one,
//! as Linux does: it marks the pages clean.
//! Refuses to know what the files hold. Bound: the files of one case.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truststram_store::{Disk, DiskFile};

use crate::random::Random;

const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when; operations are counted from the last [`SimDisk::arm`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The operation at which power is lost: it and all later ones fail.
    pub power_loss_at: Option<u64>,
    /// The operation that fails.
    pub error_at: Option<u64>,
    /// How many operations fail from there on.
    pub error_count: u64,
    /// Whether the failing ones say that the disk is full, and only those that need space fail.
    pub is_full: bool,
    /// Only syncs fail.
    pub only_syncs: bool,
    /// One sync in so many is answered without being done; 0: none.
    pub lying_sync_one_in: u64,
}

#[derive(Debug, Default)]
struct Inode {
    /// What is on the disk for sure.
    durable: Vec<u8>,
    /// What a reader sees.
    current: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Change>,
    is_open: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Debug)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    faults: Faults,
    operations: u64,
    is_off: bool,
    random: Random,
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

/// What an operation needs of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Reading,
    Space,
    Sync,
}

impl World {
    /// Counts an operation and fails it if its time has come.
    fn step(&mut self, need: Need) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("power is off"));
        }
        self.operations += 1;
        let faults = self.faults;
        if faults.power_loss_at.is_some_and(|at| self.operations >= at) {
            self.is_off = true;
            return Err(io::Error::other("power is lost"));
        }
        let fails = faults.error_at.is_some_and(|at| {
            (at..at.saturating_add(faults.error_count)).contains(&self.operations)
        });
        match need {
            Need::Space if fails && faults.is_full => Err(io::ErrorKind::StorageFull.into()),
            _ if faults.is_full => Ok(()),
            Need::Sync if fails => Err(io::Error::from_raw_os_error(5)),
            _ if fails && !faults.only_syncs => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    }
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            faults: Faults::default(),
            operations: 0,
            is_off: false,
            random: Random::new(seed),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what goes wrong from now on.
    pub fn arm(&self, faults: Faults) {
        let mut world = self.world();
        world.faults = faults;
        world.operations = 0;
    }

    pub fn is_off(&self) -> bool {
        self.world().is_off
    }

    /// Turns power off, if it is not, and on again. What was not synced is there in part.
    pub fn lose_power(&self) {
        let mut world = self.world();
        let World { inodes, names, durable_names, name_changes, random, .. } = &mut *world;
        for inode in inodes.iter_mut() {
            let keep = Keep::any(random);
            for change in std::mem::take(&mut inode.unsynced) {
                keep.apply(&change, &mut inode.durable, random);
            }
            inode.current.clone_from(&inode.durable);
            inode.is_open = false;
        }
        let kept = random.below(name_changes.len() as u64 + 1) as usize;
        for change in name_changes.drain(..).take(kept) {
            apply_name(change, durable_names);
        }
        names.clone_from(durable_names);
        world.is_off = false;
        world.faults = Faults::default();
        world.operations = 0;
    }

    /// From now on every operation fails.
    pub fn turn_off(&self) {
        self.world().is_off = true;
    }

    /// Ends every handle, as the end of a process does; what was written stays visible.
    pub fn kill_process(&self) {
        let mut world = self.world();
        world.inodes.iter_mut().for_each(|inode| inode.is_open = false);
        world.faults = Faults::default();
        world.is_off = false;
    }

    /// The names and contents of all files.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let world = self.world();
        let contents = |(path, &inode): (&PathBuf, &usize)| {
            (path.clone(), world.inodes[inode].current.clone())
        };
        world.names.iter().map(contents).collect()
    }

    /// Turns one bit of a file over, on the disk as well.
    pub fn flip(&self, path: &Path, bit: u64) {
        let mut world = self.world();
        let inode = world.names[path];
        let inode = &mut world.inodes[inode];
        for bytes in [&mut inode.durable, &mut inode.current] {
            if let Some(byte) = bytes.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
}

/// How much of what was not synced is kept of one file.
enum Keep {
    Nothing,
    Everything,
    /// Everything before some change, nothing after.
    First(std::cell::Cell<u64>),
    /// Each sector with this chance in a hundred.
    Sectors(u64),
}

impl Keep {
    fn any(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::First(std::cell::Cell::new(random.below(40))),
            _ => Self::Sectors(random.below(100)),
        }
    }

    fn apply(&self, change: &Change, bytes: &mut Vec<u8>, random: &mut Random) {
        match self {
            Self::Nothing => {}
            Self::Everything => change.apply(bytes),
            Self::First(left) => {
                if left.get() > 0 {
                    left.set(left.get() - 1);
                    change.apply(bytes);
                }
            }
            Self::Sectors(chance) => match change {
                Change::Length(_) => {
                    if random.below(100) < *chance {
                        change.apply(bytes);
                    }
                }
                Change::Write(at, data) => {
                    let mut start = 0;
                    while start < data.len() {
                        let end = ((at + start) / SECTOR_BYTES + 1) * SECTOR_BYTES - at;
                        let end = end.min(data.len());
                        if random.below(100) < *chance {
                            Change::Write(at + start, data[start..end].to_vec()).apply(bytes);
                        }
                        start = end;
                    }
                }
            },
        }
    }
}

fn apply_name(change: NameChange, names: &mut BTreeMap<PathBuf, usize>) {
    match change {
        NameChange::Put(path, inode) => drop(names.insert(path, inode)),
        NameChange::Remove(path) => drop(names.remove(&path)),
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    is_exclusive: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.is_exclusive {
            self.disk.world().inodes[self.inode].is_open = false;
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        let inode = match world.names.get(path) {
            Some(&inode) => inode,
            None => {
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                world.names.insert(path.to_owned(), inode);
                world.name_changes.push(NameChange::Put(path.to_owned(), inode));
                inode
            }
        };
        if std::mem::replace(&mut world.inodes[inode].is_open, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimFile { disk: self.clone(), inode, is_exclusive: true }))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, is_exclusive: false }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        Ok(world.names.keys().any(|name| name.starts_with(path)))
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.world().step(Need::Reading)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        if world.names.contains_key(directory) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let below = |path: &PathBuf| {
            let rest = path.strip_prefix(directory).ok()?;
            Some(rest.components().next()?.as_os_str().to_str()?.to_owned())
        };
        let mut names: Vec<String> = world.names.keys().filter_map(below).collect();
        names.dedup();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), inode);
        world.name_changes.push(NameChange::Remove(from.to_owned()));
        world.name_changes.push(NameChange::Put(to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.name_changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn drop_cached(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Need::Reading)?;
        let inode = *world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let inode = &mut world.inodes[inode];
        inode.current.clone_from(&inode.durable);
        let Inode { current, unsynced, .. } = inode;
        unsynced.iter().for_each(|change| change.apply(current));
        Ok(())
    }

    fn sync_dir(&self, _directory: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Need::Sync)?;
        let World { name_changes, durable_names, .. } = &mut *world;
        name_changes.drain(..).for_each(|change| apply_name(change, durable_names));
        Ok(())
    }

    fn bytes(&self, path: &Path) -> u64 {
        let world = self.world();
        world.names.get(path).map_or(0, |&inode| world.inodes[inode].current.len() as u64)
    }
}

impl SimFile {
    fn change(&self, need: Need, change: Change) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(need)?;
        let inode = &mut world.inodes[self.inode];
        change.apply(&mut inode.current);
        inode.unsynced.push(change);
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        let mut world = self.disk.world();
        world.step(Need::Reading)?;
        Ok(world.inodes[self.inode].current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Need::Reading)?;
        let bytes = &world.inodes[self.inode].current;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(out.len());
        out.copy_from_slice(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let grows = {
            let world = self.disk.world();
            at + data.len() > world.inodes[self.inode].current.len()
        };
        // Writing over what is there needs no space.
        let need = if grows { Need::Space } else { Need::Reading };
        self.change(need, Change::Write(at, data.to_vec()))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.change(Need::Space, Change::Length(length))
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        let step = world.step(Need::Sync);
        let one_in = world.faults.lying_sync_one_in;
        if step.is_ok() && one_in > 0 && world.random.below(one_in) == 0 {
            return Ok(());
        }
        let is_off = world.is_off;
        let inode = &mut world.inodes[self.inode];
        match step {
            Ok(()) => {
                let Inode { durable, unsynced, .. } = inode;
                unsynced.drain(..).for_each(|change| change.apply(durable));
                Ok(())
            }
            Err(error) => {
                // The kernel marks the pages clean: no later sync writes them.
                if !is_off {
                    inode.unsynced.clear();
                }
                Err(error)
            }
        }
    }
}
