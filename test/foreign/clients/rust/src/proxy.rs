//! Passes TCP connections on to servers, until they are cut.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

pub struct Proxy {
    /// Where clients are to connect to.
    pub hosts: String,
    line: Arc<Line>,
    _listeners: JoinSet<()>,
}

#[derive(Default)]
struct Line {
    refuses: AtomicBool,
    pairs: Mutex<Vec<AbortHandle>>,
}

impl Proxy {
    pub async fn start(servers: &str) -> Proxy {
        let (line, mut listeners, mut hosts) = (Arc::<Line>::default(), JoinSet::new(), Vec::new());
        for server in servers.split(',') {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            hosts.push(listener.local_addr().expect("bound").to_string());
            listeners.spawn(accept(listener, server.to_owned(), line.clone()));
        }
        Proxy { hosts: hosts.join(","), line, _listeners: listeners }
    }

    /// Ends all connections, and refuses new ones for a while.
    pub async fn cut(&self, pause: Duration) {
        self.line.refuses.store(!pause.is_zero(), Ordering::Relaxed);
        let pairs = std::mem::take(&mut *self.line.pairs.lock().expect("nobody panics with it"));
        pairs.iter().for_each(AbortHandle::abort);
        tokio::time::sleep(pause).await;
        self.line.refuses.store(false, Ordering::Relaxed);
    }

    /// Cuts connections again and again, for about so long.
    pub async fn cut_often(&self, duration: Duration) {
        let end = tokio::time::Instant::now() + duration;
        for pause_ms in [0, 0, 200].into_iter().cycle() {
            tokio::time::sleep(Duration::from_millis(350)).await;
            if tokio::time::Instant::now() > end {
                return;
            }
            self.cut(Duration::from_millis(pause_ms)).await;
        }
    }
}

async fn accept(listener: TcpListener, server: String, line: Arc<Line>) {
    // Its tasks end with it, and so all connections with the proxy.
    let mut pairs = JoinSet::new();
    while let Ok((mut inner, _)) = listener.accept().await {
        if line.refuses.load(Ordering::Relaxed) {
            continue;
        }
        let server = server.clone();
        let pair = pairs.spawn(async move {
            let Ok(mut outer) = TcpStream::connect(&server).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
        });
        line.pairs.lock().expect("nobody panics with it").push(pair);
    }
}
