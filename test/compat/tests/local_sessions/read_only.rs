//! A member that has lost its quorum, and lets clients read: their sessions are of it alone.

use std::thread;
use std::time::{Duration, Instant};

use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::request::{CreateMode, ReadRequest, Request, RequestHeader, SyncRequest};
use zk_proto::{Jute, SessionId};
use zk_testkit::{Connection, Engine, Ensemble, Error, Incoming, PATIENCE, Reply};

use super::teller::{multi, sessions, word};

/// A handshake of a client that may be content with reading.
fn connect(
    ensemble: &Ensemble,
    session: Option<&ConnectResponse>,
    read_only: bool,
) -> Result<(Connection, ConnectResponse), Error> {
    let mut connection = Connection::open(ensemble.addr(1)?)?;
    let response = connection.handshake(&ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 8000,
        session_id: session.map_or(SessionId::NONE, |it| it.session_id),
        password: session.map(|it| &it.password[..]),
        read_only: Some(read_only),
    })?;
    Ok((connection, response))
}

/// The error that a request is answered with.
fn ask(connection: &mut Connection, xid: i32, request: &Request<'_>) -> Result<i32, Error> {
    let mut body = RequestHeader { xid, op: request.opcode().code() }.to_bytes();
    request.write(&mut body);
    connection.send_frame(&body)?;
    match connection.read(PATIENCE)? {
        Incoming::Frame(frame) => Ok(Reply::parse(&frame)?.err),
        Incoming::Closed => Err(Error::Closed),
        Incoming::Silence => Err(Error::Silence(PATIENCE)),
    }
}

fn wait_until_it_is(ensemble: &Ensemble, mode: &str) -> Result<(), Error> {
    let started = Instant::now();
    while word(ensemble, 1, "isro").ok().as_deref() != Some(mode) {
        assert!(started.elapsed() < PATIENCE, "not {mode}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub(crate) fn tell(engine: Engine) -> Result<(), Error> {
    let lines = super::lines(true);
    let lines = lines.each_ref().map(String::as_str);
    let mut ensemble =
        Ensemble::with_properties(&[engine; 3], &lines, &[("readonlymode.enabled", "true")])?;
    let mut client = ensemble.connect(1, 10_000)?;
    client.create("/e", b"", CreateMode::Ephemeral)?;
    let global = client.session().clone();
    let local = ensemble.connect(1, 10_000)?.session().clone();
    for sid in [2, 3] {
        ensemble.member(sid)?.kill()?;
    }
    wait_until_it_is(&ensemble, "ro")?;
    let refused = connect(&ensemble, None, false).map(|(_, session)| session);
    assert!(matches!(refused, Err(Error::Closed)), "{engine}: {refused:?}");
    let refused = connect(&ensemble, Some(&global), true).map(|(_, session)| session);
    assert!(matches!(refused, Err(Error::Closed)), "{engine}: {refused:?}");

    let (mut connection, session) = connect(&ensemble, None, true)?;
    assert_eq!((session.read_only, session.session_id.0 >> 56), (Some(true), 1), "{engine}");
    let get =
        |path: &'static str| Request::GetData(ReadRequest { path: path.into(), watch: false });
    let parts = [("/f", CreateMode::Ephemeral)];
    let requests = [
        (get("/e"), 0),
        (multi(&parts), -119),
        (Request::Sync(SyncRequest { path: Some("/".into()) }), -119),
        (get("/f"), -101),
    ];
    for (xid, (request, want)) in (1..).zip(&requests) {
        assert_eq!(ask(&mut connection, xid, request)?, *want, "{engine}: {request:?}");
    }
    assert_eq!(sessions(&word(&ensemble, 1, "mntr")?), ["1", "1"], "{engine}");
    let dump = word(&ensemble, 1, "dump")?;
    assert!(dump.contains("Local Session Sets ("), "{engine}: {dump}");
    assert!(dump.contains("\nGlobal Sessions(1):\n"), "{engine}: {dump}");
    // It may come back, as long as there is no quorum.
    let (mut again, renewed) = connect(&ensemble, Some(&session), true)?;
    assert_eq!((renewed.session_id, renewed.read_only), (session.session_id, Some(true)));
    assert_eq!(connection.read(PATIENCE)?, Incoming::Closed, "{engine}: its old connection");
    assert_eq!(ask(&mut again, 9, &get("/e"))?, 0, "{engine}");
    let (mut ended, _) = connect(&ensemble, None, true)?;
    assert_eq!(ask(&mut ended, 1, &Request::CloseSession)?, 0, "{engine}");
    assert_eq!(ended.read(PATIENCE)?, Incoming::Closed, "{engine}");

    ensemble.restart(&[2, 3])?;
    wait_until_it_is(&ensemble, "rw")?;
    assert_eq!(again.read(PATIENCE)?, Incoming::Closed, "{engine}: it is over");
    // Neither is of the ensemble, and what is lives on.
    for gone in [&session, &local] {
        let result = ensemble.resume(1, gone, zk_proto::Zxid::ZERO).map(|_| ());
        assert!(matches!(result, Err(Error::Expired)), "{engine}: {result:?}");
    }
    ensemble.resume(1, &global, zk_proto::Zxid::ZERO)?.close()?;
    Ok(())
}
