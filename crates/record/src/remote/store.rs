//! An opened place in a store: the client, the prefix, and a runtime to wait on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{Error, ListResult, ObjectMeta, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::address::Kind;
use super::problem::problem;
use super::{Address, RemoteError};
use crate::run_dir::{LOG, PARTS};

/// The place of a run in a store.
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) address: Address,
    runtime: Runtime,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Place {
    /// Opens the place with what the environment says of the store.
    pub(super) fn open(address: &Address) -> Result<Self, RemoteError> {
        // The one provider of cryptography that the program has; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = address.to_string();
        // A store that is away must not hold the end of a run for long: the run is safe where it is.
        let retry =
            RetryConfig { max_retries: 4, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() };
        let store: Result<Arc<dyn ObjectStore>, Error> = match address.kind {
            Kind::S3 => {
                AmazonS3Builder::from_env().with_url(url).with_retry(retry).build().map(|s| Arc::new(s) as _)
            }
            Kind::Google => GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .build()
                .map(|s| Arc::new(s) as _),
            Kind::Azure => MicrosoftAzureBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .build()
                .map(|s| Arc::new(s) as _),
        };
        Self::over(store.map_err(|e| failed("open", address, &e))?, address)
    }

    /// The same over a store that is open.
    pub(super) fn over(store: Arc<dyn ObjectStore>, address: &Address) -> Result<Self, RemoteError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| RemoteError::Store {
            action: "open",
            address: address.to_string(),
            problem: e.to_string(),
        })?;
        Ok(Self { store, address: address.clone(), runtime })
    }

    /// The key of a file of the run: `run.log`, `events/0001.parquet`.
    pub(super) fn key(&self, file: &str) -> Key {
        Key::from_iter(
            self.address.prefix().split('/').chain(file.split('/')).filter(|part| !part.is_empty()),
        )
    }

    /// Waits for an answer of the store.
    pub(super) fn wait<T>(
        &self,
        action: &'static str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, RemoteError> {
        self.runtime.block_on(answer).map_err(|e| failed(action, &self.address, &e))
    }

    /// Waits for an answer that may be an error to act on.
    pub(super) fn ask<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.runtime.block_on(answer)
    }

    /// What is directly below the address, or below a folder there.
    pub(super) fn list(&self, folder: &str) -> Result<ListResult, RemoteError> {
        let key = self.key(folder);
        let prefix = (!key.as_ref().is_empty()).then_some(&key);
        self.wait("list", self.store.list_with_delimiter(prefix))
    }

    /// The objects of the run, by the names of their files.
    pub(super) fn files(&self) -> Result<Vec<(String, ObjectMeta)>, RemoteError> {
        let mut files = Vec::new();
        for folder in ["", PARTS] {
            for object in self.list(folder)?.objects {
                let name = object.location.filename().unwrap_or_default();
                let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                files.push((name, object));
            }
        }
        Ok(files)
    }

    /// Whether a whole run is there.
    pub(super) fn has_run(&self) -> Result<bool, RemoteError> {
        Ok(self.list("")?.objects.iter().any(|o| o.location.filename() == Some(LOG)))
    }
}

fn failed(action: &'static str, address: &Address, error: &Error) -> RemoteError {
    RemoteError::Store { action, address: address.to_string(), problem: problem(error) }
}
