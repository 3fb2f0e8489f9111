//! Parses YAML 1.2 to JSON values, with the line and column of every key and value.
//!
//! Features that contracts don't need are refused with their place: tags, several documents, keys that are not strings, infinities,
//! duplicate keys. Aliases are expanded up to a limit. JSON is YAML, so this also reads JSON Schema files.
//!
//! It reads the parser's events: saphyr's marked tree has line and column too, but copies aliases without a limit, keeps the last of duplicate
//! keys, and turns an alias within its own anchor into a value of its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};
use walpost_producer::schema::pointer::{DEPTH_MAX, step};

use super::diagnostic::{ContractRule, Diagnostic, Place};

mod quoted;
mod scalar;
mod surrogates;

/// Most values in a file, including expanded aliases.
const VALUES_MAX: usize = 100_000;
/// Most bytes of strings and JSON pointers, including expanded aliases.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most quoted scalars whose lines are indented so that the parser accepts them.
const INDENTED_MAX: usize = 100;

/// The document of a file.
#[derive(Debug)]
pub struct Document {
    /// The file.
    pub file: Arc<Path>,
    /// Its value.
    pub value: Value,
    places: HashMap<String, (usize, usize)>,
}

impl Document {
    /// Parses a text. Nothing is evaluated, and no other file is read.
    ///
    /// # Errors
    /// The first mistake; parsing can't continue after it.
    pub fn parse(file: &Arc<Path>, text: &str) -> Result<Self, Diagnostic> {
        let mut text = surrogates::joined(text);
        for _ in 0..INDENTED_MAX {
            match Self::build(file, &text) {
                Ok(document) => return Ok(document),
                Err(Failure { diagnostic, start }) => {
                    let indented = start.and_then(|start| quoted::indented(&text, start));
                    text = Cow::Owned(indented.ok_or(diagnostic)?);
                }
            }
        }
        Self::build(file, &text).map_err(|failure| failure.diagnostic)
    }

    fn build(file: &Arc<Path>, text: &str) -> Result<Self, Failure> {
        let mut builder = Builder {
            file,
            stack: Vec::new(),
            places: HashMap::new(),
            anchors: HashMap::new(),
            values: 0,
            bytes: 0,
            root: None,
        };
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| Failure {
                diagnostic: builder.syntax(text, &error),
                start: Some(error.marker().index()),
            })?;
            if matches!(event, Event::DocumentStart(_)) {
                documents += 1;
                if documents > 1 {
                    let what = "a second document in one file; put it into a file of its own";
                    return Err(builder.diagnostic(&span.start, ContractRule::Yaml, what).into());
                }
            }
            builder.take(event, span)?;
        }
        let value = builder.root.take().unwrap_or(Value::Null);
        Ok(Self { file: Arc::clone(file), value, places: builder.places })
    }

    /// The place of the value at this JSON pointer, or of the innermost existing one around it.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Place {
        let mut rest = pointer;
        loop {
            if let Some(&(line, column)) = self.places.get(rest) {
                return Place { file: Arc::clone(&self.file), line, column };
            }
            match rest.rfind('/') {
                Some(end) => rest = &rest[..end],
                None => return Place::start_of(&self.file),
            }
        }
    }

    /// A mistake at this JSON pointer.
    #[must_use]
    pub fn diagnostic(&self, pointer: &str, rule: ContractRule, what: impl Into<String>) -> Diagnostic {
        Diagnostic { place: self.place(pointer), rule, what: what.into() }
    }
}

/// Why a text can't be parsed.
struct Failure {
    diagnostic: Diagnostic,
    /// The character that the parser names, from 0.
    start: Option<usize>,
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, start: None }
    }
}

/// A collection being read.
enum Open {
    Sequence { pointer: String, anchor: usize, items: Vec<Value> },
    Mapping { pointer: String, anchor: usize, entries: Map<String, Value>, key: Option<String> },
}

struct Builder<'a> {
    file: &'a Arc<Path>,
    stack: Vec<Open>,
    places: HashMap<String, (usize, usize)>,
    /// Anchored values, each with its size.
    anchors: HashMap<usize, (Value, Size)>,
    values: usize,
    bytes: usize,
    root: Option<Value>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), &span.start)?;
                if self.expects_key() {
                    return self.key(text, &span.start);
                }
                let value = self.scalar(&text, style, &span.start)?;
                self.note_place(&span.start);
                self.value(value, anchor, Size { values: 1, bytes: text.len() }, &span.start)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(tag.as_ref(), &span.start, |pointer| Open::Sequence { pointer, anchor, items: Vec::new() })
            }
            Event::MappingStart(anchor, tag) => self.open(tag.as_ref(), &span.start, |pointer| Open::Mapping {
                pointer,
                anchor,
                entries: Map::new(),
                key: None,
            }),
            Event::SequenceEnd | Event::MappingEnd => {
                let (value, anchor) = match self.stack.pop().expect("what ends was begun") {
                    Open::Sequence { items, anchor, .. } => (Value::Array(items), anchor),
                    Open::Mapping { entries, anchor, .. } => (Value::Object(entries), anchor),
                };
                self.value(value, anchor, Size { values: 1, bytes: 0 }, &span.start)
            }
            Event::Alias(anchor) => {
                // An alias inside its own anchor has no value yet.
                let Some(&(_, size)) = self.anchors.get(&anchor) else {
                    return Err(self.diagnostic(
                        &span.start,
                        ContractRule::Yaml,
                        "an alias inside the value that it refers to",
                    ));
                };
                if self.expects_key() {
                    return Err(self.diagnostic(
                        &span.start,
                        ContractRule::Yaml,
                        "an alias can't be a key; write the key out",
                    ));
                }
                self.note_place(&span.start);
                // Checked before copying, which is the point of the limit.
                self.grow(size, &span.start)?;
                let value = self.anchors[&anchor].0.clone();
                self.value(value, 0, Size::default(), &span.start)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open::Mapping { key: None, .. }))
    }

    fn key(&mut self, text: Cow<'_, str>, at: &Marker) -> Result<(), Diagnostic> {
        self.refuse_nul(&text, at)?;
        let Some(Open::Mapping { pointer, entries, key, .. }) = self.stack.last_mut() else {
            unreachable!("a key is in a mapping")
        };
        if entries.contains_key(&*text) {
            let what = format!("duplicate key \"{text}\"");
            return Err(self.diagnostic(at, ContractRule::DuplicateKey, what));
        }
        // Until its value has a place; for an empty value, permanently.
        let pointer = step(pointer, &text);
        self.bytes += pointer.len();
        *key = Some(text.into_owned());
        self.places.insert(pointer, (at.line(), at.col() + 1));
        Ok(())
    }

    fn open(
        &mut self,
        tag: Option<&Cow<'_, Tag>>,
        at: &Marker,
        make: impl FnOnce(String) -> Open,
    ) -> Result<(), Diagnostic> {
        self.refuse_tag(tag, at)?;
        if self.expects_key() {
            return Err(self.diagnostic(at, ContractRule::Yaml, "a key must be a string"));
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(self.diagnostic(
                at,
                ContractRule::Nesting,
                format!("nested more than {DEPTH_MAX} levels deep"),
            ));
        }
        self.note_place(at);
        let pointer = self.pointer();
        self.stack.push(make(pointer));
        Ok(())
    }

    /// The JSON pointer of the next value.
    fn pointer(&self) -> String {
        match self.stack.last() {
            None => String::new(),
            Some(Open::Sequence { pointer, items, .. }) => format!("{pointer}/{}", items.len()),
            Some(Open::Mapping { pointer, key, .. }) => step(pointer, key.as_deref().expect("a value follows a key")),
        }
    }

    /// A mapping's value gets the place of its key, which is what a person looks for.
    fn note_place(&mut self, at: &Marker) {
        let pointer = self.pointer();
        self.bytes += pointer.len();
        self.places.entry(pointer).or_insert((at.line(), at.col() + 1));
    }

    /// Adds to the size and checks the limits.
    fn grow(&mut self, size: Size, at: &Marker) -> Result<(), Diagnostic> {
        self.values += size.values;
        self.bytes = self.bytes.saturating_add(size.bytes);
        if self.values > VALUES_MAX {
            let what = format!("more than {VALUES_MAX} values, including expanded aliases");
            return Err(self.diagnostic(at, ContractRule::File, what));
        }
        if self.bytes > BYTES_MAX {
            let what = format!("more than {} MiB of text, including expanded aliases", BYTES_MAX / 1024 / 1024);
            return Err(self.diagnostic(at, ContractRule::File, what));
        }
        Ok(())
    }

    fn value(&mut self, value: Value, anchor: usize, size: Size, at: &Marker) -> Result<(), Diagnostic> {
        self.grow(size, at)?;
        if anchor > 0 {
            let size = Size::of(&value);
            // The anchor's own copy.
            self.grow(Size { values: 0, ..size }, at)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.stack.last_mut() {
            None => self.root = Some(value),
            Some(Open::Sequence { items, .. }) => items.push(value),
            Some(Open::Mapping { entries, key, .. }) => {
                entries.insert(key.take().expect("a value follows a key"), value);
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, at: &Marker) -> Result<Value, Diagnostic> {
        self.refuse_nul(text, at)?;
        if style != ScalarStyle::Plain {
            return Ok(Value::String(text.to_owned()));
        }
        scalar::resolve(text).ok_or_else(|| {
            let is_beyond = text.contains(|digit: char| digit.is_ascii_digit());
            let what = if is_beyond { "beyond the range of a double" } else { "not a JSON number" };
            self.diagnostic(at, ContractRule::Yaml, format!("{text} is {what}; quote it if it is a string"))
        })
    }

    fn refuse_tag(&self, tag: Option<&Cow<'_, Tag>>, at: &Marker) -> Result<(), Diagnostic> {
        match tag {
            None => Ok(()),
            Some(tag) => Err(self.diagnostic(
                at,
                ContractRule::Yaml,
                format!("the tag {}{} is not supported", tag.handle, tag.suffix),
            )),
        }
    }

    /// PostgreSQL's jsonb can't hold U+0000.
    fn refuse_nul(&self, text: &str, at: &Marker) -> Result<(), Diagnostic> {
        if text.contains('\0') {
            return Err(self.diagnostic(
                at,
                ContractRule::Yaml,
                "a string contains U+0000, which PostgreSQL can't store",
            ));
        }
        Ok(())
    }

    /// The scanner has its own, lower limit for nested brackets.
    fn syntax(&self, text: &str, error: &ScanError) -> Diagnostic {
        let before = text.chars().take(error.marker().index());
        let open = before.fold(0_usize, |open, symbol| match symbol {
            '[' | '{' => open + 1,
            ']' | '}' => open.saturating_sub(1),
            _ => open,
        });
        if open > DEPTH_MAX {
            return self.diagnostic(
                error.marker(),
                ContractRule::Nesting,
                format!("nested more than {DEPTH_MAX} levels deep"),
            );
        }
        self.diagnostic(error.marker(), ContractRule::Yaml, error.info().to_owned())
    }

    fn diagnostic(&self, at: &Marker, rule: ContractRule, what: impl Into<String>) -> Diagnostic {
        let place = Place { file: Arc::clone(self.file), line: at.line().max(1), column: at.col() + 1 };
        Diagnostic { place, rule, what: what.into() }
    }
}

/// The size of a value.
#[derive(Clone, Copy, Default)]
struct Size {
    values: usize,
    /// Bytes of strings and keys.
    bytes: usize,
}

impl Size {
    /// The size of a value no deeper than [`DEPTH_MAX`].
    fn of(value: &Value) -> Self {
        let sum = |sizes: &mut dyn Iterator<Item = Self>| {
            sizes.fold(Self { values: 1, bytes: 0 }, |sum, size| Self {
                values: sum.values.saturating_add(size.values),
                bytes: sum.bytes.saturating_add(size.bytes),
            })
        };
        match value {
            Value::String(text) => Self { values: 1, bytes: text.len() },
            Value::Array(items) => sum(&mut items.iter().map(Self::of)),
            Value::Object(entries) => sum(&mut entries.iter().map(|(name, value)| {
                let size = Self::of(value);
                Self { bytes: size.bytes.saturating_add(name.len()), ..size }
            })),
            _ => Self { values: 1, bytes: 0 },
        }
    }
}

#[cfg(test)]
mod tests;
