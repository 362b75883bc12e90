//! Links over real sockets.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{self, Read};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zk_quorum::Wire;
use zk_quorum::link::{Hear, Heard, Link, StreamSource, stream};

const PATIENCE: Duration = Duration::from_secs(10);
const NO_LIMIT: usize = usize::MAX;

/// Packets of this test: a byte with a length, and so many more. Of length 255: a stream begins.
struct Packets {
    heard: mpsc::UnboundedSender<String>,
    streams: mpsc::UnboundedSender<StreamSource>,
}

impl Hear for Packets {
    fn heard(&mut self, mut bytes: &[u8]) -> io::Result<Heard> {
        let all = bytes.len();
        while let Some((&length, rest)) = bytes.split_first() {
            if length == 255 {
                let (sink, source) = stream();
                self.streams.send(source).unwrap();
                return Ok(Heard::Stream(all - rest.len(), sink));
            }
            let Some((packet, rest)) = rest.split_at_checked(length.into()) else { break };
            if packet == b"bad" {
                return Err(io::Error::other("a bad packet"));
            }
            self.heard.send(String::from_utf8(packet.to_vec()).unwrap()).unwrap();
            bytes = rest;
        }
        Ok(Heard::Packets(all - bytes.len()))
    }

    fn ended(&mut self, why: io::Error) {
        self.heard.send(format!("ended: {why}")).unwrap();
    }
}

struct Test {
    link: Option<Link>,
    heard: mpsc::UnboundedReceiver<String>,
    streams: mpsc::UnboundedReceiver<StreamSource>,
    other: TcpStream,
}

async fn start(max_unsent_bytes: usize) -> Test {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (to, heard) = mpsc::unbounded_channel();
    let (streams_to, streams) = mpsc::unbounded_channel();
    let hear = Packets { heard: to, streams: streams_to };
    let link = Some(Link::start(Wire::plain(stream).unwrap(), max_unsent_bytes, hear));
    Test { link, heard, streams, other }
}

fn packet(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

impl Test {
    async fn next(&mut self) -> Option<String> {
        timeout(PATIENCE, self.heard.recv()).await.unwrap()
    }

    fn send(&self, bytes: &[u8]) {
        self.link.as_ref().unwrap().send(|out| out.extend_from_slice(bytes));
    }

    async fn arrives(&mut self, wanted: &[u8]) {
        let mut bytes = vec![0; wanted.len()];
        timeout(PATIENCE, self.other.read_exact(&mut bytes)).await.unwrap().unwrap();
        assert!(bytes == wanted, "{} bytes are others", wanted.len());
    }
}

#[tokio::test]
async fn packets_come_in_pieces_and_many_at_a_time() {
    let mut t = start(NO_LIMIT).await;
    let all = ["a", "", "bcd", "e"].map(packet).concat();
    for piece in all.chunks(2) {
        t.other.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    t.other.write_all(&all).await.unwrap();
    for wanted in ["a", "", "bcd", "e", "a", "", "bcd", "e"] {
        assert_eq!(t.next().await.as_deref(), Some(wanted));
    }
}

#[tokio::test]
async fn the_end_is_told_once_and_says_why() {
    let mut t = start(NO_LIMIT).await;
    t.other.shutdown().await.unwrap();
    assert_eq!(t.next().await.as_deref(), Some("ended: unexpected end of file"));
    assert_eq!(t.next().await, None);
    let mut t = start(NO_LIMIT).await;
    t.other.write_all(&["a", "bad", "b"].map(packet).concat()).await.unwrap();
    assert_eq!(t.next().await.as_deref(), Some("a"));
    assert_eq!(t.next().await.as_deref(), Some("ended: a bad packet"));
    // Of what this side ends nothing is told, and the other side hears it.
    let mut t = start(NO_LIMIT).await;
    t.link = None;
    assert_eq!(t.next().await, None);
    assert!(matches!(t.other.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_side_that_does_not_read_is_given_up() {
    let mut t = start(1 << 20).await;
    let much = vec![7; 1 << 16];
    // Somewhere between here and there is room for a few MiB.
    let ended = loop {
        t.send(&much);
        if let Ok(heard) = t.heard.try_recv() {
            break heard;
        }
        tokio::task::yield_now().await;
    };
    assert!(ended.contains("bytes wait for the other side"), "{ended}");
    assert_eq!(t.link.as_ref().unwrap().unsent_bytes(), 0, "nothing is kept for it");
    t.send(&much);
    assert_eq!(t.link.as_ref().unwrap().unsent_bytes(), 0);
}

#[tokio::test]
async fn what_is_sent_keeps_its_order_around_streams() {
    let mut t = start(NO_LIMIT).await;
    let (pieces, source) = mpsc::channel(1);
    let (empty, ends_at_once) = mpsc::channel(1);
    drop(empty);
    t.send(b"before ");
    t.link.as_ref().unwrap().send_stream(source);
    t.send(b" between ");
    t.link.as_ref().unwrap().send_stream(ends_at_once);
    t.send(b"behind");
    t.arrives(b"before ").await;
    for piece in [b"a ".to_vec(), b"long ".to_vec(), b"stream".to_vec()] {
        pieces.send(piece.clone()).await.unwrap();
        t.arrives(&piece).await;
    }
    drop(pieces);
    t.arrives(b" between behind").await;
    assert_eq!(t.link.as_ref().unwrap().unsent_bytes(), 0);
    // With nothing else under way too: room for packets waits there.
    let (pieces, source) = mpsc::channel(1);
    t.link.as_ref().unwrap().send_stream(source);
    pieces.send(b"again".to_vec()).await.unwrap();
    t.arrives(b"again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_where_its_reader_says() {
    for length in [0, 5, 70_000, 3_000_000] {
        let mut t = start(NO_LIMIT).await;
        let image: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut all = packet("first");
        all.push(255);
        all.extend_from_slice(&image);
        all.extend((0..500).flat_map(|i| packet(&i.to_string())));
        let mut other = t.other;
        let sends = tokio::spawn(async move {
            other.write_all(&all).await.unwrap();
            other.write_all(&packet("last")).await.unwrap();
            other
        });
        let mut source = timeout(PATIENCE, t.streams.recv()).await.unwrap().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            source.read_exact(&mut bytes).unwrap();
            source.finish(&[]);
            bytes
        });
        assert!(read.await.unwrap() == image);
        let mut wanted = vec!["first".to_owned()];
        wanted.extend((0..500).map(|i| i.to_string()));
        wanted.push("last".into());
        for wanted in wanted {
            assert_eq!(timeout(PATIENCE, t.heard.recv()).await.unwrap(), Some(wanted));
        }
        drop(sends.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_ends_both() {
    let mut t = start(NO_LIMIT).await;
    t.other.write_all(&[255, 1, 2]).await.unwrap();
    t.other.shutdown().await.unwrap();
    let mut source = timeout(PATIENCE, t.streams.recv()).await.unwrap().unwrap();
    let read = tokio::task::spawn_blocking(move || source.read_exact(&mut [0; 3]));
    assert_eq!(read.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(t.next().await.unwrap().contains("given up"));
    // Its reader gives up.
    let mut t = start(NO_LIMIT).await;
    t.other.write_all(&[255, 1, 2]).await.unwrap();
    drop(timeout(PATIENCE, t.streams.recv()).await.unwrap());
    assert!(t.next().await.unwrap().contains("given up"));
}
