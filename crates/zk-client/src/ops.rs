//! One method for each operation of the protocol.

use std::time::Duration;

use zk_proto::acl::AclBytes;
use zk_proto::path::CONFIG;
use zk_proto::request::{
    AddWatchRequest, Create, CreateMode, GetEphemeralsRequest, PathRequest, ReadRequest,
    ReconfigRequest, Request, SetAclRequest, SetDataRequest, SyncRequest, VersionedPath,
    WatchesRequest,
};
use zk_proto::response::{
    Create2Response, GetAclResponse, GetAllChildrenNumberResponse, GetChildren2Response,
    GetChildrenResponse, GetDataResponse, StatResponse, WhoAmIResponse,
};
use zk_proto::watch::{AddWatchMode, WatcherType};
use zk_proto::{ErrorCode, OpCode, Perms, Stat, Text};
use zk_session::client::WatchKind;

use crate::call::Interest;
use crate::{Client, Error, Reply, Watch};

/// The version that fits any version.
pub const ANY_VERSION: i32 = -1;

/// A znode that is to be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewZnode<'a> {
    /// Its data; `None` is null, which is not the same as empty.
    pub data: Option<&'a [u8]>,
    /// Persistent, ephemeral, sequential ...
    pub mode: CreateMode,
    /// Who may do what with it.
    pub acl: AclBytes<'a>,
    /// With the TTL modes: how long it lives without children and changes.
    pub ttl: Duration,
}

impl<'a> NewZnode<'a> {
    /// A znode of a mode, with data, open to everybody.
    #[must_use]
    pub fn new(mode: CreateMode, data: &'a [u8]) -> NewZnode<'a> {
        NewZnode { data: Some(data), mode, acl: AclBytes::OPEN, ttl: Duration::ZERO }
    }

    /// A persistent znode with data, open to everybody.
    #[must_use]
    pub fn persistent(data: &'a [u8]) -> NewZnode<'a> {
        NewZnode::new(CreateMode::Persistent, data)
    }

    /// An ephemeral znode with data, open to everybody.
    #[must_use]
    pub fn ephemeral(data: &'a [u8]) -> NewZnode<'a> {
        NewZnode::new(CreateMode::Ephemeral, data)
    }

    /// The request that creates it.
    #[must_use]
    pub fn at(&self, path: &'a str) -> Create<'a> {
        let op = match self.mode {
            CreateMode::Container => OpCode::CreateContainer,
            mode if mode.is_ttl() => OpCode::CreateTtl,
            _ => OpCode::Create2,
        };
        Create {
            op,
            path: Text::Borrowed(path),
            data: self.data,
            acl: self.acl,
            flags: self.mode.flags(),
            ttl_ms: i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// An entry of an ACL as a server gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OwnedAcl {
    /// What is allowed.
    pub perms: Perms,
    /// How `id` is to be understood.
    pub scheme: String,
    /// Who.
    pub id: String,
}

impl Client {
    /// Creates a znode; answers its actual path (with the counter, if sequential) and its Stat.
    pub async fn create(&self, path: &str, znode: NewZnode<'_>) -> Result<(String, Stat), Error> {
        let request = Request::Create(Create { path: self.full(path), ..znode.at(path) });
        let reply = self.call(&request).await?.ok(path)?;
        let Create2Response { path, stat } = reply.record()?;
        Ok((self.shown(path.into_owned()), stat))
    }

    /// Deletes a childless znode of this version, or [`ANY_VERSION`].
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        let body = VersionedPath { path: self.full(path), version };
        self.call(&Request::Delete(body)).await?.ok(path).map(|_| ())
    }

    /// A znode's Stat; `None` if it does not exist.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        let body = ReadRequest { path: self.full(path), watch: false };
        stat_if_there(self.call(&Request::Exists(body)).await?, path)
    }

    /// As [`Client::exists`], with a one-shot watch on creation, deletion and change of data.
    pub async fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, Watch), Error> {
        let body = ReadRequest { path: self.full(path), watch: true };
        let mut interest = self.interest(WatchKind::Data, path);
        interest.if_missing = Some(WatchKind::Exist);
        let (reply, watch) = self.watching(&Request::Exists(body), interest).await?;
        Ok((stat_if_there(reply, path)?, watch))
    }

    /// Data (null is `None`) and Stat.
    pub async fn get_data(&self, path: &str) -> Result<(Option<Vec<u8>>, Stat), Error> {
        let body = ReadRequest { path: self.full(path), watch: false };
        data_and_stat(self.call(&Request::GetData(body)).await?.ok(path)?)
    }

    /// As [`Client::get_data`], with a one-shot watch on deletion and change of data.
    pub async fn get_data_watched(
        &self,
        path: &str,
    ) -> Result<(Option<Vec<u8>>, Stat, Watch), Error> {
        let body = ReadRequest { path: self.full(path), watch: true };
        let interest = self.interest(WatchKind::Data, path);
        let (reply, watch) = self.watching(&Request::GetData(body), interest).await?;
        let (data, stat) = data_and_stat(reply.ok(path)?)?;
        Ok((data, stat, watch))
    }

    /// Replaces the data of a znode of this version, or [`ANY_VERSION`]; `None` is null.
    pub async fn set_data(
        &self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
    ) -> Result<Stat, Error> {
        let body = SetDataRequest { path: self.full(path), data, version };
        stat(&self.call(&Request::SetData(body)).await?.ok(path)?)
    }

    /// ACL and Stat. Digests are masked for those who may not administer the znode.
    pub async fn get_acl(&self, path: &str) -> Result<(Vec<OwnedAcl>, Stat), Error> {
        let body = PathRequest { path: self.full(path) };
        let reply = self.call(&Request::GetAcl(body)).await?.ok(path)?;
        let GetAclResponse { acl, stat } = reply.record()?;
        let owned = |text: Option<Text<'_>>| text.map(Text::into_owned).unwrap_or_default();
        let entries = acl.iter().map(|entry| OwnedAcl {
            perms: entry.perms,
            scheme: owned(entry.scheme),
            id: owned(entry.id),
        });
        Ok((entries.collect(), stat))
    }

    /// Replaces the ACL of a znode of this ACL version, or [`ANY_VERSION`].
    pub async fn set_acl(
        &self,
        path: &str,
        acl: AclBytes<'_>,
        version: i32,
    ) -> Result<Stat, Error> {
        let body = SetAclRequest { path: self.full(path), acl, version };
        stat(&self.call(&Request::SetAcl(body)).await?.ok(path)?)
    }

    /// Names of the children in no order, and the parent's Stat.
    pub async fn get_children(&self, path: &str) -> Result<(Vec<String>, Stat), Error> {
        let body = ReadRequest { path: self.full(path), watch: false };
        children_and_stat(&self.call(&Request::GetChildren2(body)).await?.ok(path)?)
    }

    /// As [`Client::get_children`], with a one-shot watch on the list of children and on deletion.
    pub async fn get_children_watched(
        &self,
        path: &str,
    ) -> Result<(Vec<String>, Stat, Watch), Error> {
        let body = ReadRequest { path: self.full(path), watch: true };
        let interest = self.interest(WatchKind::Child, path);
        let (reply, watch) = self.watching(&Request::GetChildren2(body), interest).await?;
        let (names, stat) = children_and_stat(&reply.ok(path)?)?;
        Ok((names, stat, watch))
    }

    /// Sets a watch that stays, on a znode that need not exist.
    pub async fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<Watch, Error> {
        let body = AddWatchRequest { path: Some(self.full(path)), mode: mode.code() };
        let interest = self.interest(WatchKind::of_mode(mode), path);
        let (reply, watch) = self.watching(&Request::AddWatch(body), interest).await?;
        reply.ok(path)?;
        Ok(watch)
    }

    /// Removes watches from the server; their streams end. [`ErrorCode::NoWatcher`] if there is
    /// none of this type.
    pub async fn remove_watches(&self, path: &str, of: WatcherType) -> Result<(), Error> {
        let full = self.full(path);
        let body = WatchesRequest { path: Some(full.clone()), watcher_type: of.code() };
        self.call(&Request::RemoveWatches(body)).await?.ok(path)?;
        self.end_watches(&full, of);
        Ok(())
    }

    /// Whether the server knows a watch of this type of this connection.
    pub async fn has_watches(&self, path: &str, of: WatcherType) -> Result<bool, Error> {
        let body = WatchesRequest { path: Some(self.full(path)), watcher_type: of.code() };
        let reply = self.call(&Request::CheckWatches(body)).await?;
        if reply.err == ErrorCode::NoWatcher.code() {
            return Ok(false);
        }
        reply.ok(path).map(|_| true)
    }

    /// Waits until the server has applied all that the leader had committed.
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        let body = SyncRequest { path: Some(self.full(path)) };
        self.call(&Request::Sync(body)).await?.ok(path).map(|_| ())
    }

    /// The connection's identities: scheme and user.
    pub async fn who_am_i(&self) -> Result<Vec<(String, String)>, Error> {
        let reply = self.call(&Request::WhoAmI).await?.ok("whoami")?;
        let WhoAmIResponse { client_info } = reply.record()?;
        let pair = |info: zk_proto::response::ClientInfo<'_>| {
            (info.auth_scheme.into_owned(), info.user.into_owned())
        };
        Ok(client_info.into_iter().map(pair).collect())
    }

    /// Paths of this session's ephemerals that begin with `prefix`, in no order.
    pub async fn get_ephemerals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let body = GetEphemeralsRequest { prefix: Some(self.full(prefix)) };
        let reply = self.call(&Request::GetEphemerals(body)).await?.ok(prefix)?;
        let GetChildrenResponse { children } = reply.record()?;
        Ok(children.into_iter().map(|path| self.shown(path.into_owned())).collect())
    }

    /// How many znodes are below a path.
    pub async fn get_all_children_number(&self, path: &str) -> Result<i32, Error> {
        let body = PathRequest { path: self.full(path) };
        let reply = self.call(&Request::GetAllChildrenNumber(body)).await?.ok(path)?;
        let GetAllChildrenNumberResponse { total_number } = reply.record()?;
        Ok(total_number)
    }

    /// The ensemble's configuration: text and Stat of `/zookeeper/config`, whatever the chroot.
    pub async fn get_config(&self) -> Result<(Option<Vec<u8>>, Stat), Error> {
        let body = ReadRequest { path: Text::Borrowed(CONFIG), watch: false };
        data_and_stat(self.call(&Request::GetData(body)).await?.ok(CONFIG)?)
    }

    /// Changes the ensemble's members; answers the new configuration. `joining` and `leaving`, or
    /// `members` as a whole; `config_id` is the version expected to hold, -1 for any.
    pub async fn reconfig(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        members: Option<&str>,
        config_id: i64,
    ) -> Result<(Option<Vec<u8>>, Stat), Error> {
        let body = ReconfigRequest {
            joining: joining.map(Text::Borrowed),
            leaving: leaving.map(Text::Borrowed),
            new_members: members.map(Text::Borrowed),
            config_id,
        };
        data_and_stat(self.call(&Request::Reconfig(body)).await?.ok(CONFIG)?)
    }

    fn interest(&self, if_ok: WatchKind, path: &str) -> Interest {
        let of = match if_ok {
            WatchKind::Data | WatchKind::Exist => WatcherType::Data,
            WatchKind::Child => WatcherType::Children,
            WatchKind::Persistent => WatcherType::Persistent,
            WatchKind::PersistentRecursive => WatcherType::PersistentRecursive,
        };
        let path = self.full(path).into_owned();
        Interest { of, if_ok, if_missing: None, path, queue: self.queue() }
    }
}

fn stat(reply: &Reply) -> Result<Stat, Error> {
    let StatResponse { stat } = reply.record()?;
    Ok(stat)
}

fn stat_if_there(reply: Reply, path: &str) -> Result<Option<Stat>, Error> {
    if reply.err == ErrorCode::NoNode.code() {
        return Ok(None);
    }
    stat(&reply.ok(path)?).map(Some)
}

/// Takes the data out of the reply's own buffer.
fn data_and_stat(mut reply: Reply) -> Result<(Option<Vec<u8>>, Stat), Error> {
    let GetDataResponse { data, stat } = reply.record()?;
    let Some(len) = data.map(<[u8]>::len) else { return Ok((None, stat)) };
    reply.body.truncate(4 + len);
    reply.body.drain(..4);
    Ok((Some(reply.body), stat))
}

fn children_and_stat(reply: &Reply) -> Result<(Vec<String>, Stat), Error> {
    let GetChildren2Response { children, stat } = reply.record()?;
    Ok((children.into_iter().map(Text::into_owned).collect(), stat))
}
