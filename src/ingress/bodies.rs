//! The bodies of one request and of its answer, as far as its turn has to know of them.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use super::standing::{Stage, Turn};

/// A request's body. At its end, or when nobody wants the rest of it, the turn is to answer.
#[derive(Debug)]
pub(super) struct Arriving {
    inner: Incoming,
    turn: Arc<Turn>,
}

/// An answer's body. The turn ends with it.
#[derive(Debug)]
pub(super) struct Departing {
    inner: Full<Bytes>,
    _turn: Arc<Turn>,
}

impl Arriving {
    pub(super) fn new(inner: Incoming, turn: Arc<Turn>) -> Self {
        if inner.is_end_stream() {
            turn.advance(Stage::Answering);
        }
        Self { inner, turn }
    }
}

impl Departing {
    /// The turn's answer is made.
    pub(super) fn new(inner: Full<Bytes>, turn: Arc<Turn>) -> Self {
        turn.advance(Stage::Sending);
        Self { inner, _turn: turn }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            // No SDK sends trailers. hyper takes a bare LF for a part of them where others take it for their end, so that we
            // and a proxy in front may not agree on where the next request begins.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.turn.close_afterwards(),
            Poll::Ready(Some(Ok(frame))) => self.turn.took(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(None | Some(Err(_))) => self.turn.advance(Stage::Answering),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.turn.advance(Stage::Answering);
    }
}

impl Body for Departing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
