//! Tests through the public interface.

#![cfg(test)]

mod engine;
mod gate;
mod golden;
mod idle;
mod kin;
mod left_alone;
mod long_journal;
mod ownership;
mod questions;
mod watched;

#[cfg(feature = "conformance")]
mod layers;
#[cfg(feature = "sim")]
mod simulation;
#[cfg(feature = "conformance")]
mod store;
#[cfg(feature = "conformance")]
mod target;
