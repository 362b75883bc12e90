//! The disk of a member as the server has it: zk-store's log, snapshots, marks and epoch files, on
//! a simulated disk that loses what was not synced and tears what was being written.

use super::{Done, Entry, Image, Io, Store};
use crate::rng::Rng;
use crate::storage::{Found, Loading, Refused};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use zk_proto::snapshot::{SessionRecord, ZxidDigest};
use zk_proto::{Epoch, Zxid};
use zk_store::Compression;
use zk_store::data_dir::{DataDirs, DirLock, EpochFile};
use zk_store::incomplete::{history_is_whole, is_incomplete, note_incomplete};
use zk_store::log::{LogOptions, LogWriter, put_frame};
use zk_store::manifest::Manifest;
use zk_store::purge::purge;
use zk_store::recover::{RecoverOptions, recover};
use zk_store::replacement::{Replacement, TAKEN, end_replacement, replace_history};
use zk_store::sim::SimDisk;
use zk_store::snapshot::{ReadOptions, SnapshotOptions, SnapshotWriter};
use zk_store::tail::read_tail;
use zk_store::truncate::{TruncateError, truncate};
use zk_tree::{Tree, TreeOptions};

/// How far ahead a loss of power may lie, in calls to the disk.
const CUT_WITHIN: usize = 40;
/// More than this of the log is not read for a learner.
const TAIL_BYTES: usize = 32 << 20;
/// So many snapshots are kept.
const KEPT: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct FileStore {
    options: TreeOptions,
    compression: Compression,
    extent_bytes: u64,
    sector_bytes: usize,
    disk: SimDisk,
    dirs: DataDirs,
    /// What a running process has open; a member without a history has no log.
    writer: Option<LogWriter>,
    lock: Option<DirLock>,
    queue: VecDeque<Entry>,
    /// What was queued when the process ended: some of it may be on the disk.
    unsure: Vec<Entry>,
    is_initial: bool,
}

fn refused(error: impl std::fmt::Display) -> Refused {
    Refused(error.to_string())
}

impl FileStore {
    /// An empty disk of a random kind.
    pub(crate) fn new(options: TreeOptions, is_initial: bool, rng: &mut Rng) -> FileStore {
        let sector_bytes = *rng.pick(&[512, 4096]);
        FileStore {
            options,
            compression: *rng.pick(&[Compression::None, Compression::Snappy]),
            extent_bytes: *rng.pick(&[12 << 10, 256 << 10]),
            sector_bytes,
            disk: SimDisk::new(sector_bytes),
            dirs: DataDirs::new("/data", rng.chance(300).then(|| "/log".into())),
            writer: None,
            lock: None,
            queue: VecDeque::new(),
            unsure: Vec::new(),
            is_initial,
        }
    }

    fn open_log(&mut self, last: Zxid, manifest: Manifest) -> Result<(), Refused> {
        let extent_bytes = self.extent_bytes;
        let options = LogOptions { extent_bytes, force_sync: true, reserve_bytes: 0 };
        let disk = Arc::new(self.disk.clone());
        let writer = LogWriter::new(disk, self.dirs.logs(), options, last, manifest);
        self.writer = Some(writer.map_err(refused)?);
        Ok(())
    }

    /// Reads everything anew, and goes on behind it.
    fn load(&mut self) -> Result<Found, Refused> {
        let mut loading = Loading::new(self.options);
        let options = RecoverOptions::default();
        let recovered = recover(&self.disk, &self.dirs, &options, &mut loading).map_err(refused)?;
        let manifest = recovered.settle(&self.disk, &self.dirs).map_err(refused)?;
        self.open_log(recovered.last, manifest)?;
        Ok(loading.found())
    }

    fn write_snapshot(&self, image: &Image) -> Result<(SnapshotWriter, ZxidDigest), Refused> {
        let record =
            |&(id, timeout_ms): &(zk_proto::SessionId, i32)| SessionRecord { id: id.0, timeout_ms };
        let sessions: Vec<_> = image.sessions.iter().map(record).collect();
        let options =
            SnapshotOptions { compression: self.compression, ..SnapshotOptions::default() };
        let (disk, dir, head) = (Arc::new(self.disk.clone()), self.dirs.snapshots(), &image.head);
        let mut writer =
            SnapshotWriter::begin(disk, &dir, head.zxid, options, &sessions, &head.acls)
                .map_err(refused)?;
        writer.nodes(&image.nodes).map_err(refused)?;
        Ok((writer, head.digest))
    }

    /// The snapshot of a tree in which nothing was ever done.
    fn empty_image(&self) -> Option<Image> {
        let mut tree = Tree::new(self.options);
        let head = tree.begin_snapshot()?;
        let mut nodes = Vec::new();
        while tree.snapshot_some(64, usize::MAX, &mut nodes) {}
        Some(Image { head, sessions: Vec::new(), nodes })
    }

    fn cut(&mut self, zxid: Zxid) -> Result<Done, Refused> {
        self.writer = None;
        let is_cut = match truncate(&self.disk, &self.dirs, zxid, &RecoverOptions::default()) {
            Ok(()) => true,
            Err(TruncateError::File(error)) => return Err(refused(error)),
            Err(_) => false,
        };
        Ok(Done::Truncated(is_cut, self.load()?))
    }

    fn replace(&mut self, image: Option<&Rc<Image>>, has_vote: bool) -> Result<Done, Refused> {
        self.writer = None;
        let (writer, digest) = match image {
            Some(image) => self.write_snapshot(image)?,
            None => {
                let empty = self.empty_image().ok_or_else(|| refused("no snapshot"))?;
                self.write_snapshot(&empty)?
            }
        };
        let name = writer.set_aside(Some(digest), TAKEN).map_err(refused)?;
        let replacement = Replacement { name, has_vote };
        replace_history(&self.disk, &self.dirs, replacement).map_err(refused)?;
        Ok(Done::Replaced(self.load()?))
    }

    fn epoch(&self, file: EpochFile, last: Zxid) -> Result<Option<Epoch>, Refused> {
        self.dirs.epoch(&self.disk, file, last).map_err(refused)
    }
}

impl Store for FileStore {
    fn append(&mut self, entry: Entry) {
        self.queue.push_back(entry);
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn commit(&mut self, most: usize) -> Result<Vec<Entry>, Refused> {
        let count = most.min(self.queue.len());
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut frames = Vec::new();
        for (_, txn) in self.queue.iter().take(count) {
            put_frame(&mut frames, txn);
        }
        let writer = self.writer.as_mut().ok_or_else(|| refused("there is no log"))?;
        writer.commit(&frames).map_err(refused)?;
        Ok(self.queue.drain(..count).collect())
    }

    fn perform(&mut self, io: &Io) -> Result<Done, Refused> {
        let set = |file, epoch| self.dirs.set_epoch(&self.disk, file, epoch).map_err(refused);
        match io {
            Io::Accepted(epoch) => set(EpochFile::Accepted, *epoch)?,
            Io::Current(epoch) => set(EpochFile::Current, *epoch)?,
            Io::Flush => {
                self.commit(usize::MAX)?;
            }
            Io::Truncate(zxid) => return self.cut(*zxid),
            Io::Replace { image, has_vote } => return self.replace(image.as_ref(), *has_vote),
        }
        Ok(Done::Nothing)
    }

    fn epochs(&self, last: Zxid) -> Result<(Epoch, Epoch), Refused> {
        let current = self.epoch(EpochFile::Current, last)?.unwrap_or(last.epoch());
        let accepted = self.epoch(EpochFile::Accepted, last)?.unwrap_or(current);
        super::fitting(accepted, current, last)
    }

    fn tail(&self, after: Zxid, upto: Zxid) -> Option<Vec<Entry>> {
        let tail = read_tail(&self.disk, &self.dirs, after, upto, TAIL_BYTES).ok().flatten()?;
        Some(tail.into_iter().map(|(zxid, txn)| (zxid, txn.into())).collect())
    }

    fn log(&self) -> Vec<Entry> {
        Vec::new()
    }

    fn keep(&mut self, image: Rc<Image>) -> Result<(), Refused> {
        let (writer, digest) = self.write_snapshot(&image)?;
        writer.finish(Some(digest)).map_err(refused)?;
        purge(&self.disk, &self.dirs, KEPT as _, &ReadOptions::default()).map_err(refused)?;
        Ok(())
    }

    fn has_history(&self) -> bool {
        matches!(self.epoch(EpochFile::Accepted, Zxid::ZERO), Ok(Some(_)))
    }

    fn is_damaged(&self) -> bool {
        is_incomplete(&self.disk, &self.dirs).unwrap_or(true)
    }

    fn note_damaged(&mut self, is_damaged: bool) -> Result<(), Refused> {
        match is_damaged {
            true => note_incomplete(&self.disk, &self.dirs).map_err(refused),
            false => history_is_whole(&self.disk, &self.dirs).map_err(refused),
        }
    }

    fn is_initial(&self) -> bool {
        self.is_initial
    }

    fn note_founded(&mut self) {
        self.is_initial = false;
    }

    fn crash(&mut self, rng: &mut Rng, under_way: Option<&Io>) {
        // The power goes somewhere in what is being done, if it does not end by itself before.
        if under_way.is_some() || rng.chance(500) {
            self.disk.cut_power_at(rng.below(CUT_WITHIN) as u64);
        }
        self.unsure = self.queue.iter().cloned().collect();
        let _ = match under_way {
            Some(io) => self.perform(io).map(|_| ()),
            None => {
                let most = rng.below(self.queue.len() + 1);
                self.commit(most).map(|_| ())
            }
        };
        self.disk = match rng.chance(300) {
            true => self.disk.fork(),
            false => self.disk.crash(&mut |options: usize| rng.below(options)),
        };
        self.disk.set_free_sectors(None);
        (self.writer, self.lock) = (None, None);
        self.queue.clear();
    }

    fn wipe(&mut self) {
        self.disk = SimDisk::new(self.sector_bytes);
        (self.writer, self.lock) = (None, None);
        self.queue.clear();
        self.unsure.clear();
        self.is_initial = false;
    }

    fn recover(&mut self) -> Result<(Found, Vec<Entry>), Refused> {
        self.lock = Some(self.dirs.open(&self.disk, true).map_err(refused)?);
        let unsure = std::mem::take(&mut self.unsure);
        end_replacement(&self.disk, &self.dirs).map_err(refused)?;
        if self.is_damaged() {
            return Ok((Loading::new(self.options).found(), Vec::new()));
        }
        let found = self.load()?;
        let last = found.tree.last_zxid();
        Ok((found, unsure.into_iter().filter(|(zxid, _)| *zxid <= last).collect()))
    }
}
