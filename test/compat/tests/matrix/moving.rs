//! A session that moves from member to member, with an ephemeral and a watch.

use zk_proto::request::{CreateMode, ReadRequest, Request, SetWatches2};
use zk_proto::watch::EventType;
use zk_testkit::{Client, Ensemble, Error};

use crate::story::SESSION_MS;

const MINE: &str = "/mine";
const WATCHED: &str = "/watched";

/// See the module.
pub(crate) struct Moving {
    client: Client,
}

impl Moving {
    /// It begins at a member.
    pub(crate) fn begin(ensemble: &Ensemble, sid: i64) -> Result<Moving, Error> {
        let mut client = ensemble.connect(sid, SESSION_MS)?;
        client.create(MINE, b"", CreateMode::Ephemeral)?;
        client.create(WATCHED, b"", CreateMode::Persistent)?;
        let mut moving = Moving { client };
        moving.watch()?;
        Ok(moving)
    }

    fn watch(&mut self) -> Result<(), Error> {
        let request = ReadRequest { path: WATCHED.into(), watch: true };
        self.client.call(&Request::GetData(request))?.ok().map(|_| ())
    }

    /// It moves to another member, and takes its watch along. What is watched changes before it
    /// comes there, or behind that: it is told of it once.
    pub(crate) fn move_to(
        &mut self,
        ensemble: &Ensemble,
        sid: i64,
        changes_before: bool,
    ) -> Result<(), Error> {
        let seen = self.client.seen();
        if changes_before {
            change(ensemble, sid)?;
        }
        self.client = ensemble.resume(sid, &self.client.session().clone(), seen)?;
        self.client.call(&Request::SetWatches(SetWatches2 {
            relative_zxid: seen.0,
            data: Some(vec![Some(WATCHED.into())]),
            exist: Some(Vec::new()),
            child: Some(Vec::new()),
            persistent: Some(Vec::new()),
            persistent_recursive: Some(Vec::new()),
        }))?;
        if !changes_before {
            change(ensemble, sid)?;
        }
        self.client.sync()?;
        let told = self.client.next_event().map(|(_, kind, path)| (kind, path));
        let due = (EventType::NodeDataChanged, WATCHED.to_owned());
        assert_eq!(told, Some(due), "at server {sid}");
        assert_eq!(self.client.next_event(), None, "at server {sid}");
        self.lives(sid)?;
        self.watch()
    }

    /// It still has its ephemeral.
    fn lives(&mut self, sid: i64) -> Result<(), Error> {
        let owner = self.client.exists(MINE)?.ephemeral_owner;
        assert_eq!(owner, self.client.session().session_id.0, "at server {sid}");
        Ok(())
    }

    /// Its end, and that of its ephemeral.
    pub(crate) fn end(mut self, ensemble: &Ensemble, sid: i64) -> Result<(), Error> {
        self.client.delete(WATCHED, -1)?;
        self.client.close()?;
        let mut client = ensemble.connect(sid, SESSION_MS)?;
        client.sync()?;
        assert!(client.exists(MINE).is_err(), "its session has ended");
        client.close()?;
        Ok(())
    }
}

fn change(ensemble: &Ensemble, sid: i64) -> Result<(), Error> {
    let mut client = ensemble.connect(sid, SESSION_MS)?;
    client.set_data(WATCHED, b"changed", -1)?;
    client.close()?;
    Ok(())
}
