//! A process without file descriptors: writes wait for the log's next file, and nobody ends.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use zk_store::disk::{Access, DirEntry, Disk, DiskFile};
use zk_store::sim::{EMFILE, SimDisk};

use crate::client::create;
use crate::member::Member;
use crate::wait_until;
use zk_proto::acl::AclBytes;

/// A disk on which no file can be made for a while.
#[derive(Clone, Debug)]
struct Crowded(Arc<(SimDisk, AtomicBool, AtomicUsize)>);

impl Crowded {
    fn new() -> Crowded {
        Crowded(Arc::new((SimDisk::new(4096), AtomicBool::new(false), AtomicUsize::new(0))))
    }

    fn open_one(&self) -> io::Result<()> {
        let (_, is_full, refused) = &*self.0;
        if is_full.load(Ordering::Relaxed) {
            refused.fetch_add(1, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        Ok(())
    }
}

impl Disk for Crowded {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.open_one()?;
        self.0.0.open(path, access)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.open_one()?;
        self.0.0.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.0.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_one()?;
        self.0.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.0.lock(path)
    }
}

#[test]
fn writes_wait_for_a_descriptor_and_reads_go_on() {
    let disk = Crowded::new();
    let member = Member::start_on(disk.clone(), "txnLogSizeLimitInKb=1\nsnapCount=1000\n");
    let (mut writer, mut reader) = (member.client(), member.client());
    let (_, is_full, refused) = &*disk.0;
    // More than a file may have: the next record begins a new one.
    assert_eq!(writer.create("/n", &[7; 2000]).unwrap(), 0);
    is_full.store(true, Ordering::Relaxed);
    writer.send(&create("/a", b"", AclBytes::OPEN)).unwrap();
    writer.send(&create("/b", b"", AclBytes::OPEN)).unwrap();
    wait_until("the log wants a file, twice", || refused.load(Ordering::Relaxed) >= 2);
    assert_eq!(reader.get("/n").unwrap(), [7; 2000], "reads go on");
    assert_eq!(reader.get("/a"), Err(-101), "nothing is shown that is not logged");
    is_full.store(false, Ordering::Relaxed);
    assert_eq!([writer.reply().unwrap().err, writer.reply().unwrap().err], [0, 0]);
    assert_eq!(reader.get("/b").unwrap(), b"");
}
