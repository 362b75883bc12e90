//! What happens to sessions of one member: they write, want ephemerals, go away and come back, move
//! to others, end, and fall silent.

use std::time::{Duration, Instant};

use zk_proto::connect::ConnectResponse;
use zk_proto::request::CreateMode::{Container, Ephemeral, EphemeralSequential, Persistent};
use zk_proto::request::{CreateMode, ReadRequest, Request, RequestHeader};
use zk_proto::{Jute, OpCode};
use zk_testkit::{Client, Connection, Engine, Ensemble, Error, Incoming, PATIENCE, Reply};

use super::teller::{Teller, last_zxid, multi, sessions, word};

/// Long enough for everything, and short enough to be taken as it is.
const SESSION_MS: i32 = 10_000;
/// The least that there is: two ticks.
const SHORT_MS: i32 = 1000;

pub(crate) fn tell(
    ensemble: &mut Ensemble,
    sid: i64,
    leader: i64,
    upgrading: bool,
) -> Result<String, Error> {
    let logs = ensemble.member(leader)?.data_dir();
    let before = last_zxid(ensemble, leader)?;
    let mut teller = Teller::new(ensemble, sid);
    let root = format!("/at-{sid}");
    if upgrading {
        upgraded(&mut teller, &root)?
    } else {
        kept(&mut teller, &root)?
    }
    teller.log(&logs, before)?;
    Ok(teller.told())
}

/// Sessions that may own no ephemerals.
fn kept(teller: &mut Teller<'_>, root: &str) -> Result<(), Error> {
    let at = |name: &str| format!("{root}/{name}");
    teller.counts()?;
    let mut client = teller.open(SESSION_MS)?;
    teller.counts()?;
    teller.dump()?;
    teller.create(&mut client, root, Persistent)?;
    for mode in [Ephemeral, EphemeralSequential, Container, Persistent, Ephemeral] {
        teller.create(&mut client, &at(&format!("{mode:?}")), mode)?;
    }
    teller.create(&mut client, "/no/parent", Ephemeral)?;
    let [first, second] = [at("first"), at("second")];
    teller.multi(&mut client, &[(&first, Persistent), (&second, Ephemeral)])?;
    teller.multi(&mut client, &[(&second, Ephemeral), (&first, Persistent)])?;
    teller.multi(&mut client, &[(&first, Persistent), (&second, Persistent)])?;
    let set = client.set_data(&first, b"other", 0);
    teller.expect("setData", set)?;
    let deleted = client.delete(&second, -1);
    teller.expect("delete", deleted)?;
    let names = client.children(root)?;
    teller.line(format!("children: {names:?}"));
    let synced = client.sync();
    teller.expect("sync", synced)?;
    let client = comes_and_goes(teller, client)?;
    let session = client.session().clone();
    let seen = client.seen();
    let ended = client.close();
    teller.expect("close", ended)?;
    teller.counts()?;
    teller.resume("come back", teller.sid, &session, seen)?;
    silent(teller, |teller, client| teller.create(client, &at("short"), Persistent))
}

/// A session goes to the others, which do not know it, and back.
fn comes_and_goes(teller: &mut Teller<'_>, mut client: Client) -> Result<Client, Error> {
    let session = client.session().clone();
    let seen = client.seen();
    for sid in teller.ensemble.sids() {
        if sid != teller.sid {
            teller.resume("go to another", sid, &session, seen)?;
        }
    }
    let wrote = client.sync();
    teller.expect("sync on the old connection", wrote)?;
    let back = teller.resume("stay", teller.sid, &session, seen)?.ok_or(Error::Expired)?;
    let wrote = client.sync();
    teller.expect("sync on the old connection", wrote)?;
    drop(back);
    let wrong = ConnectResponse { password: [7; 16], ..session.clone() };
    teller.resume("come back with another password", teller.sid, &wrong, seen)?;
    let mut back = teller.resume("come back", teller.sid, &session, seen)?.ok_or(Error::Expired)?;
    let wrote = back.sync();
    teller.expect("sync", wrote)?;
    teller.counts()?;
    Ok(back)
}

/// A session does something, and then nothing any more.
fn silent(
    teller: &mut Teller<'_>,
    work: impl FnOnce(&mut Teller<'_>, &mut Client) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut client = teller.open(SHORT_MS)?;
    work(teller, &mut client)?;
    teller.counts()?;
    let (session, seen) = (client.session().clone(), client.seen());
    let since = Instant::now();
    // Not its connection: Apache's may end earlier.
    while sessions(&word(teller.ensemble, teller.sid, "mntr")?) != ["0", "0"] {
        assert!(since.elapsed() < PATIENCE, "it lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let after_ms = since.elapsed().as_millis();
    assert!((800..4000).contains(&after_ms), "{after_ms} ms");
    teller.line("silent until it has ended");
    let synced = client.sync();
    teller.expect("sync", synced)?;
    teller.resume("come back", teller.sid, &session, seen)?;
    Ok(())
}

/// Sessions that become everybody's when they want an ephemeral.
fn upgraded(teller: &mut Teller<'_>, root: &str) -> Result<(), Error> {
    let at = |name: &str| format!("{root}/{name}");
    let mut client = teller.open(SESSION_MS)?;
    teller.create(&mut client, root, Persistent)?;
    teller.counts()?;
    teller.create(&mut client, &at("e"), Ephemeral)?;
    teller.counts()?;
    teller.dump()?;
    teller.create(&mut client, &at("s-"), EphemeralSequential)?;
    moves(teller, client, &at("e"))?;

    pipelined(teller, root)?;

    let mut client = teller.open(SESSION_MS)?;
    let [first, second] = [at("first"), at("second")];
    teller.multi(&mut client, &[(&first, Persistent), (&second, Persistent)])?;
    teller.counts()?;
    let [third, fourth] = [at("third"), at("fourth")];
    teller.multi(&mut client, &[(&third, Persistent), (&fourth, Ephemeral)])?;
    teller.counts()?;
    let ended = client.close();
    teller.expect("close", ended)?;
    teller.counts()?;

    // Whatever becomes of the ephemeral.
    let mut client = teller.open(SESSION_MS)?;
    teller.create(&mut client, "/no/parent", Ephemeral)?;
    teller.counts()?;
    let ended = client.close();
    teller.expect("close", ended)?;

    silent(teller, |teller, client| teller.create(client, &at("short"), Ephemeral))
}

/// An upgraded session goes from member to member, and ends at another one.
fn moves(teller: &mut Teller<'_>, client: Client, path: &str) -> Result<(), Error> {
    let session = client.session().clone();
    let mut seen = client.seen();
    let others: Vec<_> =
        teller.ensemble.sids().into_iter().filter(|it| *it != teller.sid).collect();
    for sid in others.iter().chain(&[teller.sid, others[0]]) {
        let client = teller.resume("go to another", *sid, &session, seen)?;
        let mut client = client.ok_or(Error::Expired)?;
        let set = client.set_data(path, b"other", -1);
        teller.expect("setData", set)?;
        let (_, stat) = client.get_data(path)?;
        assert_eq!(stat.ephemeral_owner, session.session_id.0, "at server {sid}");
        seen = client.seen();
        if *sid == others[0] && stat.version > 1 {
            let ended = client.close();
            teller.expect("close", ended)?;
        }
    }
    teller.resume("come back", teller.sid, &session, seen)?;
    let mut client = teller.open(SESSION_MS)?;
    client.sync()?;
    let gone = client.exists(path);
    teller.expect("exists", gone)?;
    let ended = client.close();
    teller.expect("close", ended)
}

/// A client does not wait for answers: all of them come in order.
fn pipelined(teller: &mut Teller<'_>, root: &str) -> Result<(), Error> {
    let client = teller.open(SESSION_MS)?;
    let (session, seen) = (client.session().clone(), client.seen());
    drop(client);
    let mut connection = Connection::open(teller.ensemble.addr(teller.sid)?)?;
    connection.handshake(&zk_proto::connect::ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: seen.0,
        timeout_ms: session.timeout_ms,
        session_id: session.session_id,
        password: Some(&session.password),
        read_only: Some(false),
    })?;
    let [plain, own, part] = ["plain", "own", "part"].map(|name| format!("{root}/{name}"));
    let get = Request::GetData(ReadRequest { path: own.as_str().into(), watch: false });
    let requests = [
        create(&plain, Persistent),
        create(&own, Ephemeral),
        get.clone(),
        multi(&[(&part, Ephemeral)]),
        create(&own, Ephemeral),
        get,
        Request::CloseSession,
    ];
    let mut bytes = Vec::new();
    for (xid, request) in (1..).zip(&requests) {
        zk_proto::jute::put_frame(&mut bytes, |out| {
            RequestHeader { xid, op: request.opcode().code() }.write(out);
            request.write(out);
        });
    }
    connection.send(&bytes)?;
    let mut last = 0;
    loop {
        match connection.read(PATIENCE)? {
            Incoming::Frame(frame) => {
                let reply = Reply::parse(&frame)?;
                let is_later = reply.zxid.0 >= last;
                last = reply.zxid.0;
                teller.line(format!("answer {}: {}, later {is_later}", reply.xid, reply.err));
            }
            Incoming::Closed => return Ok(()),
            Incoming::Silence => return Err(Error::Silence(PATIENCE)),
        }
    }
}

fn create(path: &str, mode: CreateMode) -> Request<'_> {
    let (op, acl, flags) = (OpCode::Create, zk_proto::acl::AclBytes::OPEN, mode.flags());
    let (path, data) = (path.into(), Some(&b"data"[..]));
    Request::Create(zk_proto::request::Create { op, path, data, acl, flags, ttl_ms: -1 })
}

/// A server that is alone: it is all that there is.
pub(crate) fn alone(engine: Engine) -> Result<(), Error> {
    let mut config = zk_testkit::ServerConfig::new(engine);
    config.lines.extend(super::lines(false));
    let server = zk_testkit::Server::start(config)?;
    let mut client = Client::connect(server.addr(), SESSION_MS)?;
    let created = client.create("/e", b"", Ephemeral)?;
    assert_eq!(created.stat.ephemeral_owner, client.session().session_id.0, "{engine}");
    let answer = zk_testkit::four_letter_word(server.addr(), b"mntr", PATIENCE)?;
    assert_eq!(sessions(&String::from_utf8_lossy(&answer)), ["0", "1"], "{engine}");
    client.close()?;
    Ok(())
}
