//! [`Permitted`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::StreamPermit;

pin_project! {
    /// A body that holds a permit until it ends, fails, or is dropped.
    ///
    /// As a [`Body`] it is exactly the body inside. The permit is any value that gives something
    /// back when it is dropped.
    #[derive(Debug)]
    pub struct Permitted<B, P = StreamPermit> {
        #[pin]
        body: B,
        permit: Option<P>,
    }
}

impl<B, P> Permitted<B, P> {
    /// Keeps `permit` for as long as `body` goes on.
    pub fn new(body: B, permit: P) -> Self {
        Self::with_option(body, Some(permit))
    }

    pub(super) fn with_option(body: B, permit: Option<P>) -> Self {
        Self { body, permit }
    }
}

impl<B: Body, P> Body for Permitted<B, P> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        // A connection may keep a finished body for a while.
        if !matches!(frame, Some(Ok(_))) {
            this.permit.take();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn shared() -> (Arc<()>, Arc<()>) {
        let permit = Arc::new(());
        (Arc::clone(&permit), permit)
    }

    #[tokio::test]
    async fn the_permit_goes_with_the_end_though_the_body_stays() {
        let (kept, permit) = shared();
        let mut body = Permitted::new(Full::<Bytes>::from("hello"), permit);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(body.is_end_stream());
        assert_eq!(Arc::strong_count(&kept), 2);
        assert!(body.frame().await.is_none());
        assert_eq!(Arc::strong_count(&kept), 1);
        drop(body);
    }

    /// One frame, then a failure.
    struct Cut(bool);

    impl Body for Cut {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let cut = std::mem::replace(&mut self.0, true);
            Poll::Ready(Some(if cut { Err("cut") } else { Ok(Frame::data("a".into())) }))
        }
    }

    #[tokio::test]
    async fn the_permit_goes_with_a_failure_and_with_the_body() {
        let (kept, permit) = shared();
        let mut body = Permitted::new(Cut(false), permit);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(Arc::strong_count(&kept), 2);
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "cut");
        assert_eq!(Arc::strong_count(&kept), 1);

        let (kept, permit) = shared();
        drop(Permitted::new(Full::<Bytes>::from("hello"), permit));
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
