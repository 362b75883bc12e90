//! Both ends over a real socket.

use super::*;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zk_sasl::{Jaas, Secret};

const PATIENCE: Duration = Duration::from_secs(10);

fn sasl(password: Option<&str>, admits_strangers: bool) -> QuorumSasl {
    let jaas = Jaas::parse("jaas", "S { x required user_bob=secret; };").unwrap();
    let account = |password: &str| Account { user: "bob".into(), password: Secret::new(password) };
    QuorumSasl::new(QuorumSaslOptions {
        account: password.map(account),
        users: Arc::new(Users::read(&jaas, "S").unwrap()),
        admits_strangers,
        nonce: || Some([7; 30]),
    })
}

async fn wires() -> (Wire, Wire) {
    let (dialled, accepted) = streams().await;
    (Wire::plain(dialled).unwrap(), Wire::plain(accepted).unwrap())
}

async fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

/// How it ends on both sides, `""` where all is well.
async fn meet(dials: &QuorumSasl, accepts: &QuorumSasl) -> (String, String) {
    let (mut dialled, mut accepted) = wires().await;
    let dials = async {
        let ended = within(PATIENCE, dials.authenticate(&mut dialled)).await;
        // What comes next stays for whoever reads next.
        if ended.is_ok() {
            dialled.write(b"\0next").await.unwrap();
        }
        ended
    };
    let accepts = async {
        let ended = accepts.admit(&mut accepted, PATIENCE).await;
        while ended.is_ok() && accepted.come().len() < 5 {
            accepted.read().await.unwrap();
        }
        assert!(ended.is_err() || accepted.come() == b"\0next");
        ended
    };
    let (dialled, accepted) = tokio::join!(dials, accepts);
    let text = |ended: io::Result<()>| ended.err().map(|e| e.to_string()).unwrap_or_default();
    (text(dialled), text(accepted))
}

#[tokio::test]
async fn who_knows_the_password_is_let_in() {
    for admits_strangers in [true, false] {
        let ended = meet(&sasl(Some("secret"), true), &sasl(None, admits_strangers)).await;
        assert_eq!(ended, Default::default());
    }
}

#[tokio::test]
async fn who_does_not_is_refused_and_told_so_in_any_case() {
    for admits_strangers in [true, false] {
        let (dialled, accepted) =
            meet(&sasl(Some("wrong"), true), &sasl(None, admits_strangers)).await;
        assert!(dialled.contains("does not know the user bob with this password"), "{dialled}");
        let wanted = "SASL authentication failed: no user has this name and password";
        assert_eq!(accepted, wanted);
        assert!(!dialled.contains("wrong"), "{dialled}");
    }
}

#[tokio::test]
async fn who_says_nothing_of_itself_is_let_in_where_nobody_has_to() {
    let ended = meet(&sasl(None, true), &sasl(None, true)).await;
    assert_eq!(ended, Default::default());
    let (_, accepted) = meet(&sasl(None, true), &sasl(None, false)).await;
    assert!(accepted.starts_with("Learner not trying to authenticate"), "{accepted}");
}

#[tokio::test]
async fn silence_and_hanging_up_count_as_saying_nothing() {
    for (admits_strangers, is_silent) in
        [(true, true), (true, false), (false, true), (false, false)]
    {
        let (dialled, mut accepted) = wires().await;
        let _silent = is_silent.then_some(dialled);
        let patience = Duration::from_millis(20);
        let ended = sasl(None, admits_strangers).admit(&mut accepted, patience).await;
        assert_eq!(ended.is_ok(), admits_strangers, "{ended:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_authenticate_is_not_spoken_to() {
    for answer in [&b""[..], b"\0\0\0\x28some vote of the other side, for example."] {
        let (dialled, mut accepted) = streams().await;
        accepted.write_all(answer).await.unwrap();
        accepted.shutdown().await.unwrap();
        let mut wire = Wire::plain(dialled).unwrap();
        let error = sasl(Some("secret"), true).authenticate(&mut wire).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("is quorum.auth.enableSasl=true there?"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_the_password_is_not_believed() {
    let (dialled, mut accepted) = streams().await;
    let pretends = async move {
        let mut bytes = Vec::new();
        let challenge = b"realm=\"zk-quorum-sasl-md5\",nonce=\"n\",algorithm=md5-sess";
        for (status, token) in
            [(AuthStatus::InProgress, &challenge[..]), (AuthStatus::Success, b"rspauth=0")]
        {
            accepted.read_buf(&mut bytes).await.unwrap();
            let mut answer = Vec::new();
            AuthPacket { status, token: Some(token) }.put(&mut answer);
            accepted.write_all(&answer).await.unwrap();
        }
    };
    let mut wire = Wire::plain(dialled).unwrap();
    let me = sasl(Some("secret"), true);
    let (ended, ()) = tokio::join!(within(PATIENCE, me.authenticate(&mut wire)), pretends);
    let error = ended.unwrap_err().to_string();
    assert!(error.ends_with("it does not prove that it knows the password"), "{error}");
}

#[tokio::test]
async fn garbage_behind_the_beginning_of_a_proof_ends_the_connection() {
    let (mut dialled, mut accepted) = wires().await;
    let mut bytes = Vec::new();
    AuthPacket { status: AuthStatus::InProgress, token: None }.put(&mut bytes);
    bytes[12..].copy_from_slice(&i32::MAX.to_be_bytes());
    dialled.write(&bytes).await.unwrap();
    let error = sasl(None, true).admit(&mut accepted, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}
