//! What the example programs show, as a library, so that their tests can reach it.

#[path = "../custom_target/folder.rs"]
pub mod folder_target;
#[path = "../custom_action/parcel.rs"]
pub mod parcel_action;
