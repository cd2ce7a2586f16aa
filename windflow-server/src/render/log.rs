//! What the libraries below have to say, on standard error.

use tracing_subscriber::filter::LevelFilter;

use super::output::{LogWriter, Output};
use crate::cli::LogLevel;

/// Has everything up to a level written to standard error.
pub fn install(level: LogLevel, output: &Output) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let writer = LogWriter(output.clone());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(move || writer.clone())
        .finish();
    // In a test process somebody may have installed one before; theirs does as well.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
