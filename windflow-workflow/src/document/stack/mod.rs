//! Stack files: the Compose Specification. Text becomes a tree, its variables are replaced, short forms become long ones,
//! files and services are merged, and the normal form of the whole becomes the model.

mod base64;
mod dependencies;
mod dotenv;
mod extends;
mod fields;
mod file;
mod files;
mod fill;
mod health;
mod include;
mod interpolate;
mod keys;
mod load;
mod lower;
mod lower_deploy;
mod lower_mount;
mod lower_service;
mod merge;
mod normal;
mod pairs;
mod ports;
mod print;
mod process;
mod service_keys;
mod shape;
mod short;
mod units;
mod volumes;

pub use file::StackDocument;
pub use files::StackFiles;
