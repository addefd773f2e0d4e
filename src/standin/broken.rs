//! Answers on their way out: whole ones, and those that break off.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{Full, combinators::UnsyncBoxBody};

use super::{exchange::Answer, wire::Fate};

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// All of it.
pub(super) fn whole(answer: Answer) -> Response<AnswerBody> {
    let body = UnsyncBoxBody::new(Full::new(answer.body));
    respond(answer.status, answer.headers, body)
}

/// Where an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// After so many bytes of the body, by closing the connection.
    At { bytes: usize },
    /// Never: ten bytes more are promised, and waited for.
    Stretched,
}

impl Cut {
    pub const fn at(bytes: usize) -> Self {
        Self::At { bytes }
    }
}

/// All of it up to where it breaks off.
pub(super) fn cut(answer: Answer, cut: Cut, fate: Fate) -> Response<AnswerBody> {
    let (first, promised) = match cut {
        Cut::At { bytes } => (answer.body.slice(..bytes), answer.body.len().max(1)),
        Cut::Stretched => (answer.body.clone(), answer.body.len() + 10),
    };
    let ending: Pin<Box<dyn Future<Output = ()> + Send>> = match cut {
        Cut::At { .. } => Box::pin(async move {
            // Hyper writes out what it has while the body makes it wait; then the wire is cut.
            tokio::time::sleep(FLUSH_WAIT).await;
            fate.close();
        }),
        Cut::Stretched => Box::pin(async move { fate.ended().await }),
    };
    let mut headers = answer.headers;
    headers.insert(header::CONTENT_LENGTH, promised.into());
    respond(answer.status, headers, UnsyncBoxBody::new(Broken { first: Some(first).filter(|first| !first.is_empty()), ending }))
}

fn respond(status: StatusCode, headers: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A body that gives its first bytes and then never ends; the connection does.
struct Broken {
    first: Option<Bytes>,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        // Over once: a finished future is not polled again, as the wire is gone by then.
        match self.ending.as_mut().poll(context) {
            Poll::Ready(()) => {
                self.ending = Box::pin(std::future::pending());
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Time for the first part of a cut answer to get out.
const FLUSH_WAIT: Duration = Duration::from_millis(50);
