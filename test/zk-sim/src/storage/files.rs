//! Storage as the server has it: zk-store's log, snapshots and recovery, on a disk that loses what
//! was not synced, tears writes and fails calls.

use super::{Found, Loading, Refused, Storage};
use crate::rng::Rng;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use zk_proto::SessionId;
use zk_proto::snapshot::SessionRecord;
use zk_session::password::Passwords;
use zk_store::Compression;
use zk_store::data_dir::{DataDirs, DirLock};
use zk_store::log::{LogError, LogOptions, LogWriter, put_frame};
use zk_store::purge::purge;
use zk_store::recover::{RecoverOptions, recover};
use zk_store::session_rule;
use zk_store::sim::{EIO, SimDisk};
use zk_store::snapshot::{ReadOptions, SnapshotOptions, SnapshotWriter, read_snapshot};
use zk_tree::{SnapshotHead, TreeOptions};

/// How far ahead a fault may lie, in calls to the disk.
const FAULT_WITHIN: usize = 40;
/// Less than so many sectors are left on a disk that gets full.
const SECTORS_LEFT: usize = 24;

/// See the module.
#[derive(Debug)]
pub(crate) struct Files {
    options: TreeOptions,
    compression: Compression,
    extent_bytes: u64,
    disk: SimDisk,
    dirs: DataDirs,
    open: Option<Open>,
    reserve_bytes: u64,
    queue: VecDeque<(i64, Vec<u8>)>,
    /// Frames that the log could not take when its disk was full, and how many. They go first.
    refused: (Vec<u8>, usize),
    /// A new file was due then.
    must_roll: bool,
    is_harmed: bool,
    /// The disk has little room.
    is_limited: bool,
}

/// What a running process has open.
#[derive(Debug)]
struct Open {
    writer: LogWriter,
    taking: Option<(SnapshotWriter, SnapshotHead)>,
    _lock: DirLock,
}

fn refused(error: impl std::error::Error) -> Refused {
    Refused(error.to_string())
}

impl Files {
    /// An empty disk of a random kind.
    pub(crate) fn new(options: TreeOptions, reserve_bytes: u64, rng: &mut Rng) -> Files {
        Files {
            options,
            compression: *rng.pick(&[Compression::None, Compression::Gzip, Compression::Snappy]),
            // Small files, so that they roll.
            extent_bytes: *rng.pick(&[4 << 10, 12 << 10, 256 << 10]),
            disk: SimDisk::new(*rng.pick(&[512, 4096])),
            dirs: DataDirs::new("/data", rng.chance(300).then(|| "/log".into())),
            open: None,
            reserve_bytes,
            queue: VecDeque::new(),
            refused: (Vec::new(), 0),
            must_roll: false,
            is_harmed: false,
            is_limited: false,
        }
    }

    fn open(&mut self) -> Result<&mut Open, Refused> {
        self.open.as_mut().ok_or_else(|| Refused("nothing is open".into()))
    }

    /// Whether the log could do something; not if its disk is full.
    fn with_space(
        &mut self,
        act: impl FnOnce(&mut LogWriter) -> Result<(), LogError>,
    ) -> Result<bool, Refused> {
        match act(&mut self.open()?.writer) {
            Ok(()) => Ok(true),
            Err(LogError::DiskFull(_)) => Ok(false),
            Err(error) => Err(refused(error)),
        }
    }
}

impl Storage for Files {
    fn append(&mut self, zxid: i64, txn: &[u8]) {
        self.queue.push_back((zxid, txn.to_vec()));
    }

    fn waiting(&self) -> usize {
        self.queue.len() + self.refused.1
    }

    fn commit(&mut self, most: usize) -> Result<Option<i64>, Refused> {
        if self.must_roll && !self.with_space(LogWriter::roll)? {
            return Ok(None);
        }
        self.must_roll = false;
        let (mut frames, mut count) = std::mem::take(&mut self.refused);
        if count == 0 {
            count = most.min(self.queue.len());
            for (_, txn) in self.queue.drain(..count) {
                put_frame(&mut frames, &txn);
            }
        }
        match self.open()?.writer.commit(&frames) {
            Ok(committed) => Ok(committed.map(|committed| committed.zxid.0)),
            Err(LogError::DiskFull(_)) => {
                self.refused = (frames, count);
                Ok(None)
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn tend(&mut self, rng: &mut Rng) -> Result<(), Refused> {
        let choice = rng.below(5);
        let is_snapshotting = self.open.as_ref().is_some_and(|open| open.taking.is_some());
        if choice == 4 && !is_snapshotting {
            return purge(&self.disk, &self.dirs, 3, &ReadOptions::default())
                .map(|_| ())
                .map_err(refused);
        }
        if self.is_full() {
            // As group commit does: it is tried again and again, and fails as long as it must.
            let _ = self.open()?.writer.refill();
        }
        match choice {
            0 => self.must_roll |= !self.with_space(LogWriter::roll)?,
            1 => _ = self.with_space(|writer| writer.complete_mark().map(|_| ()))?,
            _ => self.open()?.writer.zero_ahead().map_err(refused)?,
        }
        Ok(())
    }

    fn begin_snapshot(
        &mut self,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
    ) -> Result<(), Refused> {
        let record = |&(id, timeout_ms): &(SessionId, i32)| SessionRecord { id: id.0, timeout_ms };
        let sessions: Vec<_> = sessions.iter().map(record).collect();
        let options =
            SnapshotOptions { compression: self.compression, ..SnapshotOptions::default() };
        let (disk, dir) = (Arc::new(self.disk.clone()), self.dirs.snapshots());
        let writer = SnapshotWriter::begin(disk, &dir, head.zxid, options, &sessions, &head.acls)
            .map_err(refused)?;
        self.open()?.taking = Some((writer, head.clone()));
        Ok(())
    }

    fn add_nodes(&mut self, nodes: &[u8]) -> Result<(), Refused> {
        match &mut self.open()?.taking {
            Some((writer, _)) => writer.nodes(nodes).map_err(refused),
            None => Ok(()),
        }
    }

    fn finish_snapshot(&mut self) -> Result<Found, Refused> {
        let (options, compression) = (self.options, self.compression);
        let Some((writer, head)) = self.open()?.taking.take() else {
            return Err(Refused("there is no snapshot to finish".into()));
        };
        let file = writer.finish(Some(head.digest)).map_err(refused)?;
        let mut loading = Loading::new(options);
        let form = (head.zxid, compression);
        read_snapshot(&self.disk, &file.path, form, &ReadOptions::default(), &mut loading)
            .map_err(refused)?;
        Ok(loading.found())
    }

    fn fill(&mut self, rng: &mut Rng) -> String {
        let sectors = rng.below(SECTORS_LEFT) as u64;
        self.disk.set_free_sectors(Some(sectors));
        self.is_limited = true;
        format!("the disk has {sectors} sectors left")
    }

    fn make_space(&mut self) {
        self.disk.set_free_sectors(None);
        self.is_limited = false;
        if self.is_full()
            && let Some(open) = &mut self.open
        {
            // If it cannot be set aside now, the next calls try again.
            let _ = open.writer.refill();
        }
    }

    fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.writer.is_disk_full())
    }

    fn harm(&mut self, rng: &mut Rng) -> String {
        self.is_harmed = true;
        let call = rng.below(FAULT_WITHIN) as u64;
        if rng.chance(500) {
            self.disk.fail(call, EIO);
            format!("disk call {call} from now will fail")
        } else {
            self.disk.cut_power_at(call);
            format!("the power will go at disk call {call} from now")
        }
    }

    /// Snapshots and lists need room, too; a server that cannot write them may end.
    fn is_harmed(&self) -> bool {
        self.is_harmed || self.is_limited
    }

    fn crash(&mut self, rng: &mut Rng) -> &'static str {
        let is_killed = rng.chance(300);
        self.disk = match is_killed {
            true => self.disk.fork(),
            false => self.disk.crash(&mut |options: usize| rng.below(options)),
        };
        self.open = None;
        self.queue.clear();
        self.refused = (Vec::new(), 0);
        self.must_roll = false;
        self.is_harmed = false;
        self.is_limited = false;
        self.disk.set_free_sectors(None);
        if is_killed { "the process is killed" } else { "the power is lost" }
    }

    fn recover(&mut self) -> Result<Found, Refused> {
        let disk = Arc::new(self.disk.clone());
        let lock = self.dirs.open(&*disk, true).map_err(refused)?;
        let mut loading = Loading::new(self.options);
        let recovered = recover(&*disk, &self.dirs, &RecoverOptions::default(), &mut loading)
            .map_err(refused)?;
        let manifest = recovered.settle(&*disk, &self.dirs).map_err(refused)?;
        let reserve_bytes = self.reserve_bytes;
        let options =
            LogOptions { extent_bytes: self.extent_bytes, force_sync: true, reserve_bytes };
        let writer = LogWriter::new(disk, self.dirs.logs(), options, recovered.last, manifest)
            .map_err(refused)?;
        self.open = Some(Open { writer, taking: None, _lock: lock });
        Ok(loading.found())
    }

    fn settle_passwords(
        &mut self,
        wanted: Passwords,
        live: &BTreeSet<SessionId>,
    ) -> Result<Passwords, Refused> {
        let before = session_rule::load(&self.disk, &self.dirs).map_err(refused)?;
        let settled = wanted.after(before.as_ref(), live).map_err(refused)?;
        session_rule::store(&self.disk, &self.dirs, settled.legacy()).map_err(refused)?;
        Ok(settled)
    }
}
