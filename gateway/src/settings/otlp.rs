//! `[otlp]`: where metrics and traces go by the OpenTelemetry protocol.
//!
//! What the values do is in [`crate::telemetry`]; here they are only checked.

use super::alarms::{HeaderText, WebhookAddress};
use super::names::LocalPath;
use super::schema::table;
use super::secret::SecretReference;
use super::values::Span;

table! {
    /// Where the gateway sends metrics and traces by the OpenTelemetry protocol (OTLP over HTTP, protobuf): to a collector, or
    /// to an agent on this machine. Nothing is sent without `endpoint`; `/metrics` is served in any case.
    pub struct Otlp("otlp", once) {
        /// The collector, without the paths of the protocol: `/v1/metrics` and `/v1/traces` are added.
        endpoint: WebhookAddress, optional;
        /// The header of a request that carries `secret`.
        header: HeaderText, default(HeaderText::authorization());
        /// The whole value of that header, such as `Bearer abc`.
        secret: SecretReference, optional;
        /// A PEM file with the certificates by which the collector is trusted, instead of those of the system.
        ca_file: LocalPath, optional;
        /// How often metrics are sent.
        metrics_every: Span, default(Span::seconds(60)) in Span::seconds(5), Span::seconds(3_600);
        /// How many calls of clients are traced at most, a second; as many slow ones again. Commits, runs of policies and jobs are
        /// traced too, unless this is 0.
        traces_per_second: u32, default(10) in 0, 1_000;
    }
}
