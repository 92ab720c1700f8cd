//! `/api/v1/volumes` and `/api/v1/machines`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::error::ApiError;
use super::payload::{Asked, Payload};
use super::removal::{DryRun, Removal, remove_named};
use super::routes::{Answer, Gateway, Who, table_add};
use crate::control::{
    ControlError, Disks, ErrorKind, MachineStartRequest, MachineStatus, MachineStopRequest, ResizeRequest,
    TemporaryRequest, VolumeStatus,
};
use crate::settings::{Volume, table_from_json};
use crate::volumes::BootOrder;

fn disks(admin: &Admin) -> Result<Arc<dyn Disks>, ControlError> {
    admin.control.disks()
}

pub(super) async fn volumes(State(admin): Gateway, Extension(caller): Who) -> Answer<Vec<VolumeStatus>> {
    Ok(Json(caller.within_volumes(disks(&admin)?.volumes().await)))
}

pub(super) async fn add(
    State(admin): Gateway,
    Extension(caller): Who,
    Payload(body): Payload<serde_json::Value>,
) -> Result<Response, ApiError> {
    let (volume, _) = table_from_json::<Volume>(&body).map_err(ControlError::from)?;
    table_add::<Volume>(&admin, &caller, &body).await?;
    // The settings have it now; what it lacks beyond them is told, and made when the first client comes.
    let status = disks(&admin)?.volume_prepare(volume.name.as_str()).await?;
    Ok((StatusCode::CREATED, Json(status)).into_response())
}

pub(super) async fn remove(
    State(admin): Gateway,
    Path(volume): Path<String>,
    Asked(ask): Asked<DryRun>,
) -> Answer<Removal> {
    let gone = vec![format!("clients lose volume {volume}; its file stays in its share")];
    Ok(Json(remove_named::<Volume>(&admin, "name", &volume, ask, gone).await?))
}

pub(super) async fn resize(
    State(admin): Gateway,
    Path(volume): Path<String>,
    Payload(request): Payload<ResizeRequest>,
) -> Answer<VolumeStatus> {
    let status = disks(&admin)?.volume_resize(&volume, &request).await?;
    // A size in the settings that is larger would make it longer again.
    let bytes = request.bytes;
    admin.changes.edit(move |document| set_size(document, &volume, bytes)).await?;
    Ok(Json(status))
}

/// Sets the size of a volume that has one in the settings.
fn set_size(document: &mut toml_edit::DocumentMut, name: &str, bytes: u64) -> Result<(), String> {
    let volumes = document.get_mut("volume").and_then(toml_edit::Item::as_array_of_tables_mut);
    let named =
        |volume: &&mut toml_edit::Table| volume.get("name").and_then(|name| name.as_str()) == Some(name);
    let volume = volumes.into_iter().flat_map(|volumes| volumes.iter_mut()).find(named);
    if let Some(size) = volume.and_then(|volume| volume.get_mut("size")) {
        *size = toml_edit::value(crate::settings::Size(bytes).to_string());
    }
    Ok(())
}

pub(super) async fn show(
    State(admin): Gateway,
    Path(volume): Path<String>,
    Payload(request): Payload<TemporaryRequest>,
) -> Answer<VolumeStatus> {
    Ok(Json(disks(&admin)?.volume_show(&volume, &request).await?))
}

pub(super) async fn hide(State(admin): Gateway, Path(name): Path<String>) -> Answer<()> {
    Ok(Json(disks(&admin)?.volume_hide(&name).await?))
}

pub(super) async fn record(State(admin): Gateway, Path(volume): Path<String>) -> Answer<()> {
    Ok(Json(disks(&admin)?.volume_record(&volume).await?))
}

pub(super) async fn record_end(State(admin): Gateway, Path(volume): Path<String>) -> Answer<BootOrder> {
    Ok(Json(disks(&admin)?.volume_record_end(&volume).await?))
}

pub(super) async fn boot_order(State(admin): Gateway, Path(volume): Path<String>) -> Answer<BootOrder> {
    let order = disks(&admin)?.boot_order(&volume).await?;
    let missing = || {
        let message = format!("nothing is recorded of volume {volume:?}");
        ControlError::new(ErrorKind::NotFound, message)
            .todo(format!("boot a machine from it between `tidegate volume record {volume}` and `--end`"))
    };
    Ok(Json(order.ok_or_else(missing)?))
}

pub(super) async fn boot_order_set(
    State(admin): Gateway,
    Path(volume): Path<String>,
    Payload(order): Payload<BootOrder>,
) -> Answer<()> {
    Ok(Json(disks(&admin)?.set_boot_order(&volume, Some(&order)).await?))
}

pub(super) async fn boot_order_remove(State(admin): Gateway, Path(volume): Path<String>) -> Answer<()> {
    Ok(Json(disks(&admin)?.set_boot_order(&volume, None).await?))
}

pub(super) async fn machines(State(admin): Gateway) -> Answer<Vec<MachineStatus>> {
    Ok(Json(disks(&admin)?.machines().await))
}

pub(super) async fn start(
    State(admin): Gateway,
    Path(machine): Path<String>,
    Payload(request): Payload<MachineStartRequest>,
) -> Answer<MachineStatus> {
    Ok(Json(disks(&admin)?.machine_start(&machine, &request).await?))
}

pub(super) async fn stop(
    State(admin): Gateway,
    Path(name): Path<String>,
    Payload(request): Payload<MachineStopRequest>,
) -> Answer<MachineStatus> {
    Ok(Json(disks(&admin)?.machine_stop(&name, &request).await?))
}
