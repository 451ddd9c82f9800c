//! JSON documents against their schemas in `schema/`.

use boon::{Compiler, Schemas};
use serde_json::Value;

/// Asserts that a document is as the schema of this name says.
///
/// # Panics
/// It is not: says where.
#[track_caller]
pub fn is_as_schema(name: &str, document: &Value) {
    let path = format!("{}/schema/{name}.v1.json", env!("CARGO_MANIFEST_DIR"));
    let mut schemas = Schemas::new();
    let schema = Compiler::new().compile(&path, &mut schemas).unwrap();
    if let Err(error) = schemas.validate(document, schema) {
        panic!("{error}\n{document:#}");
    }
}
