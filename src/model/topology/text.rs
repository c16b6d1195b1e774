//! A topology as text: TOML, YAML or JSON; and where in the text each thing stands.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Place, Topology};

/// How a topology is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

impl Format {
    /// What a file's name says, by its ending.
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.')?.1 {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Something wrong, with the line where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// From 1; none when the parser does not tell.
    pub line: Option<usize>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.text),
            None => write!(f, " {}", self.text),
        }
    }
}

/// Reads a topology, and where each thing stands in it.
///
/// # Errors
/// The first thing that cannot be read.
pub fn read(text: &str, format: Format) -> Result<(Topology, Lines), Located> {
    match format {
        Format::Toml => {
            let topology = toml::from_str(text).map_err(|error| toml_error(text, &error))?;
            let outline = toml::from_str::<Outline<toml::Spanned<BTreeMap<String, toml::Spanned<IgnoredAny>>>>>(text);
            let ends: Vec<usize> = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
            let line = |span: std::ops::Range<usize>| ends.partition_point(|end| *end < span.start) + 1;
            let lines = outline.map(|outline| {
                outline.lines(|item| {
                    (line(item.span()), item.get_ref().iter().map(|(key, value)| (key.clone(), line(value.span()))).collect())
                })
            });
            Ok((topology, lines.unwrap_or_default()))
        }
        Format::Yaml | Format::Json => {
            let topology = match format {
                // A sign that YAML takes only when it is written by its number.
                Format::Json => serde_json::from_str(text).map_err(|error| json_error(&error))?,
                _ => serde_saphyr::from_str(text).map_err(|error| yaml_error(&error))?,
            };
            type Item = serde_saphyr::Spanned<BTreeMap<String, serde_saphyr::Spanned<IgnoredAny>>>;
            let outline = serde_saphyr::from_str::<Outline<Item>>(text);
            let line = |at: serde_saphyr::Location| usize::try_from(at.line()).unwrap_or_default();
            let lines = outline.map(|outline| {
                outline.lines(|item| {
                    let keys = item.value.iter().map(|(key, value)| (key.clone(), line(value.referenced))).collect();
                    (line(item.referenced), keys)
                })
            });
            Ok((topology, lines.unwrap_or_default()))
        }
    }
}

/// Writes a topology.
///
/// # Errors
/// When the format cannot say it: none does so of what is valid.
pub fn write(topology: &Topology, format: Format) -> Result<String, String> {
    match format {
        Format::Toml => toml::to_string(topology).map_err(|error| error.to_string()),
        Format::Yaml => {
            // As a block, text that is nothing but a line's end would not be read back.
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            let text = serde_saphyr::to_string_with_options(topology, options).map_err(|error| error.to_string())?;
            // YAML takes these two by their number only (YAML 1.2, c-printable), and the writer does not know. JSON is YAML, too.
            if !text.contains(['\u{fffe}', '\u{ffff}']) {
                return Ok(text);
            }
            write(topology, Format::Json).map(|text| text.chars().map(by_number).collect())
        }
        Format::Json => serde_json::to_string_pretty(topology).map(|text| text + "\n").map_err(|error| error.to_string()),
    }
}

/// A sign inside JSON, as YAML takes it.
fn by_number(sign: char) -> String {
    match sign {
        '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => format!("\\u{:04x}", u32::from(sign)),
        _ => sign.to_string(),
    }
}

/// The JSON Schema (2020-12) of such a file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Topology).into()
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn toml_error(text: &str, error: &toml::de::Error) -> Located {
    Located { line: error.span().map(|span| line_at(text, span.start)), text: one_line(error.message()) }
}

fn yaml_error(error: &serde_saphyr::Error) -> Located {
    let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).filter(|line| *line > 0);
    let text = error.without_snippet().to_string();
    // Its own words for the place, which stands before the text already.
    let text = text.rsplit_once(" at line ").filter(|_| line.is_some()).map_or(text.as_str(), |(text, _)| text);
    Located { line, text: one_line(text) }
}

fn json_error(error: &serde_json::Error) -> Located {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Located { line: Some(error.line()).filter(|line| *line > 0), text: one_line(text) }
}

/// Errors are told in one line each, and with the key that was probably meant.
fn one_line(text: &str) -> String {
    let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
    match meant(&text) {
        Some(key) => format!("{text}. Maybe you meant {key} ?"),
        None => text,
    }
}

/// Of the keys that an error lists, the one that is nearest to what stands there.
fn meant(error: &str) -> Option<&str> {
    let (unknown, keys) = error.strip_prefix("unknown field `")?.split_once("`, expected one of ")?;
    let near = keys.split(", ").map(|key| key.trim_matches('`')).map(|key| (distance(unknown, key), key));
    near.min().filter(|(distance, key)| *distance <= 2 && *distance < key.len()).map(|(_, key)| key)
}

/// How many letters have to be put in, taken out, changed or swapped with the next (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or_default()
}

/// The same file, of which only the places matter.
#[derive(Deserialize)]
#[serde(bound = "I: DeserializeOwned", default = "Outline::empty")]
struct Outline<I> {
    guests: Vec<I>,
    bridges: Vec<I>,
    attachments: Vec<I>,
    links: Vec<I>,
}

impl<I> Outline<I> {
    fn empty() -> Self {
        Self { guests: Vec::new(), bridges: Vec::new(), attachments: Vec::new(), links: Vec::new() }
    }

    fn lines(&self, of: impl Fn(&I) -> ItemLines) -> Lines {
        let lists = [("guests", &self.guests), ("bridges", &self.bridges), ("attachments", &self.attachments), ("links", &self.links)];
        let mut lines = Lines::default();
        for (list, items) in lists {
            lines.0.extend(items.iter().enumerate().map(|(index, item)| ((list, index), of(item))));
        }
        lines
    }
}

/// The line of an item, and those of its keys.
type ItemLines = (usize, BTreeMap<String, usize>);

/// Where each thing stands: by list and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<(&'static str, usize), ItemLines>);

impl Lines {
    /// The line of a place: of its key where that is there, else of the item.
    pub fn of(&self, place: &Place) -> Option<usize> {
        let (line, keys) = self.0.get(&(place.list, place.index))?;
        let line = place.key.and_then(|key| keys.get(key)).unwrap_or(line);
        (*line > 0).then_some(*line)
    }
}
