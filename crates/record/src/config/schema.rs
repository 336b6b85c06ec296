//! What the JSON schema of a settings type says about one key.

use schemars::JsonSchema;
use serde_json::Value;

use super::tree::join;

/// The schema of a settings type.
#[derive(Debug)]
pub(super) struct Schema {
    root: Value,
}

/// The schema of anything.
pub(super) static ANY: Value = Value::Bool(true);

/// What a table's schema says about one of its keys.
pub(super) enum Child<'a> {
    /// A setting with this schema.
    Known(&'a Value),
    /// Anything goes: the table is free.
    Free,
    /// No such key.
    Unknown,
}

impl Schema {
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self { root: schemars::schema_for!(T).to_value() }
    }

    pub(super) fn root(&self) -> &Value {
        self.resolve(&self.root)
    }

    /// Follows references.
    pub(super) fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        // A chain of references is never longer than the definitions; the bound stops a circular one.
        for _ in 0..64 {
            let target = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| r.strip_prefix('#'))
                .and_then(|pointer| self.root.pointer(pointer));
            match target {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// The alternatives of an enum or an option, resolved; empty when there are none.
    pub(super) fn variants<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        ["anyOf", "oneOf"]
            .iter()
            .filter_map(|k| schema.get(k)?.as_array())
            .flatten()
            .map(|v| self.resolve(v))
            .collect()
    }

    /// What a table's schema says about a key. Alternatives are not looked into.
    pub(super) fn child<'a>(&'a self, schema: &'a Value, key: &str) -> Child<'a> {
        if let Some(known) = schema.get("properties").and_then(|p| p.get(key)) {
            return Child::Known(known);
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => Child::Unknown,
            Some(values @ Value::Object(_)) => Child::Known(values),
            Some(_) => Child::Free,
            // Serde ignores keys that it does not know; a typo must not be ignored.
            None if schema.get("properties").is_some() => Child::Unknown,
            None => Child::Free,
        }
    }

    /// The keys of a table's schema.
    pub(super) fn keys(schema: &Value) -> Vec<String> {
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
    }

    /// The schema at a path of keys, looking into alternatives.
    pub(super) fn at<'a>(&'a self, path: &[&str]) -> Option<&'a Value> {
        self.below(self.root(), path)
    }

    fn below<'a>(&'a self, schema: &'a Value, path: &[&str]) -> Option<&'a Value> {
        let schema = self.resolve(schema);
        let Some((first, rest)) = path.split_first() else { return Some(schema) };
        let variants = self.variants(schema);
        if !variants.is_empty() {
            return variants.into_iter().find_map(|v| self.below(v, path));
        }
        match self.child(schema, first) {
            Child::Known(child) => self.below(child, rest),
            Child::Free if self.admits(schema, "object") => Some(&ANY),
            Child::Free | Child::Unknown => None,
        }
    }

    /// Dotted keys of every setting called `name`.
    pub(super) fn paths_to(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.search(&self.root, "", name, 0, &mut found);
        found.sort();
        found.dedup();
        found
    }

    fn search(&self, schema: &Value, key: &str, name: &str, depth: usize, found: &mut Vec<String>) {
        // Settings are a few tables deep; the bound stops a recursive type.
        if depth > 6 {
            return;
        }
        let schema = self.resolve(schema);
        for (child, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = join(key, child);
            if child == name {
                found.push(path.clone());
            }
            self.search(below, &path, name, depth + 1, found);
        }
        for variant in self.variants(schema) {
            self.search(variant, key, name, depth + 1, found);
        }
    }

    /// Whether a value of this JSON type (`string`, `integer`, …) can be right.
    pub(super) fn admits(&self, schema: &Value, kind: &str) -> bool {
        let schema = self.resolve(schema);
        let variants = self.variants(schema);
        if !variants.is_empty() {
            return variants.iter().any(|v| self.admits(v, kind));
        }
        let values = || {
            schema
                .get("const")
                .into_iter()
                .chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten())
        };
        match schema.get("type") {
            Some(Value::String(t)) => t == kind,
            Some(Value::Array(all)) => all.iter().any(|t| t == kind),
            _ if values().next().is_some() => values().any(|v| kind_of(v) == kind),
            _ => true,
        }
    }
}

/// JSON type of a value, in the words of JSON schema.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A schema as text, ending in a newline.
pub(crate) fn pretty(schema: &schemars::Schema) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema is JSON already");
    text.push('\n');
    text
}
