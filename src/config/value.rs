//! The kinds of values that keys take: how each is read, and how it is shown.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use super::{Code, tree::Node};
use crate::{
    diff::{Pattern, PatternError},
    model::{ByteSize, Percent, RateLimit, Span},
};

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: Code,
    pub what: String,
    pub fix: String,
}

/// A kind of value.
pub(super) trait Value: Sized {
    /// Reads it from a file, a flag or a variable.
    fn read(node: &Node) -> Result<Self, Fault>;
    /// Shows it as a file would write it, without quotes.
    fn show(&self) -> String;
    /// What a JSON Schema says of it.
    fn schema() -> Json;
}

/// A whole number of at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(pub usize);

/// A whole number, 0 included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub usize);

/// A time of more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(pub Duration);

/// A size of more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub ByteSize);

/// An address to listen on; an empty text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen(pub Option<SocketAddr>);

/// A path; an empty text is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File(pub Option<PathBuf>);

/// A text; an empty one is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub Option<String>);

/// A list of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts(pub Vec<String>);

/// Places in events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patterns(pub Vec<Pattern>);

/// A list of networks; a single address is a network of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Networks(pub Vec<IpNet>);

/// A list of name servers: addresses, with a port when it is another one than DNS has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameServers(pub Vec<SocketAddr>);

impl Fault {
    pub(super) fn value(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: Code::WrongValue, what: what.into(), fix: fix.into() }
    }

    pub(super) fn kind(want: &str, node: &Node, fix: &str) -> Self {
        Self { code: Code::WrongType, what: format!("takes {want}, not {}", node.kind()), fix: fix.to_owned() }
    }
}

impl Value for Count {
    fn read(node: &Node) -> Result<Self, Fault> {
        let Node::Integer(digits) = node else { return Err(Fault::kind("a number", node, "write a whole number without quotes, like 64")) };
        match digits.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(Fault::value(format!("cannot be {digits}"), "write a whole number from 1")),
        }
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1 })
    }
}

impl Value for Number {
    fn read(node: &Node) -> Result<Self, Fault> {
        let Node::Integer(digits) = node else { return Err(Fault::kind("a number", node, "write a whole number without quotes, like 64")) };
        digits.parse().map(Self).map_err(|_| Fault::value(format!("cannot be {digits}"), "write a whole number from 0"))
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Value for Listen {
    fn read(node: &Node) -> Result<Self, Fault> {
        const FIX: &str = "write an IP address and a port, like \"127.0.0.1:8088\" or \"[::1]:8088\", or \"\" for none";
        match text(node, FIX)? {
            "" => Ok(Self(None)),
            text => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| Fault::value(format!("`{text}` is no address to listen on"), FIX)),
        }
    }
    fn show(&self) -> String {
        self.0.map(|address| address.to_string()).unwrap_or_default()
    }
    fn schema() -> Json {
        json!({ "type": "string", "examples": ["127.0.0.1:8088", "[::1]:8088", ""] })
    }
}

impl Value for File {
    fn read(node: &Node) -> Result<Self, Fault> {
        let text = text(node, "write a path in quotes")?;
        Ok(Self((!text.is_empty()).then(|| PathBuf::from(text))))
    }
    fn show(&self) -> String {
        self.0.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Value for Text {
    fn read(node: &Node) -> Result<Self, Fault> {
        let text = text(node, "write it in quotes")?;
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }
    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Value for Texts {
    fn read(node: &Node) -> Result<Self, Fault> {
        texts(node, "write a list of texts, like [\"a\", \"b\"]").map(|texts| Self(texts.into_iter().map(str::to_owned).collect()))
    }
    fn show(&self) -> String {
        self.0.join(", ")
    }
    fn schema() -> Json {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

impl Value for Patterns {
    fn read(node: &Node) -> Result<Self, Fault> {
        let fix = "write places like \"$.context.device.id\" or \"properties.items[*].price\"";
        let texts = Texts::read(node)?.0;
        let parsed = texts.iter().map(|text| text.parse().map_err(|error: PatternError| Fault::value(error.to_string(), fix)));
        parsed.collect::<Result<_, _>>().map(Self)
    }
    fn show(&self) -> String {
        Texts(self.0.iter().map(ToString::to_string).collect()).show()
    }
    fn schema() -> Json {
        Texts::schema()
    }
}

impl Value for Networks {
    fn read(node: &Node) -> Result<Self, Fault> {
        const FIX: &str = "write a list of addresses or networks, like [\"10.0.0.0/8\", \"127.0.0.1\"]";
        let network = |text: &str| {
            let parsed = text.parse::<IpNet>().or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)));
            parsed.map_err(|_| Fault::value(format!("`{text}` is no address or network"), FIX))
        };
        texts(node, FIX)?.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }
    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
    fn schema() -> Json {
        json!({ "type": "array", "items": { "type": "string" }, "examples": [["10.0.0.0/8", "127.0.0.1"]] })
    }
}

impl Value for NameServers {
    fn read(node: &Node) -> Result<Self, Fault> {
        const FIX: &str = "write a list of addresses, like [\"1.1.1.1\", \"10.0.0.2:5353\"]";
        let server = |text: &str| {
            let parsed =
                text.parse::<SocketAddr>().or_else(|_| text.parse().map(|address: std::net::IpAddr| SocketAddr::from((address, 53))));
            parsed.map_err(|_| Fault::value(format!("`{text}` is no address of a name server"), FIX))
        };
        texts(node, FIX)?.into_iter().map(server).collect::<Result<_, _>>().map(Self)
    }
    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
    fn schema() -> Json {
        json!({ "type": "array", "items": { "type": "string" }, "examples": [["1.1.1.1", "10.0.0.2:5353"]] })
    }
}

impl Value for Span {
    fn read(node: &Node) -> Result<Self, Fault> {
        with_unit(node)
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "string", "pattern": TIME, "examples": ["500ms", "30s", "5m", "6h", "2d"] })
    }
}

impl Value for ByteSize {
    fn read(node: &Node) -> Result<Self, Fault> {
        with_unit(node)
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "string", "pattern": SIZE, "examples": ["512KiB", "64MiB", "8GiB"] })
    }
}

impl Value for Percent {
    fn read(node: &Node) -> Result<Self, Fault> {
        with_unit(node)
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "string", "pattern": SHARE, "examples": ["25%", "0.5%"] })
    }
}

impl Value for RateLimit {
    fn read(node: &Node) -> Result<Self, Fault> {
        with_unit(node)
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn schema() -> Json {
        json!({ "type": "string", "pattern": RATE, "examples": ["none", "200/s"] })
    }
}

impl Value for Wait {
    fn read(node: &Node) -> Result<Self, Fault> {
        match Span::read(node)? {
            Span(Duration::ZERO) => Err(Fault::value("cannot be nothing", "write a time, like 500ms or 30s")),
            Span(wait) => Ok(Self(wait)),
        }
    }
    fn show(&self) -> String {
        Span(self.0).to_string()
    }
    fn schema() -> Json {
        Span::schema()
    }
}

impl Value for Size {
    fn read(node: &Node) -> Result<Self, Fault> {
        match ByteSize::read(node)? {
            ByteSize(0) => Err(Fault::value("cannot be nothing", "write a size, like 512KiB or 64MiB")),
            size => Ok(Self(size)),
        }
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
    fn schema() -> Json {
        ByteSize::schema()
    }
}

/// Values with units, as patterns; what the parsers take besides (spaces around) nobody writes.
const TIME: &str = r"^\d+\s*(ms|s|m|h|d)$";
const SIZE: &str = r"^\d+(\.\d+)?\s*(B|[kKMGT]i?B)$";
const SHARE: &str = r"^\d{1,3}(\.\d{1,2})?\s*%$";
const RATE: &str = r"^(none|\d+\s*/s)$";

/// The text of a node; `fix` says how to write one.
pub(super) fn text<'n>(node: &'n Node, fix: &str) -> Result<&'n str, Fault> {
    match node {
        Node::Text(text) => Ok(text),
        other => Err(Fault::kind("a text", other, fix)),
    }
}

fn texts<'n>(node: &'n Node, fix: &str) -> Result<Vec<&'n str>, Fault> {
    match node {
        Node::List(items) => items.iter().map(|item| text(&item.node, fix)).collect(),
        other => Err(Fault::kind("a list", other, fix)),
    }
}

/// A value with a unit. A bare number is given to the same parser, whose complaint names the units.
fn with_unit<T: std::str::FromStr<Err = crate::model::UnitError>>(node: &Node) -> Result<T, Fault> {
    let written = match node {
        Node::Text(text) | Node::Integer(text) => text,
        other => return Err(Fault::kind("a text with a unit", other, "write a value with its unit in quotes")),
    };
    written.parse().map_err(|error: crate::model::UnitError| {
        let told = error.to_string();
        let (what, fix) = told.split_once(": ").unwrap_or((&told, "write a value with its unit"));
        Fault::value(what, fix)
    })
}
