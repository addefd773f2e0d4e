//! Values that are one of a few words.

use serde_json::{Value as Json, json};

use super::{
    Code, DataDirectory,
    tree::Node,
    value::{Fault, Value, text},
};
use crate::{ingress::OnFull, routing::Region, telemetry::LogFormat};

/// Whether something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed(pub bool);

/// Which kind of certificates `[tls] mode` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    LocalCa,
    Files,
}

impl Value for TlsMode {
    fn read(node: &Node) -> Result<Self, Fault> {
        if matches!(node, Node::Text(text) if text == "acme") {
            let fix = "write mode = \"local-ca\", or \"files\" with certificates that another program renews";
            return Err(Fault { code: Code::Later, what: "`acme` is not in this version".to_owned(), fix: fix.to_owned() });
        }
        choose(node, &TLS_MODES)
    }
    fn show(&self) -> String {
        word(*self, &TLS_MODES)
    }
    fn schema() -> Json {
        words(&TLS_MODES)
    }
}

impl Value for OnFull {
    fn read(node: &Node) -> Result<Self, Fault> {
        choose(node, &ON_FULL)
    }
    fn show(&self) -> String {
        word(*self, &ON_FULL)
    }
    fn schema() -> Json {
        words(&ON_FULL)
    }
}

impl Value for DataDirectory {
    fn read(node: &Node) -> Result<Self, Fault> {
        match node {
            Node::Truth(true) => Ok(Self::Ephemeral),
            Node::Truth(false) => Ok(Self::Lasting),
            _ => Err(Fault::kind("true or false", node, "write it without quotes: true when the directory ends with the process")),
        }
    }
    fn show(&self) -> String {
        (*self == Self::Ephemeral).to_string()
    }
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Value for Allowed {
    fn read(node: &Node) -> Result<Self, Fault> {
        match node {
            Node::Truth(truth) => Ok(Self(*truth)),
            _ => Err(Fault::kind("true or false", node, "write it without quotes")),
        }
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Value for LogFormat {
    fn read(node: &Node) -> Result<Self, Fault> {
        choose(node, &LOG_FORMATS)
    }
    fn show(&self) -> String {
        word(*self, &LOG_FORMATS)
    }
    fn schema() -> Json {
        words(&LOG_FORMATS)
    }
}

impl Value for Region {
    fn read(node: &Node) -> Result<Self, Fault> {
        choose(node, &REGIONS)
    }
    fn show(&self) -> String {
        word(*self, &REGIONS)
    }
    fn schema() -> Json {
        words(&REGIONS)
    }
}

/// One of the words of the table.
fn words<T>(table: &[(&'static str, T)]) -> Json {
    let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
    json!({ "enum": words })
}

/// The value of a word of the table.
fn choose<T: Copy>(node: &Node, table: &[(&'static str, T)]) -> Result<T, Fault> {
    let words: Vec<String> = table.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let fix = format!("write {}", words.join(" or "));
    let given = text(node, &fix)?;
    let found = table.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| *value).ok_or_else(|| Fault::value(format!("cannot be `{given}`"), fix))
}

/// The word of a value; every value of these types is in its table.
fn word<T: Copy + PartialEq>(value: T, table: &[(&'static str, T)]) -> String {
    table.iter().find(|(_, known)| *known == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

const TLS_MODES: [(&str, TlsMode); 2] = [("local-ca", TlsMode::LocalCa), ("files", TlsMode::Files)];
const ON_FULL: [(&str, OnFull); 2] = [("relay", OnFull::Relay), ("answer-429", OnFull::Answer429)];
const LOG_FORMATS: [(&str, LogFormat); 3] = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
const REGIONS: [(&str, Region); 2] = [("us", Region::Us), ("eu", Region::Eu)];
