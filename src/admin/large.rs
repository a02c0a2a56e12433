//! Answers that grow with the number of apps: made off the runtime, and few at
//! a time.
//!
//! With 100,000 apps one answer is tens of megabytes. Its place is given back
//! when its last byte was sent, so slow readers cannot pile answers up.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Large answers at once; more wait for a place.
const AT_ONCE: usize = 4;

/// Places for large answers.
#[derive(Clone)]
pub struct Places(Arc<Semaphore>);

/// An answer and its place.
struct Large {
    content: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Places {
    /// As many as there are.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Waits for a place, then makes the answer where it keeps nobody waiting.
    pub(super) async fn make<E: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Result<Bytes, Problem> {
        let place = self.0.clone().acquire_owned().await.map_err(|_closed| Problem::failed())?;
        tokio::task::spawn_blocking(move || {
            let content = make().map_err(|_error| Problem::failed())?;
            Ok(Bytes::from_owner(Large { content, _place: place }))
        })
        .await
        .map_err(|_panicked| Problem::failed())?
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[tokio::test]
    async fn a_place_is_kept_until_the_answer_is_gone() {
        let places = Places::new();
        let make = || Ok::<_, ()>(b"answer".to_vec());
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(places.make(make).await.expect("a place"));
        }
        assert_eq!(places.0.available_permits(), 0);
        let part = held.remove(0).split_off(3);
        assert_eq!(places.0.available_permits(), 0, "a part still waits to be sent");
        drop(part);
        assert_eq!(places.0.available_permits(), 1);
        assert!(places.make(|| Err(())).await.is_err());
        assert_eq!(places.0.available_permits(), 1);
    }
}
