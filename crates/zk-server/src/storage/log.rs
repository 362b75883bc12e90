//! interim: group commit until the store has it.
use crate::engine::TxnLog;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use zk_proto::Zxid;
use zk_store::log::{LogWriter, put_frame};

pub(crate) struct Shared {
    q: Mutex<Queue>,
    cv: Condvar,
}
struct Queue {
    frames: Vec<u8>,
    last: Zxid,
    stop: bool,
    roll: bool,
}
pub(crate) struct Handle(pub(crate) Arc<Shared>);
impl TxnLog for Handle {
    fn append(&self, zxid: Zxid, txn: &[u8]) {
        let mut q = self.0.q.lock();
        let idle = q.frames.is_empty();
        put_frame(&mut q.frames, txn);
        q.last = zxid;
        drop(q);
        if idle {
            self.0.cv.notify_one();
        }
    }
}
impl Shared {
    pub(crate) fn new() -> Arc<Shared> {
        Arc::new(Shared { q: Mutex::new(Queue { frames: Vec::new(), last: Zxid(0), stop: false, roll: false }), cv: Condvar::new() })
    }
    pub(crate) fn roll(&self) {
        self.q.lock().roll = true;
        self.cv.notify_one();
    }
    pub(crate) fn stop(&self) {
        self.q.lock().stop = true;
        self.cv.notify_one();
    }
    pub(crate) fn run(self: Arc<Shared>, mut writer: LogWriter, mut done: impl FnMut(Result<Zxid, String>)) {
        let mut frames = Vec::new();
        loop {
            let (roll, stop) = {
                let mut q = self.q.lock();
                while q.frames.is_empty() && !q.stop && !q.roll {
                    self.cv.wait(&mut q);
                }
                std::mem::swap(&mut q.frames, &mut frames);
                (std::mem::take(&mut q.roll), q.stop)
            };
            match writer.commit(&mut frames) {
                Ok(Some(c)) => done(Ok(c.zxid)),
                Ok(None) => {}
                Err(e) => {
                    done(Err(e.to_string()));
                    return;
                }
            }
            frames.clear();
            let _ = writer.zero_ahead();
            if roll {
                let _ = writer.roll();
            }
            if stop && self.q.lock().frames.is_empty() {
                let _ = writer.close();
                return;
            }
        }
    }
}
