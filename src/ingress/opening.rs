//! What a client says first, waited for before anything is built that deals with it.
//!
//! hyper takes 16 KiB for its buffers, and rustls as much, as soon as they have a connection, whether a word comes or not. Who
//! connects and says nothing, or a byte a second, is not worth that: until a request's head or a handshake's first record is
//! there, a connection costs its socket, its task and what it has said.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whoever says more than this before it has come to the point is left to whom it is meant for.
const SAID_BYTES_MAX: usize = 2 << 10;

/// What has been said of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Anything at all.
    Word,
    /// A request's head in HTTP/1.
    Head,
    /// A TLS record.
    Record,
}

impl Whole {
    /// Whether there is something to deal with: the whole, or what can be no part of one.
    fn is_due(self, said: &[u8]) -> bool {
        match self {
            Self::Word => !said.is_empty(),
            Self::Head => is_head_due(said),
            Self::Record => is_record_due(said),
        }
    }
}

/// Reads until there is something to deal with, or the client says no more.
pub(super) async fn listen<S: AsyncRead + Unpin>(stream: &mut S, said: &mut Vec<u8>, whole: Whole) -> io::Result<()> {
    poll_fn(|context| {
        while !whole.is_due(said) {
            // On the stack, so that who waits has no buffer.
            let mut space = [0; SAID_BYTES_MAX];
            let mut buffer = ReadBuf::new(&mut space[said.len()..]);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            said.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(()))
    })
    .await
}

fn is_head_due(said: &[u8]) -> bool {
    let line = memchr::memchr(b'\n', said).map(|end| &said[..=end]);
    let is_http = line.is_none_or(|line| [&b" HTTP/1.1\r\n"[..], b" HTTP/1.0\r\n"].iter().any(|version| line.ends_with(version)));
    let is_text = said.iter().all(|byte| !byte.is_ascii_control() || b"\r\n\t".contains(byte));
    said.len() >= SAID_BYTES_MAX || !is_http || !is_text || ends_head(said)
}

/// A bare LF ends a line, too, for some.
fn ends_head(said: &[u8]) -> bool {
    [&b"\r\n\r\n"[..], b"\n\n", b"\n\r\n"].iter().any(|end| memchr::memmem::find(said, end).is_some())
}

fn is_record_due(said: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    match *said {
        [] => false,
        [HANDSHAKE, _, _, high, low, ref payload @ ..] => {
            said.len() >= SAID_BYTES_MAX || payload.len() >= usize::from(u16::from_be_bytes([high, low]))
        }
        [kind, ..] => kind != HANDSHAKE,
    }
}

/// A stream of which something has been read already.
pub(super) struct Opened<S> {
    /// What has been read and not yet been taken.
    said: Vec<u8>,
    inner: S,
}

impl<S> Opened<S> {
    pub(super) const fn new(said: Vec<u8>, inner: S) -> Self {
        Self { said, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let taken = buffer.remaining().min(self.said.len());
        buffer.put_slice(&self.said[..taken]);
        if taken == self.said.len() {
            self.said = Vec::new();
        } else {
            self.said.drain(..taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn a_head_is_due_when_it_is_whole_or_can_be_none() {
        let post = b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let end = post.len() - 2;
        for length in 0..=post.len() {
            assert_eq!(is_head_due(&post[..length]), length >= end, "{length}");
        }
        for due in [
            &b"\x16\x03\x01"[..],
            b"PRI * HTTP/2.0\r\n",
            b"GET /\r\n",
            b"GET / HTTP/1.1\nHost: a\n",
            b"GET / HTTP/1.1\r\nA: b\r\n\n",
            b"G\0",
        ] {
            assert!(is_head_due(due), "{due:?}");
        }
        assert!(is_head_due(&[b'x'; SAID_BYTES_MAX]) && !is_head_due(&[b'x'; SAID_BYTES_MAX - 1]));
        assert!(!is_head_due(b"GET /\xc3\xa4 HTTP/1.1\r\nTab:\there\r\n"));
    }

    #[test]
    fn a_record_is_due_when_it_is_whole_or_is_no_handshake() {
        let hello = [&[22, 3, 1, 1, 2][..], &[7; 258]].concat();
        for length in 0..=hello.len() {
            assert_eq!(is_record_due(&hello[..length]), length == hello.len(), "{length}");
        }
        assert!(is_record_due(b"GET") && is_record_due(&[21]) && is_record_due(&[22, 3, 1, 0, 0]));
        assert!(is_record_due(&[&[22, 3, 1, 0x40, 0][..], &[7; SAID_BYTES_MAX - 5]].concat()));
    }

    #[tokio::test]
    async fn what_was_said_comes_first_and_nothing_is_lost() {
        let (mut client, mut server) = duplex(64);
        let sent = b"POST / HTTP/1.1\r\nA: b\r\n\r\nbody".repeat(20);
        let writing = sent.clone();
        let task = tokio::spawn(async move {
            for piece in writing.chunks(7) {
                client.write_all(piece).await.unwrap();
            }
            client.shutdown().await.unwrap();
        });
        let mut said = Vec::new();
        listen(&mut server, &mut said, Whole::Word).await.unwrap();
        assert!(!said.is_empty() && sent.starts_with(&said));
        listen(&mut server, &mut said, Whole::Head).await.unwrap();
        assert!(is_head_due(&said) && sent.starts_with(&said));
        let mut opened = Opened::new(said, server);
        let mut small = [0; 3];
        opened.read_exact(&mut small).await.unwrap();
        let mut rest = Vec::new();
        opened.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&small[..], &rest].concat(), sent);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn who_closes_early_is_heard_so_far() {
        let (mut client, mut server) = duplex(64);
        client.write_all(b"GET /").await.unwrap();
        drop(client);
        let mut said = Vec::new();
        listen(&mut server, &mut said, Whole::Head).await.unwrap();
        assert_eq!(said, b"GET /");
    }
}
