//! The OpenAPI 3.1 document, made from the table of routes and from the very types that are taken and answered.
//!
//! Schemas are JSON Schema 2020-12, which is what OpenAPI 3.1 has. What is answered is described once each, below
//! `components`; what is taken is described in place.

use std::sync::LazyLock;

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::jobs::JobInfo;
use super::row::{Answered, Effect, Row, Taken};
use super::table::TABLE;
use crate::control::ControlError;
use crate::settings::TableDescription;

/// The document.
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
/// What every call may be refused with, and why.
const REFUSALS: [(&str, &str); 9] = [
    ("400", "The call is wrong as written."),
    ("401", "No valid token or session came with it."),
    (
        "403",
        "The role, or the shares of the token, do not allow it; or it comes from the page of another site.",
    ),
    ("404", "There is nothing of that name."),
    ("409", "It does not fit the state of things."),
    ("429", "Too many calls; `retry-after` says when to come again."),
    ("500", "It failed."),
    ("507", "There is no room."),
    ("503", "The store or the gateway does not answer now; come again."),
];

pub(super) async fn show() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// `docs/openapi.json`.
pub fn openapi_page() -> String {
    serde_json::to_string_pretty(&*DOCUMENT).expect("plain data") + "\n"
}

/// What makes schemas.
struct Schemas {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
}

fn document() -> Value {
    let mut schemas = Schemas {
        taken: SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.meta_schema = None;
                settings.inline_subschemas = true;
            })
            .for_deserialize()
            .into_generator(),
        answered: SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = "/components/schemas".into();
            })
            .for_serialize()
            .into_generator(),
    };
    let mut paths = Map::new();
    for row in TABLE.iter() {
        let path = paths.entry(row.path).or_insert_with(|| json!({}));
        path[row.method.as_str().to_ascii_lowercase()] = operation(row, &mut schemas);
    }
    let error = schemas.answered.subschema_for::<ControlError>();
    let responses: Map<String, Value> = REFUSALS
        .iter()
        .map(|(status, why)| {
            let content = json!({ "application/json": { "schema": error } });
            ((*status).to_owned(), json!({ "description": why, "content": content }))
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Made from the code. `x-effect` says what a call does, `x-right` which right it needs, \
                            `x-reach` what a token of single shares must be for.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas.answered.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of the settings, or of an OpenID provider that they name." },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-tidegate",
                    "description": "A session, begun with POST /session. Changes carry x-tidegate-csrf besides.",
                },
            },
        },
    })
}

fn operation(row: &Row, schemas: &mut Schemas) -> Value {
    let mut operation = json!({
        "operationId": id_of(row),
        "summary": row.about,
        "tags": [row.path.split('/').nth(1).unwrap_or_default()],
        "x-effect": row.effect.as_str(),
        "x-reach": row.reach.as_str(),
        "parameters": parameters(row, schemas),
        "responses": responses(row, schemas),
    });
    if let Some(right) = row.effect.right() {
        operation["x-right"] = json!(right);
    }
    if row.effect == Effect::Begins {
        operation["security"] = json!([]);
    }
    if let Some(taken) = row.body {
        let schema = match taken {
            Taken::Json(shape) => json!(shape(&mut schemas.taken)),
            Taken::Table(describe) => table_schema(&describe()),
        };
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
        if let Taken::Table(_) = taken {
            operation["requestBody"]["required"] = json!(true);
        }
    }
    operation
}

/// `getSharesHeads`, `deleteSharesSnapshots`: the method and the words of the path; one by name ends with `One`.
fn id_of(row: &Row) -> String {
    let mut id = row.method.as_str().to_ascii_lowercase();
    let words = row.path.split(['/', '-', '.']).filter(|word| !word.is_empty() && !word.starts_with('{'));
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    if row.path.ends_with('}') {
        id.push_str("One");
    }
    id
}

fn parameters(row: &Row, schemas: &mut Schemas) -> Vec<Value> {
    let named = row.parameters().map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let mut all: Vec<Value> = named.collect();
    let Some(query) = row.query else { return all };
    let schema = json!(query(&mut schemas.taken));
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, shape) in schema["properties"].as_object().into_iter().flatten() {
        let mut shape = shape.clone();
        let about = shape.as_object_mut().and_then(|shape| shape.remove("description"));
        all.push(json!({
            "name": name, "in": "query", "required": required.contains(&name.as_str()),
            "description": about.unwrap_or_default(), "schema": shape,
        }));
    }
    all
}

fn responses(row: &Row, schemas: &mut Schemas) -> Value {
    let data = |schema: Value| json!({ "application/json": { "schema": schema } });
    let (status, about, content) = match row.answer {
        Answered::Data(shape) => ("200", "Done.", data(json!(shape(&mut schemas.answered)))),
        Answered::Made(shape) => ("201", "Made.", data(json!(shape(&mut schemas.answered)))),
        Answered::Job(shape) => {
            let (job, result) = (schemas.answered.subschema_for::<JobInfo>(), shape(&mut schemas.answered));
            let schema = json!({ "allOf": [job, { "type": "object", "properties": { "result": result } }] });
            ("202", "A job was started; its result is there when it has succeeded.", data(schema))
        }
        Answered::Bytes => ("200", "The bytes.", json!({ "application/octet-stream": {} })),
        Answered::Text => ("200", "Text.", json!({ "text/plain": { "schema": { "type": "string" } } })),
    };
    let mut all = Map::new();
    all.insert(status.to_owned(), json!({ "description": about, "content": content }));
    if matches!(row.answer, Answered::Job(_)) && row.query.is_some() && row.body.is_some() {
        let about = "With `dry-run=true`: what would change.";
        let schema = schemas.answered.subschema_for::<crate::control::DiffPage>();
        all.insert("200".to_owned(), json!({ "description": about, "content": data(json!(schema)) }));
    }
    for (status, _) in REFUSALS {
        all.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    Value::Object(all)
}

/// The keys of a table of the settings, as they come in JSON.
fn table_schema(table: &TableDescription) -> Value {
    let mut properties = Map::new();
    for key in &table.keys {
        let mut about = format!("{} Written as {}.", key.meaning.replace('\n', " "), key.form);
        if let Some(default) = &key.default {
            about.push_str(&format!(" Default: {default}."));
        }
        properties.insert(key.name.to_owned(), json!({ "description": about }));
    }
    let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": table.meaning.replace('\n', " "),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::pages::assert_page;

    #[test]
    fn the_page_of_the_api_is_what_the_code_says() {
        assert_page("docs/openapi.json", &openapi_page());
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_call_has_a_name_of_its_own() {
        fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let mut found = BTreeSet::new();
        references(&DOCUMENT, &mut found);
        assert!(found.len() > 30, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(DOCUMENT.pointer(pointer).is_some(), "{reference}");
        }
        let ids: BTreeSet<String> = TABLE.iter().map(id_of).collect();
        assert_eq!(ids.len(), TABLE.len());
    }
}
