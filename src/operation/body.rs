//! The body of a reply.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use super::sealed::SealedAnswer;
use crate::error::BoxError;
use crate::limit::BufferPermit;
use crate::stream::{FlushFirst, RunBody, RunObserver};

pin_project! {
    /// What an operation answers with.
    #[derive(Debug)]
    #[project = ReplyBodyProjection]
    #[allow(missing_docs, reason = "named for what they hold")]
    #[non_exhaustive]
    pub enum ReplyBody<R, O: RunObserver> {
        /// A JSON document of the gateway's: a reply, or a refusal.
        Json { #[pin] body: Full<Bytes>, permit: Option<BufferPermit> },
        /// An answer of the upstream's, passed on untouched.
        Passthru { #[pin] body: R, flush: FlushFirst },
        /// An answer of the upstream's, passed on with its cursor sealed. What was read for it counts
        /// as long as its bytes are there.
        Sealed { body: SealedAnswer },
        /// A run, passed on untouched.
        Run { #[pin] body: RunBody<R, O> },
    }
}

impl<R, O: RunObserver> ReplyBody<R, O> {
    pub(crate) fn passthru(body: R) -> Self {
        Self::Passthru { body, flush: FlushFirst::default() }
    }

    pub(crate) fn sealed(body: SealedAnswer) -> Self {
        Self::Sealed { body }
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Json { body: Full::new(bytes), permit: None }
    }

    /// Has a document count until it is out, or nobody wants it any more: who reads slowly keeps it
    /// in memory. What has been carried out is not refused for its answer.
    pub(crate) fn covered_by(&mut self, permit: Option<BufferPermit>) {
        if let Self::Json { body, permit: covering } = self
            && let Some(mut permit) = permit
        {
            let bytes = body.size_hint().exact().unwrap_or_default();
            permit.cover(usize::try_from(bytes).unwrap_or_default());
            *covering = Some(permit).filter(|permit| !permit.is_empty());
        }
    }
}

impl<R, O: RunObserver> From<Bytes> for ReplyBody<R, O> {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl<R, O> Body for ReplyBody<R, O>
where
    R: Body<Data = Bytes, Error: Into<BoxError>>,
    O: RunObserver,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            ReplyBodyProjection::Json { body, permit } => body
                .poll_frame(cx)
                .map_err(|never| match never {})
                .map_ok(|frame| match permit.take() {
                    Some(permit) => frame.map_data(|bytes| permit.held_by(bytes)),
                    None => frame,
                }),
            ReplyBodyProjection::Passthru { body, flush } => {
                flush.poll(cx, |cx| body.poll_frame(cx).map_err(Into::into))
            }
            ReplyBodyProjection::Sealed { body } => Pin::new(body).poll_frame(cx),
            ReplyBodyProjection::Run { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Json { body, .. } => body.is_end_stream(),
            Self::Passthru { body, flush } => !flush.has_failed() && body.is_end_stream(),
            Self::Sealed { body } => body.is_end_stream(),
            Self::Run { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Json { body, .. } => body.size_hint(),
            Self::Passthru { body, .. } => body.size_hint(),
            Self::Sealed { body } => body.size_hint(),
            Self::Run { body } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::limit::BufferedBytes;
    use crate::principal::UserId;
    use crate::stream::{Binding, End, Event};

    struct Nobody;

    impl RunObserver for Nobody {
        fn thread_created(&mut self, _: &str) -> Option<Binding> {
            None
        }

        fn event(&mut self, _: Event<'_>) {}

        fn ended(&mut self, _: End) {}
    }

    #[tokio::test]
    async fn a_document_counts_until_its_bytes_are_gone() {
        let ada = UserId::parse("ada").unwrap();
        let buffered = BufferedBytes::new(10_000, 10_000);
        let permit = || Some(buffered.permit(&ada));
        let mut body = ReplyBody::<Full<Bytes>, Nobody>::whole(Bytes::from(vec![b'a'; 20_000]));
        body.covered_by(permit());
        assert_eq!(buffered.kept(), 20_000);
        let frame = body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        drop(body);
        // A slow reader's connection has it.
        assert_eq!((frame.data_ref().unwrap().len(), buffered.kept()), (20_000, 20_000));
        drop(frame);
        assert_eq!(buffered.kept(), 0);

        let mut small = ReplyBody::<Full<Bytes>, Nobody>::whole(Bytes::from_static(b"{}"));
        small.covered_by(permit());
        assert_eq!((buffered.kept(), small.frame().await.is_some()), (0, true));
    }
}
