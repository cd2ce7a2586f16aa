//! The suite every store must pass.

use std::sync::Arc;

use windflow_core::Store;
use windflow_workflow::{SqliteOptions, SqliteStore};

async fn open() -> Arc<dyn Store> {
    let folder = tempfile::tempdir().unwrap().keep();
    Arc::new(SqliteStore::open(folder.join("windflow.db"), SqliteOptions::default()).await.unwrap())
}

windflow_core::store_conformance!(open());
