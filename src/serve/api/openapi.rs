//! `GET /api/openapi.json`: the description of the API, from the types of its documents
//! and one table of operations, which a test holds against the routes.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::activity::Request;
use super::commands::{Body, DURATION, Outcome, Reason};
use super::definitions::{Definition, Definitions};
use super::document::Document;
use super::edit::Edited;
use super::machine::Machine;
use super::models::List;
use super::reconcile;

/// Describes a type, and notes what it is made of.
type Schema = fn(&mut SchemaGenerator) -> Value;

/// What can be asked.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    headers: &'static [Parameter],
    /// Whether the body is needed, its content types and its schema.
    body: Option<(bool, &'static [&'static str], Schema)>,
    /// The status of success, its content type and its document.
    answer: (u16, &'static str, Schema),
    /// Further statuses, all with problem details.
    problems: &'static [u16],
}

/// What is not sent again to a client that has it.
const LISTS: [&str; 2] = ["/api/models", "/api/models/{key}"];

/// A parameter of the query.
struct Parameter {
    name: &'static str,
    meaning: &'static str,
    schema: fn() -> Value,
}

const JSON: &str = "application/json";

fn of<T: JsonSchema>(types: &mut SchemaGenerator) -> Value {
    types.subschema_for::<T>().to_value()
}

fn any(_: &mut SchemaGenerator) -> Value {
    json!({"type": "object"})
}

fn text(_: &mut SchemaGenerator) -> Value {
    json!({"type": "string"})
}

fn string() -> Value {
    json!({"type": "string"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})
}

fn duration() -> Value {
    json!({"type": "string", "pattern": DURATION})
}

fn flag() -> Value {
    json!({"anyOf": [{"type": "boolean"}, {"enum": [""], "description": "true"}]})
}

fn status() -> Value {
    any_of(crate::model::Status::ALL.map(crate::model::Status::as_str))
}

fn model_type() -> Value {
    any_of(crate::model::ModelType::ALL.map(crate::model::ModelType::as_str))
}

/// One of these words; an empty one is none, and filters nothing.
fn any_of<const N: usize>(words: [&'static str; N]) -> Value {
    let words: Vec<&str> = words.into_iter().chain([""]).collect();
    json!({"enum": words})
}

const fn parameter(name: &'static str, meaning: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { name, meaning, schema }
}

const fn read(
    path: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    document: Schema,
    problems: &'static [u16],
) -> Operation {
    Operation { method: "get", path, summary, query, headers: &[], body: None, answer: (200, JSON, document), problems }
}

const WAIT: &[Parameter] = &[parameter("wait", "how long the answer waits until it is done, `60s`", duration)];

const fn command(path: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "post",
        path,
        summary,
        query: WAIT,
        headers: &[],
        body: Some((false, &[JSON], of::<Reason>)),
        answer: (202, JSON, of::<Outcome>),
        problems: &[400, 401, 403, 404, 409, 413, 422, 503],
    }
}

const DRY_RUN: &[Parameter] = &[parameter("dry-run", "whether to write nothing, and only say what it would do", flag)];

const CONDITIONS: &[Parameter] = &[
    parameter("If-Match", "the ETag of the file that is changed", string),
    parameter("If-None-Match", "`*`, to create a file", string),
];

/// A change of a definition file.
const fn edit(method: &'static str, summary: &'static str) -> Operation {
    Operation {
        method,
        path: "/api/definitions/{file}",
        summary,
        query: DRY_RUN,
        headers: CONDITIONS,
        body: Some((true, &["application/toml", "text/plain"], text)),
        answer: (200, JSON, of::<Edited>),
        problems: &[400, 401, 403, 409, 412, 413, 415, 422, 428, 429, 503],
    }
}

const OPERATIONS: &[Operation] = &[
    read(
        "/api/models",
        "All models: rows newest first, then what has no row",
        &[
            parameter("status", "only models with this status", status),
            parameter("type", "only models of this type", model_type),
            parameter("name", "only models whose name contains this, ignoring case", string),
        ],
        of::<List>,
        &[400, 401, 403],
    ),
    read("/api/models/{key}", "One model, by name or id", &[], of::<Document>, &[401, 403, 404]),
    command("/api/models/{key}/start", "Run it until it is stopped or its definition changes"),
    command("/api/models/{key}/stop", "Stop it until it is started or its definition changes"),
    command("/api/models/{key}/restart", "Replace its server"),
    Operation { body: Some((false, &[JSON], of::<Body>)), ..command("/api/models/{key}/suspend", "Leave it alone") },
    command("/api/models/{key}/resume", "Follow its definition again"),
    read("/api/models/{key}/why", "The document of `herdsman why --format json`", &[], any, &[401, 403, 404, 409, 503]),
    read(
        "/api/models/{key}/history",
        "The document of `herdsman history --format json`",
        &[],
        any,
        &[401, 403, 404, 409, 503],
    ),
    Operation {
        answer: (200, "text/plain", text),
        ..read(
            "/api/models/{key}/logs",
            "What its server writes",
            &[
                parameter("lines", "how many of the last lines; 100 without it", count),
                parameter("follow", "whether to go on with what comes", flag),
            ],
            text,
            &[400, 401, 403, 404, 409],
        )
    },
    read("/api/plan", "The document of `herdsman reconcile --dry-run --format json`", &[], any, &[401, 403, 503]),
    Operation {
        answer: (200, "text/event-stream", text),
        ..read(
            "/api/events",
            "The models as they change, as server-sent events or over a web socket",
            &[
                parameter("changes", "whether to send only what changes after the first message", flag),
                parameter("since", "the number of the last message that arrived", count),
            ],
            text,
            &[400, 401, 403],
        )
    },
    read("/api/definitions", "The names of the definition files", &[], of::<Definitions>, &[401, 403, 404, 503]),
    read("/api/definitions/{file}", "One definition file", &[], of::<Definition>, &[401, 403, 404, 503]),
    edit("put", "Write a definition file, if the reader finds no error in it"),
    Operation { body: None, ..edit("delete", "Delete a definition file") },
    Operation {
        body: Some((false, &[JSON], of::<reconcile::Body>)),
        answer: (202, JSON, any),
        problems: &[400, 401, 403, 409, 413, 429, 503],
        ..command("/api/reconcile", "Make a pass now; the answer is the document of `herdsman reconcile --format json`")
    },
    read("/api/machine", "Memory, disks, llama-servers", &[], of::<Machine>, &[401, 403, 503]),
    read(
        "/api/activity",
        "The last requests, newest first",
        &[
            parameter("model", "only those for this model", string),
            parameter("limit", "how many at most; 100 without it", count),
        ],
        of::<Requests>,
        &[400, 401, 403],
    ),
    read("/api/openapi.json", "This description", &[], any, &[401, 403]),
];

/// The list of the last requests.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Requests {
    requests: Vec<Request>,
}

/// Returns the description.
pub(super) fn document() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut types = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = operation.describe(&mut types);
        paths.entry(operation.path).or_insert_with(|| json!({}))[operation.method] = described;
    }
    let mut schemas = types.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {"title": "herdsman", "version": env!("HERDSMAN_VERSION")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}, {"key": []}],
    })
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "what happened, and what to do"},
            "code": {"type": ["string", "null"], "description": "for programs"},
        },
    })
}

impl Operation {
    fn describe(&self, types: &mut SchemaGenerator) -> Value {
        let segments = [("key", "name or id"), ("file", "its name")];
        let in_path = segments.iter().filter(|(name, _)| self.path.contains(&format!("{{{name}}}"))).map(
            |(name, is)| json!({"name": name, "in": "path", "required": true, "description": is, "schema": string()}),
        );
        let of = |place: &'static str| move |Parameter { name, meaning, schema }: &Parameter| json!({"name": name, "in": place, "description": meaning, "schema": schema()});
        let query = self.query.iter().map(of("query")).chain(self.headers.iter().map(of("header")));
        let (status, content_type, schema) = self.answer;
        let content = json!({content_type: {"schema": schema(types)}});
        let mut responses = Map::new();
        responses.insert(status.to_string(), json!({"description": "success", "content": content.clone()}));
        if status == 202 {
            responses
                .insert("200".to_owned(), json!({"description": "it is over (`wait`)", "content": content.clone()}));
        }
        if self.method == "put" {
            responses.insert("201".to_owned(), json!({"description": "created", "content": content.clone()}));
        }
        if LISTS.contains(&self.path) {
            responses.insert("304".to_owned(), json!({"description": "the client has it (`If-None-Match`)"}));
        }
        for problem in self.problems {
            let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
            let reason = hyper::StatusCode::from_u16(*problem).ok().and_then(|status| status.canonical_reason());
            responses.insert(problem.to_string(), json!({"description": reason, "content": content}));
        }
        let mut operation = json!({
            "summary": self.summary,
            "operationId": format!("{} {}", self.method, self.path),
            "parameters": in_path.chain(query).collect::<Vec<_>>(),
            "responses": responses,
        });
        if let Some(body) = self.body {
            let (required, content_types, schema) = body;
            let schema = json!({"schema": schema(types)});
            let content: Map<String, Value> =
                content_types.iter().map(|content_type| ((*content_type).to_owned(), schema.clone())).collect();
            operation["requestBody"] = json!({"required": required, "content": content});
        }
        operation
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::super::route::{Found, find};
    use super::*;

    #[test]
    fn every_operation_is_a_route_and_every_route_an_operation() {
        let routed: Vec<_> = OPERATIONS
            .iter()
            .map(|operation| {
                let method = Method::from_bytes(operation.method.to_uppercase().as_bytes()).unwrap_or(Method::TRACE);
                match find(&method, &operation.path.replace("{key}", "a").replace("{file}", "a.toml")) {
                    Found::Route(route) => route.number(),
                    other => panic!("{} {}: {other:?}", operation.method, operation.path),
                }
            })
            .collect();
        let mut sorted = routed.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..super::super::route::COUNT).collect::<Vec<_>>());
    }
}
