//! Settings files: YAML and TOML, told apart by extension, with the place of every key and value.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{check, refused};
use super::error::{ConfigError, Location};
use super::schema::Schema;
use super::tree::{Node, Source, Spot, Tree};
use super::{Origin, Settings};

/// Reads a file that stands for itself, without other layers: a workload profile, a plan.
pub fn read_file<T: DeserializeOwned + schemars::JsonSchema>(path: &Path) -> Result<T, ConfigError> {
    let (node, _) = load(path)?;
    check(&Schema::of::<T>(), &node)?;
    deserialize(&node)
}

/// Builds the typed settings, which may refuse what the schema could not.
pub(super) fn deserialize<T: DeserializeOwned>(node: &Node) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(node.to_value())
        .map_err(|e| refused(node, e.path(), &e.inner().to_string()))
}

/// Reads a file into a tree, and its text.
pub(super) fn load(path: &Path) -> Result<(Node, Arc<Source>), ConfigError> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let parse = match extension.as_str() {
        "yaml" | "yml" => yaml,
        "toml" => toml,
        _ => return Err(ConfigError::Extension { name }),
    };
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { name: name.clone(), source })?;
    // Some editors begin a file with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned);
    let source = Arc::new(Source { name, text });
    Ok((parse(&source)?, source))
}

/// What a word on the command line or in a variable means as YAML: `8`, `true`, `[1, 2]`, `{kind: closed}`, text.
pub(super) fn word(text: &str) -> Option<Value> {
    let source = Arc::new(Source { name: String::new(), text: text.to_owned() });
    yaml_value(&source).ok().map(|node| node.to_value())
}

fn yaml(source: &Arc<Source>) -> Result<Node, ConfigError> {
    let mut node = yaml_value(source)?;
    // An empty file, or one with comments only, sets nothing.
    if matches!(node.tree, Tree::Leaf(Value::Null)) {
        node.tree = Tree::Table(BTreeMap::new());
    }
    Ok(node)
}

fn yaml_value(source: &Arc<Source>) -> Result<Node, ConfigError> {
    let documents = MarkedYaml::load_from_str(&source.text).map_err(|e| {
        let spot = spot(source, e.marker().line(), e.marker().col(), 1);
        ConfigError::Syntax { at: Location::of(&spot), message: e.info().to_owned() }
    })?;
    match documents.as_slice() {
        [] => Ok(Node::from_value(Value::Null, &Origin::Default, &spot(source, 1, 0, 1))),
        [document] => yaml_node(source, document),
        [_, second, ..] => {
            Err(syntax(source, second, "a settings file holds one document, and here begins a second one"))
        }
    }
}

fn yaml_node(source: &Arc<Source>, yaml: &MarkedYaml<'_>) -> Result<Node, ConfigError> {
    let place = yaml_spot(source, yaml);
    let tree = match &yaml.data {
        YamlData::Value(scalar) => Tree::Leaf(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(b) => (*b).into(),
            Scalar::Integer(i) => (*i).into(),
            Scalar::FloatingPoint(f) => {
                finite(f.0).ok_or_else(|| syntax(source, yaml, "infinite and NaN are not settings"))?
            }
            Scalar::String(s) => s.as_ref().into(),
        }),
        YamlData::Sequence(items) => {
            Tree::List(items.iter().map(|i| yaml_node(source, i)).collect::<Result<_, _>>()?)
        }
        YamlData::Mapping(map) => {
            let mut table = BTreeMap::new();
            for (key, value) in map {
                let name = match &key.data {
                    YamlData::Value(Scalar::String(s)) => s.as_ref().to_owned(),
                    YamlData::Value(Scalar::Integer(i)) => i.to_string(),
                    _ => return Err(syntax(source, key, "a key must be text")),
                };
                let mut node = yaml_node(source, value)?;
                node.key = yaml_spot(source, key);
                // An empty value has no place of its own.
                if matches!(&node.tree, Tree::Leaf(Value::Null)) {
                    node.spot = node.key.clone();
                }
                table.insert(name, node);
            }
            Tree::Table(table)
        }
        YamlData::Tagged(_, inner) => return yaml_node(source, inner),
        YamlData::Representation(..) | YamlData::BadValue | YamlData::Alias(_) => {
            return Err(syntax(source, yaml, "not a value that a setting can have"));
        }
    };
    Ok(node(source, tree, place))
}

fn yaml_spot(source: &Arc<Source>, yaml: &MarkedYaml<'_>) -> Spot {
    let (start, end) = (yaml.span.start, yaml.span.end);
    let width = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    spot(source, start.line(), start.col(), width)
}

fn syntax(source: &Arc<Source>, yaml: &MarkedYaml<'_>, message: &str) -> ConfigError {
    ConfigError::Syntax { at: Location::of(&yaml_spot(source, yaml)), message: message.to_owned() }
}

fn toml(source: &Arc<Source>) -> Result<Node, ConfigError> {
    let table = DeTable::parse(&source.text).map_err(|e| {
        let at = Location::of(&toml_spot(source, e.span().unwrap_or(0..0)));
        ConfigError::Syntax { at, message: e.message().to_owned() }
    })?;
    let spot = toml_spot(source, 0..0);
    Ok(node(source, toml_table(source, table.get_ref())?, spot))
}

fn toml_table(source: &Arc<Source>, table: &DeTable<'_>) -> Result<Tree, ConfigError> {
    let mut tree = BTreeMap::new();
    for (key, value) in table {
        let mut node = toml_node(source, value)?;
        node.key = toml_spot(source, key.span());
        tree.insert(key.get_ref().to_string(), node);
    }
    Ok(Tree::Table(tree))
}

fn toml_node(source: &Arc<Source>, value: &Spanned<DeValue<'_>>) -> Result<Node, ConfigError> {
    let place = toml_spot(source, value.span());
    let wrong = |message: &str| ConfigError::Syntax { at: Location::of(&place), message: message.to_owned() };
    let tree = match value.get_ref() {
        DeValue::String(s) => Tree::Leaf(s.as_ref().into()),
        DeValue::Integer(i) => {
            let digits = i.as_str();
            let signed = i64::from_str_radix(digits, i.radix()).map(Value::from);
            let number = signed.or_else(|_| u64::from_str_radix(digits, i.radix()).map(Value::from));
            Tree::Leaf(number.map_err(|_| wrong("the number does not fit 64 bits"))?)
        }
        DeValue::Float(f) => {
            let number = f.as_str().parse().ok().and_then(finite);
            Tree::Leaf(number.ok_or_else(|| wrong("infinite and NaN are not settings"))?)
        }
        DeValue::Boolean(b) => Tree::Leaf((*b).into()),
        DeValue::Datetime(d) => Tree::Leaf(d.to_string().into()),
        DeValue::Array(items) => {
            Tree::List(items.iter().map(|i| toml_node(source, i)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => toml_table(source, table)?,
    };
    Ok(node(source, tree, place))
}

/// The place of a range of bytes.
fn toml_spot(source: &Arc<Source>, span: std::ops::Range<usize>) -> Spot {
    let text = &source.text;
    let start = (0..=span.start.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let end =
        (span.end.min(text.len())..=text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let line = text[..start].matches('\n').count() + 1;
    let meant = text.get(start..end).and_then(|t| t.lines().next()).unwrap_or_default();
    spot(source, line, text[line_start..start].chars().count(), meant.chars().count())
}

fn spot(source: &Arc<Source>, line: usize, column: usize, width: usize) -> Spot {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Spot::File {
        source: Arc::clone(source),
        line: small(line),
        column: small(column),
        width: small(width.max(1)),
    }
}

fn node(source: &Source, tree: Tree, spot: Spot) -> Node {
    let line = match &spot {
        Spot::File { line, .. } => *line,
        Spot::BuiltIn | Spot::Named(_) => 0,
    };
    let origin = Origin::File { name: source.name.clone(), line };
    Node { tree, origin, key: spot.clone(), spot }
}

fn finite(number: f64) -> Option<Value> {
    serde_json::Number::from_f64(number).map(Value::Number)
}

/// The defaults of a settings type as a tree.
pub(super) fn defaults<T: Settings>() -> Node {
    let value = serde_json::to_value(T::default()).expect("settings are plain data with text keys");
    Node::from_value(value, &Origin::Default, &Spot::BuiltIn)
}
