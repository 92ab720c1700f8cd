//! Log lines: to standard error, as text or JSON, filtered by level and module.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::settings::{LogFormat, LogLevel};

/// The environment variable that overrides the level in the settings.
const FILTER_VARIABLE: &str = "TIDEGATE_LOG";

/// Starts logging for the whole process. Only the first call has an effect.
pub fn start_logging(format: LogFormat, level: LogLevel) {
    // The S3 library logs whole answers, as errors; what matters of them our own server says.
    let usual = format!("{},s3s=off", level.as_str());
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(usual));
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(colour);
    // A second start finds a subscriber in place, which is as good.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
