//! An answer, what is held until its last byte is handed over (a user's permit, a connection's turn), and the pace at which
//! a connection takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Body, Response, window};

/// Bytes that HTTP/2 is given at a time. What it was given it keeps until the peer grants a window, beyond every clock and
/// permit: whatever is larger is handed over piece by piece, each when the one before has gone.
const SLICE: usize = 16 * 1024;

type Polled = Poll<Option<Result<Frame<Bytes>, Infallible>>>;

/// A body that keeps `T` until it is dropped.
pub(super) struct Held<T> {
    body: Body,
    _held: T,
}

/// The same answer, holding `held`.
pub(super) fn hold<T>(response: Response, held: T) -> http::Response<Held<T>> {
    response.map(|body| Held { body, _held: held })
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a connection gets: in pieces where that matters, and noted for the clock of `window`.
pub(super) struct Paced<T> {
    body: Held<T>,
    slice: usize,
    /// Of the last frame, what was not handed over yet.
    rest: Bytes,
}

/// The same answer for a connection of this version, holding `held`.
pub(super) fn hold_for<T>(version: http::Version, response: Response, held: T) -> http::Response<Paced<T>> {
    let slice = if version == http::Version::HTTP_2 { SLICE } else { usize::MAX };
    hold(response, held).map(|body| Paced { body, slice, rest: Bytes::new() })
}

impl<T: Unpin> http_body::Body for Paced<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| data.len() > self.slice) => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                polled => {
                    window::polled(polled.is_ready());
                    return polled;
                }
            }
        }
        window::polled(true);
        let bytes = self.rest.len().min(self.slice);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(body.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::http::answer;

    #[tokio::test]
    async fn http_2_gets_a_large_answer_in_pieces_and_all_of_it() {
        let text: String = ('a'..='z').cycle().take(3 * SLICE + 5).collect();
        for (version, wanted) in
            [(http::Version::HTTP_2, vec![SLICE, SLICE, SLICE, 5]), (http::Version::HTTP_11, vec![text.len()])]
        {
            let mut body = hold_for(version, answer::json(StatusCode::OK, text.clone()), ()).into_body();
            let (mut pieces, mut whole) = (Vec::new(), Vec::new());
            loop {
                assert_eq!(body.size_hint().exact(), Some((text.len() - whole.len()) as u64));
                let Some(frame) = body.frame().await else { break };
                let data = frame.expect("no error").into_data().expect("data");
                pieces.push(data.len());
                whole.extend_from_slice(&data);
                assert_eq!(body.is_end_stream(), whole.len() == text.len());
            }
            assert_eq!((pieces, String::from_utf8(whole).expect("text")), (wanted, text.clone()));
        }
    }
}
