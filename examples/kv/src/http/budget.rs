//! How many bytes of requests' bodies are held in memory, over all connections.
//!
//! A body takes its place as it arrives, so that a client that announces much and sends little holds little. It isn't waited for
//! a place: bodies that are there in part would wait for each other.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes of all bodies together a server holds.
const BYTES: usize = 256 << 20;

/// The places, a byte each.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// A body that was read. Its bytes count for as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _places: Option<OwnedSemaphorePermit>,
}

/// Why a body wasn't read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    OverBudget,
    BrokeOff,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::of(BYTES)
    }
}

impl Budget {
    fn of(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(bytes)))
    }

    /// Reads a body of so many bytes at the most.
    ///
    /// # Errors
    /// It has more, there is no place for it now, or it broke off. What was read of it is forgotten.
    pub(super) async fn read(&self, mut body: Body, limit: u64) -> Result<Held, Unread> {
        let mut bytes = BytesMut::new();
        let mut places: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            // What isn't data are trailers, which say nothing here.
            let Ok(data) = frame.map_err(|_| Unread::BrokeOff)?.into_data() else { continue };
            if (bytes.len() as u64).saturating_add(data.len() as u64) > limit {
                return Err(Unread::TooLarge);
            }
            let count = u32::try_from(data.len()).map_err(|_| Unread::TooLarge)?;
            let more = self.0.clone().try_acquire_many_owned(count).map_err(|_| Unread::OverBudget)?;
            match &mut places {
                Some(places) => places.merge(more),
                None => places = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Held { bytes: bytes.freeze(), _places: places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_count_for_as_long_as_they_are_held() {
        let budget = Budget::of(10);
        let first = budget.read(Body::from("123456"), 8).await.unwrap();
        assert_eq!(first.bytes, "123456");
        assert_eq!(budget.read(Body::from("12345"), 8).await.unwrap_err(), Unread::OverBudget);
        // What was refused holds nothing.
        let second = budget.read(Body::from("1234"), 8).await.unwrap();
        drop(first);
        let third = budget.read(Body::from("123456"), 8).await.unwrap();
        assert_eq!(budget.read(Body::from("1"), 8).await.unwrap_err(), Unread::OverBudget);
        assert_eq!(budget.read(Body::empty(), 8).await.unwrap().bytes, "");
        drop((second, third));
        assert_eq!(budget.read(Body::from("123456789"), 8).await.unwrap_err(), Unread::TooLarge);
    }
}
