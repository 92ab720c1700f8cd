//! The clients of both services, as the settings of a machine say.

use std::time::Duration;

use tidegate_replicator::store::{Connection, Style, aws_access};

use super::note::Place;
use super::query::Query;
use crate::machine::ProviderError;
use crate::settings;

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one attempt at a request may take: half a mebibyte on a slow line.
const ATTEMPT_TIME_MAX: Duration = Duration::from_mins(1);
/// Attempts at a request. All repetitions together are bounded besides, by the budget of the client.
const ATTEMPTS_MAX: u32 = 6;

/// Both clients.
#[derive(Debug)]
pub(super) struct Clients {
    /// Snapshots, images and instances.
    pub(super) ec2: Query,
    /// Blocks of snapshots.
    pub(super) ebs: aws_sdk_ebs::Client,
}

impl Clients {
    /// At a place, with what a machine has besides; asks AWS for nothing yet.
    pub(super) async fn of(machine: &settings::Machine, place: &Place) -> Result<Self, ProviderError> {
        let name = machine.name.as_str();
        let credentials = machine.credentials.resolve().await;
        let credentials = credentials.map_err(ProviderError::because("get the credentials of", name))?;
        let connection = Connection {
            endpoint: place.endpoint.clone(),
            region: place.region.clone(),
            style: Style::VirtualHost,
            proxy: machine.proxy.as_ref().map(|url| url.as_str().to_owned()),
            ca_file: machine.ca_file.as_ref().map(|path| path.as_path().to_owned()),
            connect_timeout: CONNECT_TIME_MAX,
            answer_timeout: ATTEMPT_TIME_MAX,
        };
        let access = aws_access(&connection, &credentials, ATTEMPTS_MAX);
        let access = access.map_err(ProviderError::because("reach AWS for", name))?;
        Ok(Self { ec2: Query::new(&access), ebs: aws_sdk_ebs::Client::new(&access.config) })
    }
}
