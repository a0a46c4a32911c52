//! `once(key, …)`: one step at a time per key, and how values are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::executor::{Executor, Refusal};

/// The turns of two tasks of one program that come to the same key at the same time: the second
/// waits, and gets the first one's value.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(key.to_owned()).or_default().clone()
    }
}

pub(crate) async fn once<T, Step>(
    executor: &dyn Executor,
    turns: &Turns,
    key: &str,
    step: Step,
) -> Result<T, Error>
where
    T: Serialize + DeserializeOwned,
    Step: Future<Output = Result<T, crate::BoxError>>,
{
    let refused = |refusal: Refusal| Error::Journal {
        key: key.to_owned(),
        reason: refusal.reason,
        message: refusal.message,
    };
    let turn = turns.of(key);
    let _mine = turn.lock().await;
    if let Some(kept) = executor.journal_get(key).await.map_err(refused)? {
        return decode(key, &kept);
    }
    let value = step.await.map_err(|source| Error::Once { key: key.to_owned(), source })?;
    let kept = executor.journal_put(key, encode(key, &value)?).await.map_err(refused)?;
    // The value in the record counts; it is this value unless another execution was first.
    decode(key, &kept)
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(value).map_err(|error| Error::Journal {
        key: key.to_owned(),
        reason: None,
        message: format!("its value cannot be kept as JSON: {error}"),
    })?;
    Ok(bytes.into())
}

fn decode<T: DeserializeOwned>(key: &str, kept: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(kept).map_err(|error| Error::Journal {
        key: key.to_owned(),
        reason: None,
        message: format!(
            "the value that was kept is not of this type ({error}); use another key for another type"
        ),
    })
}
