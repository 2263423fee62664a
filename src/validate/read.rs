//! Reading a body within its bounds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::limit::BufferPermit;
use crate::rejection::{Code, Rejection};

pin_project! {
    /// Reads a body within its limit and `timeout`.
    ///
    /// A body of one frame is not copied. Cancel-safe: dropping it drops the body.
    pub(crate) struct ReadBody<B> {
        #[pin]
        body: B,
        limit: SizeLimit,
        timeout: Duration,
        first: Option<Bytes>,
        rest: BytesMut,
        permit: Option<BufferPermit>,
        // Made when the body first keeps us waiting: most come with the head.
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

impl<B: Body<Data = Bytes>> ReadBody<B> {
    pub(crate) fn new(body: B, limit: SizeLimit, timeout: Duration) -> Self {
        let rest = BytesMut::new();
        Self { body, limit, timeout, first: None, rest, permit: None, sleep: None }
    }

    /// Has `permit` grow with what is read. What is only announced takes nothing: who announces much
    /// and sends nothing would keep everybody else out.
    pub(crate) fn with_permit(self, permit: Option<BufferPermit>) -> Self {
        Self { permit, ..self }
    }

    /// Gives the permit for what was read.
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> Option<BufferPermit> {
        self.project().permit.take()
    }
}

impl<B: Body<Data = Bytes>> Future for ReadBody<B> {
    type Output = Result<Bytes, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.first.is_none() && this.body.size_hint().lower() > this.limit.bytes() as u64 {
            return Poll::Ready(Err(this.limit.too_large()));
        }
        loop {
            let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
                let timeout = *this.timeout;
                let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep(timeout)));
                ready!(sleep.as_mut().poll(cx));
                return Poll::Ready(Err(Rejection::new(Code::RequestTimeout)));
            };
            match frame {
                None => {
                    let first = this.first.take().unwrap_or_default();
                    let body = if this.rest.is_empty() {
                        first
                    } else {
                        std::mem::take(this.rest).freeze()
                    };
                    return Poll::Ready(Ok(body));
                }
                Some(Err(_)) => {
                    return Poll::Ready(Err(Rejection::new(Code::InvalidJson)
                        .message("The body ended before its end.")
                        .because("the client's body broke off")));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let have = this.first.as_ref().map_or(0, Bytes::len).max(this.rest.len());
                    if have + data.len() > this.limit.bytes() {
                        return Poll::Ready(Err(this.limit.too_large()));
                    }
                    if let Some(permit) = this.permit.as_mut() {
                        permit.grow_to(have + data.len())?;
                    }
                    if this.first.is_none() {
                        *this.first = Some(data);
                    } else {
                        if this.rest.is_empty()
                            && let Some(first) = this.first.as_ref()
                        {
                            this.rest.put_slice(first);
                        }
                        this.rest.put_slice(&data);
                    }
                }
            }
        }
    }
}

/// The most bytes of what is sent, by the setting that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeLimit {
    /// `limits.max_body_bytes`, and what is allowed beside.
    Body(usize),
    /// `limits.max_audio_bytes`
    Audio(usize),
}

impl SizeLimit {
    pub(crate) fn bytes(self) -> usize {
        let (Self::Body(bytes) | Self::Audio(bytes)) = self;
        bytes
    }

    /// Gives the same, or less.
    pub(crate) fn at_most(self, max: usize) -> Self {
        match self {
            Self::Body(bytes) => Self::Body(bytes.min(max)),
            Self::Audio(bytes) => Self::Audio(bytes.min(max)),
        }
    }

    pub(crate) fn too_large(self) -> Rejection {
        let (what, detail) = match self {
            Self::Body(_) => ("body", "max_body_bytes"),
            Self::Audio(_) => ("audio", "max_audio_bytes"),
        };
        let bytes = self.bytes();
        Rejection::new(Code::PayloadTooLarge)
            .message(format!("The {what} is larger than {bytes} bytes."))
            .detail(detail, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::{Full, StreamBody};

    use super::*;

    const LONG: Duration = Duration::from_secs(15);

    /// Frames, and then nothing for ever.
    struct Stalling(VecDeque<Bytes>);

    impl Body for Stalling {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            match self.0.pop_front() {
                Some(data) => Poll::Ready(Some(Ok(http_body::Frame::data(data)))),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn one_frame_is_not_copied() {
        let data = Bytes::from_static(b"{}");
        let read = ReadBody::new(Full::new(data.clone()), SizeLimit::Body(2), LONG).await.unwrap();
        assert_eq!(read.as_ptr(), data.as_ptr());
    }

    #[tokio::test]
    async fn size_is_bounded_with_and_without_a_length() {
        let error = ReadBody::new(Full::new(Bytes::from_static(b"123")), SizeLimit::Body(2), LONG)
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::PayloadTooLarge);
        let frames = |n: usize| {
            let frames = (0..n).map(|_| {
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b"ab")))
            });
            StreamBody::new(tokio_stream_iter(frames))
        };
        let read = ReadBody::new(frames(3), SizeLimit::Body(6), LONG).await.unwrap();
        assert_eq!(read, "ababab");
        let error = ReadBody::new(frames(4), SizeLimit::Body(6), LONG).await.unwrap_err();
        assert_eq!(error.code(), Code::PayloadTooLarge);
    }

    fn tokio_stream_iter<I: Iterator + Unpin>(
        iter: I,
    ) -> impl futures_core::Stream<Item = I::Item> {
        struct Iter<I>(I);
        impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
            type Item = I::Item;
            fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
                Poll::Ready(self.0.next())
            }
        }
        Iter(iter)
    }

    #[tokio::test]
    async fn what_is_read_is_counted_until_the_permit_is_dropped() {
        let ada = crate::principal::UserId::parse("ada").unwrap();
        let kept = crate::limit::BufferedBytes::new(20_000, 20_000);
        let body = |bytes: usize| Full::new(Bytes::from(vec![b'a'; bytes]));
        let mut read = Box::pin(
            ReadBody::new(body(15_000), SizeLimit::Body(99_999), LONG)
                .with_permit(Some(kept.permit(&ada))),
        );
        read.as_mut().await.unwrap();
        assert_eq!(kept.kept(), 15_000);
        let other = ReadBody::new(body(5001), SizeLimit::Body(99_999), LONG)
            .with_permit(Some(kept.permit(&ada)));
        assert_eq!(other.await.unwrap_err().code(), Code::RateLimited);
        let permit = read.as_mut().take_permit();
        drop(read);
        assert_eq!(kept.kept(), 15_000);
        drop(permit);
        assert_eq!(kept.kept(), 0);
        // As it comes, where nobody said how much will.
        let frames = VecDeque::from(vec![Bytes::from(vec![b'a'; 8000]); 3]);
        let read = ReadBody::new(Stalling(frames), SizeLimit::Body(99_999), LONG);
        let read = read.with_permit(Some(kept.permit(&ada)));
        assert_eq!(read.await.unwrap_err().code(), Code::RateLimited);
        assert_eq!(kept.kept(), 0);
    }

    #[tokio::test]
    async fn what_is_only_announced_takes_no_room() {
        /// As many bytes, of which `0` has come.
        struct Announced(Stalling, u64);

        impl Body for Announced {
            type Data = Bytes;
            type Error = std::convert::Infallible;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                Pin::new(&mut self.0).poll_frame(cx)
            }

            fn size_hint(&self) -> http_body::SizeHint {
                http_body::SizeHint::with_exact(self.1)
            }
        }

        let ada = crate::principal::UserId::parse("ada").unwrap();
        let kept = crate::limit::BufferedBytes::new(20_000, 20_000);
        let reading = |sizes: &[usize], bytes| {
            let frames = sizes.iter().map(|size| Bytes::from(vec![b'a'; *size]));
            let body = Announced(Stalling(frames.collect()), bytes);
            let read = ReadBody::new(body, SizeLimit::Body(20_000), LONG)
                .with_permit(Some(kept.permit(&ada)));
            Box::pin(read)
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut silent: Vec<_> = (0..5).map(|_| reading(&[], 20_000)).collect();
        assert!(silent.iter_mut().all(|read| read.as_mut().poll(&mut cx).is_pending()));
        assert_eq!(kept.kept(), 0);
        let mut slow = reading(&[10_000], 20_000);
        assert!(slow.as_mut().poll(&mut cx).is_pending());
        assert_eq!(kept.kept(), 10_000);
        // What would never do is refused before any of it comes.
        let refusal = reading(&[], 20_001).await.unwrap_err();
        assert_eq!(refusal.code(), Code::PayloadTooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let body = Stalling(VecDeque::from([Bytes::from_static(b"{")]));
        let begun = tokio::time::Instant::now();
        let error = ReadBody::new(body, SizeLimit::Body(100), LONG).await.unwrap_err();
        assert_eq!(error.code(), Code::RequestTimeout);
        assert_eq!(begun.elapsed(), LONG);
    }
}
