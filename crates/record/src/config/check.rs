//! Checks a layer against the schema, so that a mistake is told where it was written.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Origin;
use super::error::{ConfigError, Location, one_of};
use super::merge::{only_table, variant_of};
use super::schema::{ANY, Child, Schema, kind_of};
use super::tree::{Node, Spot, Tree, join};
use crate::redact;

/// Most keys named in a message when there are more than fit a line.
const NEAREST: usize = 3;
/// How near a key must be to be named then.
const NEAR: f64 = 0.4;
/// As many keys fit a line.
const ALL: usize = 5;

/// Checks keys, types and plain limits of one layer.
pub(super) fn check(schema: &Schema, node: &Node) -> Result<(), ConfigError> {
    Checker { schema }.node(schema.root(), node, "")
}

struct Checker<'a> {
    schema: &'a Schema,
}

impl Checker<'_> {
    fn node(&self, at: &Value, node: &Node, key: &str) -> Result<(), ConfigError> {
        if at.get("x-unavailable") == Some(&Value::Bool(true)) && node.origin != Origin::Default {
            return Err(ConfigError::NotAvailable { at: Location::of(&node.key), key: key.to_owned() });
        }
        let at = self.schema.resolve(at);
        let variants = self.schema.variants(at);
        if !variants.is_empty() {
            return self.any_of(at, &variants, node, key);
        }
        self.allowed_values(std::slice::from_ref(&at), node, key)?;
        match &node.tree {
            Tree::Leaf(value) => self.leaf(at, value, node, key),
            Tree::List(items) => {
                self.kind(at, "array", node, key)?;
                for (i, item) in items.iter().enumerate() {
                    let below = at
                        .get("prefixItems")
                        .and_then(|p| p.get(i))
                        .or_else(|| at.get("items"))
                        .unwrap_or(&ANY);
                    self.node(below, item, &format!("{key}[{i}]"))?;
                }
                Ok(())
            }
            Tree::Table(map) => {
                self.kind(at, "object", node, key)?;
                for (name, child) in map {
                    match self.schema.child(at, name) {
                        Child::Known(below) => self.node(below, child, &join(key, name))?,
                        Child::Free => {}
                        Child::Unknown => return Err(self.unknown(Schema::keys(at), name, child, key)),
                    }
                }
                Ok(())
            }
        }
    }

    /// One alternative must fit; when none does, the error is that of the one that was meant.
    fn any_of(&self, at: &Value, variants: &[&Value], node: &Node, key: &str) -> Result<(), ConfigError> {
        if variants.iter().any(|v| self.node(v, node, key).is_ok()) {
            return Ok(());
        }
        if let Tree::Table(map) = &node.tree {
            let named = variant_of(self.schema, at, map.iter().map(|(k, n)| (k.as_str(), n)));
            if let Some(meant) = named.or_else(|| only_table(self.schema, at)) {
                return self.node(meant, node, key);
            }
            self.known_tag(variants, map, key)?;
            self.known_key(variants, map, key)?;
        }
        let mut possible: Vec<&Value> = variants.iter().copied().filter(|v| !is_null(v)).collect();
        if let [only] = possible[..] {
            return self.node(only, node, key);
        }
        possible.retain(|v| v.get("const").is_some() || v.get("enum").is_some());
        self.allowed_values(&possible, node, key)?;
        Err(self.wrong_type(at, node, key))
    }

    /// A table that stands for a variant of an enum must name one that exists.
    fn known_tag(
        &self,
        variants: &[&Value],
        map: &BTreeMap<String, Node>,
        key: &str,
    ) -> Result<(), ConfigError> {
        let property = |variant: &Value, name: &str| -> Option<Value> {
            let property = variant.get("properties")?.get(name)?;
            let property = self.schema.resolve(property);
            property.get("const").is_some().then(|| property.clone())
        };
        for (name, tag) in map {
            let tags: Vec<Value> = variants.iter().filter_map(|v| property(v, name)).collect();
            let tags: Vec<&Value> = tags.iter().collect();
            self.allowed_values(&tags, tag, &join(key, name))?;
        }
        Ok(())
    }

    /// A key that no variant has.
    fn known_key(
        &self,
        variants: &[&Value],
        map: &BTreeMap<String, Node>,
        key: &str,
    ) -> Result<(), ConfigError> {
        let tables: Vec<&Value> =
            variants.iter().copied().filter(|v| self.schema.admits(v, "object")).collect();
        let nowhere =
            |name: &str| tables.iter().all(|v| matches!(self.schema.child(v, name), Child::Unknown));
        match map.iter().find(|(name, _)| !tables.is_empty() && nowhere(name)) {
            Some((name, child)) => {
                let mut keys: Vec<String> = tables.iter().flat_map(|v| Schema::keys(v)).collect();
                keys.sort();
                keys.dedup();
                Err(self.unknown(keys, name, child, key))
            }
            None => Ok(()),
        }
    }

    /// The value must be one of the constants of `alternatives`, when they have any.
    fn allowed_values(&self, alternatives: &[&Value], node: &Node, key: &str) -> Result<(), ConfigError> {
        let allowed: Vec<&Value> = alternatives
            .iter()
            .flat_map(|v| {
                v.get("const")
                    .into_iter()
                    .chain(v.get("enum").and_then(Value::as_array).into_iter().flatten())
            })
            .collect();
        if allowed.is_empty() {
            return Ok(());
        }
        let value = node.to_value();
        if allowed.contains(&&value) {
            return Ok(());
        }
        let mut names: Vec<String> = allowed.iter().filter(|v| !v.is_null()).map(|v| plain(v)).collect();
        if let Value::String(text) = &value {
            sort_by_nearness(text, &mut names);
        }
        let names: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
        let problem = format!("unknown value {}, expected {}", describe(key, &value), one_of(&names));
        Err(ConfigError::Value { at: Location::of(&node.spot), key: key.to_owned(), problem })
    }

    fn leaf(&self, at: &Value, value: &Value, node: &Node, key: &str) -> Result<(), ConfigError> {
        let kind = kind_of(value);
        let fits = self.schema.admits(at, kind) || (kind == "integer" && self.schema.admits(at, "number"));
        if !fits {
            return Err(self.wrong_type(at, node, key));
        }
        let Some(number) = value.as_f64() else { return Ok(()) };
        let limit = |name: &str| at.get(name).and_then(Value::as_f64);
        let problem = match (
            limit("minimum"),
            limit("maximum"),
            limit("exclusiveMinimum"),
            limit("exclusiveMaximum"),
        ) {
            (Some(least), ..) if number < least => format!("must be at least {least}, not {value}"),
            (_, Some(most), ..) if number > most => format!("must be at most {most}, not {value}"),
            (_, _, Some(above), _) if number <= above => format!("must be more than {above}, not {value}"),
            (_, _, _, Some(below)) if number >= below => format!("must be less than {below}, not {value}"),
            _ => return Ok(()),
        };
        Err(ConfigError::Value { at: Location::of(&node.spot), key: key.to_owned(), problem })
    }

    fn kind(&self, at: &Value, kind: &str, node: &Node, key: &str) -> Result<(), ConfigError> {
        if self.schema.admits(at, kind) { Ok(()) } else { Err(self.wrong_type(at, node, key)) }
    }

    fn wrong_type(&self, at: &Value, node: &Node, key: &str) -> ConfigError {
        let words = [
            ("boolean", "true or false"),
            ("integer", "an integer"),
            ("number", "a number"),
            ("string", "text"),
            ("array", "a list"),
            ("object", "a table"),
        ];
        let takes: Vec<String> = words
            .iter()
            .filter(|(kind, _)| self.schema.admits(at, kind))
            .map(|(_, w)| (*w).to_owned())
            .collect();
        ConfigError::Type {
            at: Location::of(&node.spot),
            key: if key.is_empty() { "the file".to_owned() } else { key.to_owned() },
            expected: one_of(&takes),
            found: describe(key, &node.to_value()),
        }
    }

    fn unknown(&self, mut expected: Vec<String>, field: &str, child: &Node, table: &str) -> ConfigError {
        sort_by_nearness(field, &mut expected);
        let near = expected.iter().filter(|e| nearness(field, e) >= NEAR).count();
        let keep = if expected.len() <= ALL { expected.len() } else { near.clamp(1, NEAREST) };
        let others = expected.len() - keep;
        expected.truncate(keep);
        let mut elsewhere = self.schema.paths_to(field);
        elsewhere.retain(|path| *path != join(table, field));
        // A near miss at this very place is the likelier mistake.
        let near = expected.first().is_some_and(|e| nearness(field, e) > 0.8);
        if near || elsewhere.len() > NEAREST {
            elsewhere.clear();
        }
        ConfigError::UnknownField {
            at: Location::of(&child.key),
            field: field.to_owned(),
            expected,
            others,
            elsewhere,
        }
    }
}

/// A mistake that only the settings type itself can find, at the node of this path.
pub(super) fn refused(root: &Node, path: &serde_path_to_error::Path, problem: &str) -> ConfigError {
    use serde_path_to_error::Segment;
    let mut node = root;
    let mut key = String::new();
    let mut spot = &root.spot;
    for segment in path {
        let next = match (segment, &node.tree) {
            (Segment::Map { key: name }, Tree::Table(map)) => {
                key = join(&key, name);
                map.get(name)
            }
            (Segment::Seq { index }, Tree::List(items)) => {
                key = format!("{key}[{index}]");
                items.get(*index)
            }
            _ => continue,
        };
        let Some(next) = next else { break };
        node = next;
        if !matches!(node.spot, Spot::BuiltIn) {
            spot = &node.spot;
        }
    }
    ConfigError::Value { at: Location::of(spot), key, problem: problem.to_owned() }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|t| t == "null") || schema.get("const").is_some_and(Value::is_null)
}

fn sort_by_nearness(word: &str, names: &mut [String]) {
    names.sort_by(|a, b| nearness(word, b).total_cmp(&nearness(word, a)));
}

/// 1 for the same word, 0 for one that has nothing in common.
fn nearness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b)
}

/// A value for a message.
fn describe(key: &str, value: &Value) -> String {
    match value {
        _ if redact::is_secret_name(key.rsplit('.').next().unwrap_or(key)) => "what was written".to_owned(),
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        other => {
            let text = plain(other);
            let short: String = text.chars().take(40).collect();
            let dots = if short.len() < text.len() { "…" } else { "" };
            format!("`{}{dots}`", redact::text(&short))
        }
    }
}

/// Text without quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
