//! The in-memory store passes the suite every store must pass.

use std::sync::Arc;

use windflow_core::{MemoryStore, Store};

windflow_core::store_conformance!(async { Arc::new(MemoryStore::new()) as Arc<dyn Store> });
