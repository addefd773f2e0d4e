//! Reading a request's body within its limits.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::Limits;

/// A body that has been read, and its share of the memory that all bodies may take; dropping it gives the share back.
#[derive(Debug)]
pub(super) struct ReadBody {
    pub bytes: Bytes,
    _share: Vec<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is larger than `body_bytes_max`.
    #[error("the body is too large")]
    TooLarge,
    /// The client went away within it, or its framing is broken.
    #[error("the body ended early")]
    CutOff,
    /// It came slower than `body_rate_min`, or took longer than `body_timeout`.
    #[error("the body came too slowly")]
    TooSlow,
    /// All bodies in memory together have reached `pending_bytes_max`.
    #[error("too many bodies at one time")]
    Crowded,
}

/// How long a body may come, and an answer be taken, slower than `body_rate_min`.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The least by which the room for a body in many frames grows.
const GROWTH_BYTES_MIN: usize = 1 << 10;

/// Reads a body to its end. A body that is one frame, as nearly all are, is not copied.
pub(super) async fn read_body<B>(mut body: B, limits: &Limits, memory: &Arc<Semaphore>) -> Result<ReadBody, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let size_max = usize::try_from(limits.body_bytes_max.0).unwrap_or(usize::MAX);
    let announced = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if announced.is_some_and(|size| size > size_max) {
        discard(body, limits).await;
        return Err(BodyError::TooLarge);
    }
    let mut share = vec![take(memory, announced.unwrap_or(0))?];
    let started = Instant::now();
    let (mut only, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let received = only.len() + rest.len();
        let frame = match timeout_at(deadline(started, received, limits), body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(Some(Err(_))) => return Err(BodyError::CutOff),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if received + data.len() > size_max {
            drop((only, rest, share));
            discard(body, limits).await;
            return Err(BodyError::TooLarge);
        }
        if announced.is_none() {
            share.push(take(memory, data.len())?);
        }
        if received == 0 && body.is_end_stream() {
            only = data;
            continue;
        }
        // A frame keeps the whole buffer that it was read into, and the next may take its time: it is copied.
        if rest.capacity() < rest.len() + data.len() {
            // It grows with what is there, not with what was announced: that may never come.
            let missing = announced.unwrap_or(usize::MAX).saturating_sub(rest.len());
            rest.reserve(rest.len().max(GROWTH_BYTES_MIN).min(missing).max(data.len()));
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() { only } else { rest.freeze() };
    Ok(ReadBody { bytes, _share: share })
}

/// The most that is read of a body only to be thrown away.
const DISCARDED_BYTES_MAX: usize = 32 << 20;

/// Reads what is left of a refused body, keeping nothing: a client that is still sending when the connection closes would see
/// a reset instead of the answer. One that sends far too much, or takes its time, sees the reset.
async fn discard<B: Body<Data = Bytes> + Unpin>(mut body: B, limits: &Limits) {
    let started = Instant::now();
    let mut discarded = 0;
    while discarded < DISCARDED_BYTES_MAX
        && let Ok(Some(Ok(frame))) = timeout_at(deadline(started, discarded, limits), body.frame()).await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// When a body of which so much has come must have gone on: after the grace it earns time by the bytes it brings.
fn deadline(started: Instant, received: usize, limits: &Limits) -> Instant {
    let earned_s = u64::try_from(received).unwrap_or(u64::MAX) / limits.body_rate_min.0.max(1);
    started + (GRACE + Duration::from_secs(earned_s)).min(limits.body_timeout)
}

/// Takes a share of the memory that bodies may take together.
pub(super) fn take(memory: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    Arc::clone(memory).try_acquire_many_owned(permits).map_err(|_| BodyError::Crowded)
}

/// Bytes that keep something alive, a share of memory above all, until the last slice of them is gone.
pub(super) fn held(bytes: impl AsRef<[u8]> + Send + 'static, kept: impl Send + 'static) -> Bytes {
    Bytes::from_owner(Held { bytes, _kept: kept })
}

struct Held<B, K> {
    bytes: B,
    _kept: K,
}

impl<B: AsRef<[u8]>, K> AsRef<[u8]> for Held<B, K> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::Frame;
    use http_body_util::Full;

    use super::*;
    use crate::model::ByteSize;

    /// A body that comes in chunks of a byte, one each `every`, for ever.
    struct Trickle {
        every: tokio::time::Interval,
    }

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.every.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    fn limits() -> Limits {
        Limits { body_bytes_max: ByteSize(1_000), body_rate_min: ByteSize(10), ..Limits::default() }
    }

    #[tokio::test]
    async fn a_whole_body_gives_its_memory_back_when_dropped() {
        let memory = Arc::new(Semaphore::new(100));
        let body = read_body(Full::new(Bytes::from_static(b"hello")), &limits(), &memory).await.unwrap();
        assert_eq!((&body.bytes[..], memory.available_permits()), (&b"hello"[..], 95));
        drop(body);
        assert_eq!(memory.available_permits(), 100);
    }

    #[tokio::test]
    async fn too_large_and_too_many_are_refused_before_they_are_read() {
        let memory = Arc::new(Semaphore::new(100));
        let large = read_body(Full::new(Bytes::from(vec![0; 1_001])), &limits(), &memory).await;
        assert_eq!(large.unwrap_err(), BodyError::TooLarge);
        let crowded = read_body(Full::new(Bytes::from(vec![0; 101])), &limits(), &memory).await;
        assert_eq!(crowded.unwrap_err(), BodyError::Crowded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_and_a_steady_stream_is_not() {
        let memory = Arc::new(Semaphore::new(10_000));
        let started = Instant::now();
        let slow = Trickle { every: tokio::time::interval(Duration::from_secs(1)) };
        assert_eq!(read_body(slow, &limits(), &memory).await.unwrap_err(), BodyError::TooSlow);
        assert!(started.elapsed() < Duration::from_secs(15));
        // Twenty bytes a second is above the least rate: it goes on until the size limit stops it.
        let steady = Trickle { every: tokio::time::interval(Duration::from_millis(50)) };
        assert_eq!(read_body(steady, &limits(), &memory).await.unwrap_err(), BodyError::TooLarge);
    }
}
