//! Input that is no text: the line is refused, and nothing else ends.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use zk_testkit::{Engine, PATIENCE, Server};

use super::{pipe_bytes, serve, shell, text};

#[test]
fn a_line_of_a_pipe_that_is_no_text_fails_alone() {
    let server = serve(Engine::Ours).unwrap();
    for (options, want) in [
        (&[][..], "line 2 is not UTF-8, and was not carried out\n"),
        (&["--json"], r#"{"code":null,"error":"line 2 is not UTF-8,"#),
    ] {
        let lines = b"stat /\r\ncreate /b\xfcro\nls /zookeeper\n";
        let output = pipe_bytes(&server.addr().to_string(), options, lines);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(err.contains(want), "{err}");
        assert!(out.contains("quota"), "{out}{err}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// A shell on a terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new(server: &Server) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let own = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = shell(server, &[]);
        command.env("TERM", "xterm").stdin(own.try_clone().unwrap());
        command.stdout(own.try_clone().unwrap()).stderr(own);
        let child = command.spawn().unwrap();
        let (keyboard, screen) = (File::from(master), Arc::new(Mutex::new(Vec::new())));
        let (mut reader, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        // Until nobody has the other end open.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Terminal { child, keyboard, screen }
    }

    fn types(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn waits_for(&self, want: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown().contains(want) {
            assert!(Instant::now() < deadline, "no {want:?} in {}", self.shown());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Gone already, if the test passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_byte_of_a_person_that_is_no_text_refuses_the_line() {
    let server = serve(Engine::Ours).unwrap();
    let mut terminal = Terminal::new(&server);
    terminal.waits_for("state:SyncConnected");
    terminal.types(b"create -e /mine\r");
    terminal.waits_for("Created /mine");
    // What stands behind the byte must not be taken for a command.
    terminal.types(b"create /b\xfcdeleteall /mine\r");
    terminal.waits_for("has a byte that is not UTF-8, and was not carried out");
    terminal.types(b"get -s /mine\r");
    terminal.waits_for("dataLength");
    terminal.types(b"quit\r");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
}
