//! The `docker` kind on a real Docker Engine.

mod adopted;
mod beside;
mod blue_green;
mod calls;
pub mod conformance;
mod drift;
mod going_back;
mod images;
pub mod life;
mod nameless;
mod no_op;
pub mod place;
mod retained;
mod rolling;
mod strangers;
mod unfinished;
mod values;
