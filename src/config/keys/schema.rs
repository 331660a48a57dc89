//! The JSON Schema of the file (draft 2020-12), from the table. It may take what `check` refuses, never the other way round.

use serde_json::{Map, Value, json};

use super::{Key, Kind, SECTIONS, Usual};

/// The schema, for editors.
pub fn schema() -> Value {
    let mut root = Node::default();
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        root.put(key.path, key);
    }
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("Configuration of fluidgate"));
    schema.extend(root.table());
    Value::Object(schema)
}

/// A place in the file: a key, a table with keys, or both.
#[derive(Default)]
struct Node {
    name: &'static str,
    key: Option<&'static Key>,
    below: Vec<Node>,
}

impl Node {
    /// Puts `key` where `path` leads, and makes the places on the way.
    fn put(&mut self, path: &'static str, key: &'static Key) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        if !self.below.iter().any(|node| node.name == name) {
            self.below.push(Node { name, ..Node::default() });
        }
        for node in self.below.iter_mut().filter(|node| node.name == name) {
            match rest {
                Some(rest) => node.put(rest, key),
                None => node.key = Some(key),
            }
        }
    }

    fn required(&self) -> bool {
        match self.key {
            Some(key) => matches!(key.usual, Usual::Required),
            None => self.below.iter().any(Node::required),
        }
    }

    fn schema(&self) -> Value {
        let Some(key) = self.key else { return Value::Object(self.table()) };
        let mut schema = self.of(key.kind);
        if let Value::Object(fields) = &mut schema {
            let range = if key.range.is_empty() { String::new() } else { format!(" ({})", key.range) };
            fields.insert("description".into(), json!(format!("{}{range}", key.meaning)));
            if let Usual::Value(text) = key.usual {
                let usual: Option<toml::Table> = toml::from_str(&format!("usual = {text}")).ok();
                let usual = usual.and_then(|table| serde_json::to_value(table.get("usual")?).ok());
                fields.extend(usual.map(|usual| ("default".to_owned(), usual)));
            }
        }
        schema
    }

    fn of(&self, kind: Kind) -> Value {
        match kind {
            Kind::Boolean => json!({ "type": "boolean" }),
            Kind::Only(value) => json!({ "const": value }),
            Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Duration(..) => json!({ "type": "string", "pattern": "^[+0-9]" }),
            Kind::Words(words) => json!({ "enum": words }),
            Kind::Text(_, "") => json!({ "type": "string" }),
            Kind::Text(_, pattern) => json!({ "type": "string", "pattern": pattern }),
            Kind::List(of) => json!({ "type": "array", "items": self.of(*of) }),
            Kind::Table => Value::Object(self.table()),
            Kind::Map(of) => json!({ "type": "object", "additionalProperties": self.of(*of) }),
            Kind::Either(kinds) => {
                json!({ "anyOf": kinds.iter().map(|kind| self.of(*kind)).collect::<Vec<_>>() })
            }
        }
    }

    fn table(&self) -> Map<String, Value> {
        let properties: Map<String, Value> =
            self.below.iter().map(|node| (node.name.to_owned(), node.schema())).collect();
        let required: Vec<&str> =
            self.below.iter().filter(|node| node.required()).map(|node| node.name).collect();
        let mut table = Map::new();
        table.insert("type".into(), json!("object"));
        table.insert("properties".into(), Value::Object(properties));
        table.insert("required".into(), json!(required));
        table.insert("additionalProperties".into(), json!(false));
        table
    }
}
