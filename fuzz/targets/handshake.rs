//! A connection's first frame, in every state of admission; nobody gets a session by chance.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_core::{Admission, Core, Effect, Effects};
use zk_proto::SessionId;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_tree::{ConnId, Tree, TreeOptions};
use zkfleet_fuzz::{Tape, member, reads_back};

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let admission = match tape.byte() % 3 {
        0 => Admission::Serving,
        1 => Admission::ReadOnly,
        _ => Admission::Closed,
    };
    let frame = tape.0;
    reads_back!(frame, ConnectRequest, ConnectResponse);

    let tree = Tree::new(TreeOptions::default());
    let mut core = Core::new(member::options(), &tree, [(SessionId(7), 6000)], member::now(0));
    core.set_admission(admission);
    core.connected(ConnId(1), None, Vec::new());
    let mut fx = Effects::new();
    core.handshake(&tree, member::now(0), ConnId(1), frame, &mut fx);
    assert!(fx.bytes.len() < 200, "{} bytes for a handshake", fx.bytes.len());
    if admission != Admission::Serving {
        let sends = |effect: &Effect| matches!(effect, Effect::Append { .. });
        assert!(!fx.list.iter().any(sends), "a transaction of a member that does not serve");
    }
    if admission == Admission::Closed {
        assert_eq!(fx.list, [Effect::Close { conn: ConnId(1) }]);
    }
});
