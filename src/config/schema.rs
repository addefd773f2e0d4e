//! The JSON Schema of the configuration, for editors: what the reader itself asks for, so that it cannot say anything else.

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::{
    Environment,
    document::Document,
    read,
    section::Section,
    session::{Asked, Session},
};
use crate::model::EventKind;

/// Every key, with its meaning.
const ANNOTATED: &str = include_str!("../../sidecar.toml");
/// A file in which the reader meets every kind of table.
const SAMPLE: &str = "[[source]]\nname = \"x\"\n[[source.rule]]\n";
/// How the reader calls the keys of that source, and of its rule.
const SOURCE: &str = "source.x.";
const RULE: &str = "source.x.rule.1.";

/// The schema (JSON Schema 2020-12).
#[must_use]
pub fn schema() -> Json {
    let environment = Environment::default();
    let mut session = Session::new(&environment, &[]);
    let (document, tree, _) = Document::parse(PathBuf::from("sidecar.toml"), SAMPLE.to_owned(), 0);
    session.add_document(document);
    read::config(&mut session, Section::root(tree));
    let mut root = table("The configuration of a segue sidecar.");
    let (mut source, mut rule) =
        (table("A Segment source."), table("What of a source goes another way: the first rule that matches wins."));
    for asked in session.asked() {
        if let Some(name) = asked.key.strip_prefix(RULE) {
            put(&mut rule, &[name], describe(asked, &format!("source.rule.{name}")));
        } else if let Some(name) = asked.key.strip_prefix(SOURCE) {
            put(&mut source, &[name], describe(asked, &format!("source.{name}")));
        } else {
            let path: Vec<&str> = asked.key.split('.').collect();
            put(&mut root, &path, describe(asked, &asked.key));
        }
    }
    rule["required"] = json!(["route"]);
    source["properties"]["rule"] = json!({ "type": "array", "items": rule });
    source["required"] = json!(["name", "segment_write_key"]);
    root["properties"]["source"] = json!({ "type": "array", "items": source });
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("segue: sidecar.toml");
    root
}

/// A write key: by value, or where it is; or a list of them.
pub(super) fn write_key() -> Json {
    let reference = |name: &str| json!({ "type": "object", "properties": { name: { "type": "string", "minLength": 1 } }, "required": [name], "additionalProperties": false });
    let one = json!({ "anyOf": [{ "type": "string", "minLength": 1 }, reference("env"), reference("file")] });
    json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
}

/// A route: a stage's name, or two shares.
pub(super) fn route() -> Json {
    let share = json!({ "type": "string", "pattern": r"^\d{1,3}(\.\d{1,2})?\s*%$" });
    json!({ "anyOf": [
        { "type": "string", "pattern": r"^(segment-only|both|rudderstack-only|(shadow|cutover)\s*=?\s*\d{1,3}(\.\d{1,2})?\s*%)$",
          "examples": ["segment-only", "shadow=25%", "both", "cutover=25%", "rudderstack-only"] },
        { "type": "object", "properties": { "segment": share, "rudderstack": share }, "required": ["segment", "rudderstack"],
          "additionalProperties": false },
    ] })
}

/// One type of event, or several.
pub(super) fn event_types() -> Json {
    let one = json!({ "enum": EventKind::ALL.map(EventKind::label) });
    json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
}

fn table(description: &str) -> Json {
    json!({ "type": "object", "description": description, "properties": {}, "additionalProperties": false })
}

/// Puts a key where its path says, through the tables above it.
fn put(table_of: &mut Json, path: &[&str], value: Json) {
    let Some((name, rest)) = path.split_first() else { return };
    let properties = &mut table_of["properties"];
    if rest.is_empty() {
        properties[*name] = value;
        return;
    }
    if properties.get(*name).is_none() {
        properties[*name] = table("");
        if let Some(inside) = properties[*name].as_object_mut() {
            inside.remove("description");
        }
    }
    put(&mut properties[*name], rest, value);
}

fn describe(asked: &Asked, key: &str) -> Json {
    let mut schema = asked.schema.as_object().cloned().unwrap_or_else(Map::new);
    let mut description = meaning(key).unwrap_or_default();
    // A default is shown as a file would write it; only texts are written as they are shown.
    if let Some(default) = asked.default.as_ref().filter(|default| !default.is_empty() && default.as_str() != "x") {
        if schema.get("type").is_some_and(|kind| kind == "string") || schema.contains_key("enum") {
            schema.insert("default".to_owned(), json!(default));
        } else {
            let told = format!("(default: {default})");
            description = if description.is_empty() { told } else { format!("{description} {told}") };
        }
    }
    if !description.is_empty() {
        schema.insert("description".to_owned(), json!(description));
    }
    Json::Object(schema)
}

/// What the annotated file says behind a key; None: nothing.
fn meaning(key: &str) -> Option<String> {
    let (wanted_table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table = String::new();
    for line in ANNOTATED.lines() {
        // Rules stand there as comments.
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            let end = header.find(']').unwrap_or(header.len());
            header[..end].trim_start_matches('[').clone_into(&mut table);
            continue;
        }
        let is_it = table == wanted_table && line.split_once('=').is_some_and(|(key, _)| key.trim() == name);
        if is_it && let Some((_, comment)) = line.rsplit_once(" # ") {
            let comment = comment.trim().trim_start_matches("<-").trim();
            return (!comment.is_empty()).then(|| comment.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_annotated_file_is_in_it_with_its_meaning() {
        let schema = schema();
        let at = |path: &str| path.split('/').fold(&schema["properties"], |at, part| &at[part]).clone();
        assert_eq!(at("journal/properties/size_max/default"), "8GiB");
        assert_eq!(at("journal/properties/size_max/description"), "of disk; four volumes at least");
        assert_eq!(at("rudderstack/properties/retry/properties/max/default"), "1m");
        assert_eq!(at("limits/properties/headers_max/description"), "(default: 64)");
        assert_eq!(at("tls/properties/mode/enum"), json!(["local-ca", "files"]));
        assert_eq!(at("source/items/properties/region/enum"), json!(["us", "eu"]));
        assert!(at("source/items/properties/rule/items/properties/app/description").as_str().unwrap().contains("its namespace"));
        let (mut table, mut keys) = (Vec::new(), 0);
        for line in ANNOTATED.lines() {
            if let Some(header) = line.strip_prefix('[') {
                table = header[..header.find(']').unwrap()].trim_start_matches('[').split('.').collect();
                continue;
            }
            let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
            let mut place = &schema;
            for part in table.iter().chain([&name]) {
                place = &place["properties"][*part];
                place = if place["type"] == "array" && !place["items"]["properties"].is_null() { &place["items"] } else { place };
            }
            assert!(place.is_object(), "{name} of {table:?} is not in the schema");
            keys += 1;
        }
        assert!(keys > 60, "{keys}");
    }
}
