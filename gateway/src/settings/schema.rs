//! How a table of the settings file becomes a struct, and how a value becomes a field.
//!
//! Owns the traits [`Setting`] (one value) and [`Table`] (one table), the macro [`table!`] that
//! declares a struct together with everything that is said about its keys, and the reader that
//! refuses unknown keys and collects every problem. The documentation comment of a field *is* the
//! description of the key in `docs/settings.md`.

use toml_edit::{Item, TableLike, Value};

use super::problems::Problems;

/// A value that a key may have. Checked as far as possible without I/O.
pub trait Setting: Sized {
    /// Whether a wrong value may be shown in a message.
    const SHOWN: bool = true;

    /// How it is written, for messages and documentation: reads after "write".
    fn form() -> String;

    /// Takes the value, or says why it is wrong (reads after the value: "is out of range").
    fn parse(value: &Value) -> Result<Self, String>;

    /// The value as it is written.
    fn write(&self) -> Value;
}

/// What is known of one key.
#[derive(Clone, Debug)]
pub struct KeyDescription {
    /// Its name.
    pub name: &'static str,
    /// How its value is written.
    pub form: String,
    /// Its value when it is not set; `None` when it must be set or has no value then.
    pub default: Option<String>,
    /// Whether it must be set.
    pub required: bool,
    /// The allowed range, if there is one beyond the form.
    pub range: Option<String>,
    /// What it means.
    pub meaning: String,
}

/// What is known of one table.
#[derive(Clone, Debug)]
pub struct TableDescription {
    /// As it stands in the file: `[gateway]` or `[[share]]`.
    pub heading: &'static str,
    /// What it is about.
    pub meaning: String,
    /// Its keys, in the order of the struct.
    pub keys: Vec<KeyDescription>,
}

/// A table of the settings file.
pub trait Table: Sized {
    /// Its name in the file.
    const NAME: &'static str;
    /// Whether there may be several (`[[name]]`).
    const REPEATED: bool;

    /// What is said about it.
    fn describe() -> TableDescription;

    /// The table with every key.
    fn write(&self) -> toml_edit::Table;

    /// Reads it; `None` when a problem was noted.
    #[doc(hidden)]
    fn read(reader: &mut Reader<'_, '_>) -> Option<Self>;
}

/// Reads the keys of one table and notes what is wrong.
pub struct Reader<'r, 'a> {
    path: String,
    table: &'r dyn TableLike,
    problems: &'r mut Problems<'a>,
}

impl<'r, 'a> Reader<'r, 'a> {
    /// A reader of the table at `path`.
    pub(super) fn new(path: String, table: &'r dyn TableLike, problems: &'r mut Problems<'a>) -> Self {
        Self { path, table, problems }
    }

    /// Notes every key that is not among `known`.
    pub fn refuse_unknown(&mut self, known: &[&str]) {
        for (name, item) in self.table.iter().filter(|(name, item)| !known.contains(name) && !item.is_none())
        {
            let place = self.table.get_key_value(name).and_then(|(key, _)| key.span()).or(item.span());
            let key = format!("{}.{name}", self.path);
            self.problems.add(&key, place, format!("is no key here; there are {}", known.join(", ")));
        }
    }

    /// Reads a key that must be there. `check` says what is allowed instead of a value out of range.
    pub fn required<T: Setting>(&mut self, name: &str, check: impl Fn(&T) -> Option<String>) -> Option<T> {
        if self.table.get(name).is_none() {
            let key = format!("{}.{name}", self.path);
            self.problems.add(&key, None, format!("is missing; write {}", T::form()));
        }
        self.optional(name, check)?
    }

    /// Reads a key that has a default.
    pub fn or_default<T: Setting>(
        &mut self,
        name: &str,
        default: T,
        check: impl Fn(&T) -> Option<String>,
    ) -> Option<T> {
        self.optional(name, check).map(|value| value.unwrap_or(default))
    }

    /// Reads a key that may be absent. The outer `None` means that a problem was noted.
    #[allow(clippy::option_option)] // Outer: readable or not. Inner: set or not.
    pub fn optional<T: Setting>(
        &mut self,
        name: &str,
        check: impl Fn(&T) -> Option<String>,
    ) -> Option<Option<T>> {
        let Some(item) = self.table.get(name) else { return Some(None) };
        let wrong = match as_value(item) {
            None => format!("is a list of tables; write {}", T::form()),
            Some(value) => match T::parse(&value) {
                Err(reason) => format!("{}{reason}; write {}", shown::<T>(&value), T::form()),
                Ok(parsed) => match check(&parsed) {
                    None => return Some(Some(parsed)),
                    Some(allowed) => format!("{}is out of range; write {allowed}", shown::<T>(&value)),
                },
            },
        };
        self.problems.add(&format!("{}.{name}", self.path), item.span(), wrong);
        None
    }
}

/// The item as a value; a table written out under its own heading counts as an inline one.
fn as_value(item: &Item) -> Option<Value> {
    match item {
        Item::Value(value) => Some(value.clone()),
        Item::Table(table) => Some(Value::InlineTable(table.clone().into_inline_table())),
        Item::None | Item::ArrayOfTables(_) => None,
    }
}

/// The value as it stands in the file, followed by a space; nothing for what may hold a secret.
fn shown<T: Setting>(value: &Value) -> String {
    /// The longest value that is shown, in characters.
    const SHOWN_MAX: usize = 80;
    let text = value.to_string();
    let text = text.trim();
    match text.char_indices().nth(SHOWN_MAX) {
        _ if !T::SHOWN => "the value (not shown) ".to_owned(),
        None => format!("{text} "),
        Some((end, _)) => format!("{}... ", &text[..end]),
    }
}

/// What is allowed, when the value lies outside.
pub(super) fn outside<T: Setting + PartialOrd>(value: &T, least: &T, greatest: &T) -> Option<String> {
    (value < least || value > greatest).then(|| range_text(least, greatest))
}

/// "from X to Y", as both are written.
pub(super) fn range_text<T: Setting>(least: &T, greatest: &T) -> String {
    format!("from {} to {}", least.write().to_string().trim(), greatest.write().to_string().trim())
}

/// Joins the lines of a documentation comment.
pub(super) fn meaning(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Declares a table of the settings: a plain struct, and for each key its default, range and meaning.
///
/// ```text
/// table! {
///     /// What the table is about.
///     pub struct Cache("cache", once) {
///         /// What the key means.
///         disk: Size, default(Size::gib(20)) in Size::gib(1), Size::tib(64);
///         /// What must be there.
///         key: SecretRef, required;
///         /// What may be absent: the field is an `Option<Url>`.
///         proxy: Url, optional;
///     }
/// }
/// ```
macro_rules! table {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident($toml:literal, $many:ident) {
            $(
                $(#[doc = $meaning:literal])+
                $field:ident : $type:ty, $mode:ident $(($default:expr))? $(in $least:expr, $greatest:expr)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $meaning])+ pub $field: table!(@type $mode $type), )+
        }

        impl $crate::settings::schema::Table for $name {
            const NAME: &'static str = $toml;
            const REPEATED: bool = table!(@repeated $many);

            fn describe() -> $crate::settings::schema::TableDescription {
                use $crate::settings::schema::{KeyDescription, Setting, TableDescription, meaning};
                TableDescription {
                    heading: if Self::REPEATED { concat!("[[", $toml, "]]") } else { concat!("[", $toml, "]") },
                    meaning: meaning(&[$($about),+]),
                    keys: vec![$( KeyDescription {
                        name: stringify!($field),
                        form: <$type as Setting>::form(),
                        default: table!(@default $type $(, $default)?),
                        required: stringify!($mode) == "required",
                        range: table!(@range_text $($least, $greatest)?),
                        meaning: meaning(&[$($meaning),+]),
                    } ),+],
                }
            }

            fn write(&self) -> toml_edit::Table {
                let mut table = toml_edit::Table::new();
                $( table!(@write $mode table, stringify!($field), self.$field); )+
                table
            }

            fn read(reader: &mut $crate::settings::schema::Reader<'_, '_>) -> Option<Self> {
                reader.refuse_unknown(&[$(stringify!($field)),+]);
                $( let $field: Option<table!(@type $mode $type)> =
                    table!(@read $mode reader, stringify!($field), table!(@check $($least, $greatest)?) $(, $default)?); )+
                Some(Self { $( $field: $field? ),+ })
            }
        }
    };
    (@repeated once) => { false };
    (@repeated repeated) => { true };
    (@type optional $type:ty) => { Option<$type> };
    (@type $mode:ident $type:ty) => { $type };
    (@default $type:ty) => { None };
    (@default $type:ty, $default:expr) => {
        Some(<$type as Setting>::write(&$default).to_string().trim().to_owned())
    };
    (@range_text) => { None };
    (@range_text $least:expr, $greatest:expr) => {
        Some($crate::settings::schema::range_text(&$least, &$greatest))
    };
    (@check) => { |_| None };
    (@check $least:expr, $greatest:expr) => {
        |value| $crate::settings::schema::outside(value, &$least, &$greatest)
    };
    (@write optional $table:ident, $name:expr, $value:expr) => {
        if let Some(value) = &$value {
            table!(@write required $table, $name, *value);
        }
    };
    (@write $mode:ident $table:ident, $name:expr, $value:expr) => {
        $table.insert($name, toml_edit::Item::Value($crate::settings::schema::Setting::write(&$value)));
    };
    (@read default $reader:ident, $name:expr, $check:expr, $default:expr) => {
        $reader.or_default($name, $default, $check)
    };
    (@read $mode:ident $reader:ident, $name:expr, $check:expr) => { $reader.$mode($name, $check) };
}
pub(crate) use table;
