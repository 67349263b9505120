//! The types a setting can have: how each is read from TOML and from text, checked and written back.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tiltyard_cluster::NodeId;
use tiltyard_cluster::node::Keyspace;
use toml_edit::Value as Toml;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// A setting's value as it comes in: typed from a file, bare text from a variable or a flag.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// From the file.
    Toml(&'a Toml),
    /// From a variable or a flag.
    Text(&'a str),
}

impl Raw<'_> {
    /// Names what was found, short enough for one line of an error.
    fn describe(self) -> String {
        let (kind, text) = match self {
            Self::Text(text) => ("", text.to_owned()),
            Self::Toml(value) => {
                let kind = match value {
                    Toml::String(text) => return format!("the text \"{}\"", shorten(text.value())),
                    Toml::Integer(_) => "the number ",
                    Toml::Float(_) => "the fraction ",
                    Toml::Boolean(_) => "the truth value ",
                    Toml::Datetime(_) => "the date ",
                    Toml::Array(_) => return "a list".to_owned(),
                    Toml::InlineTable(_) => return "a table".to_owned(),
                };
                (kind, value.to_string())
            }
        };
        match kind {
            "" => format!("\"{}\"", shorten(&text)),
            kind => format!("{kind}{}", shorten(text.trim())),
        }
    }
}

fn shorten(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    let mut short: String =
        text.chars().take(CHARACTERS_MAX).map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// A type that a setting can have.
pub trait Value: Sized {
    /// What is wanted, for messages: fits after "wants".
    const KIND: &'static str;
    /// Whether it names a file that holds secrets, which must not be open to everybody on the machine.
    const SECRET_FILE: bool = false;

    /// Reads the value from the file's typed form.
    fn from_toml(value: &Toml) -> Option<Self>;
    /// Reads the value from a variable or a flag.
    fn from_text(text: &str) -> Option<Self>;
    /// Writes the value as it stands in a file.
    fn to_toml(&self) -> Toml;
    /// The number that bounds are held against; only numbers have one.
    fn number(&self) -> Option<u64> {
        None
    }

    /// Reads a value and holds it against its bounds, both ends included.
    ///
    /// # Errors
    /// A sentence that names what is wanted and what was found.
    fn read(raw: Raw<'_>, bounds: Option<(u64, u64)>) -> Result<Self, String> {
        let value = match raw {
            Raw::Toml(value) => Self::from_toml(value),
            Raw::Text(text) => Self::from_text(text),
        };
        let fits = |value: &Self| match (value.number(), bounds) {
            (Some(number), Some((low, high))) => (low..=high).contains(&number),
            _ => true,
        };
        value.filter(fits).ok_or_else(|| {
            let wanted = match bounds {
                Some((low, high)) => format!("{} from {low} to {high}", Self::KIND),
                None => Self::KIND.to_owned(),
            };
            format!("wants {wanted}, found {}", raw.describe())
        })
    }
}

macro_rules! whole_numbers {
    ($($type:ty)*) => {$(
        impl Value for $type {
            const KIND: &'static str = "a whole number";

            fn from_toml(value: &Toml) -> Option<Self> {
                value.as_integer().and_then(|number| Self::try_from(number).ok())
            }

            fn from_text(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }

            fn to_toml(&self) -> Toml {
                i64::try_from(*self).expect("bounds keep settings below 2^63").into()
            }

            fn number(&self) -> Option<u64> {
                Some(u64::from(*self))
            }
        }
    )*};
}

whole_numbers!(u16 u32 u64);

impl Value for bool {
    const KIND: &'static str = "true or false";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_bool()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_toml(&self) -> Toml {
        (*self).into()
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "an address and port such as \"127.0.0.1:7700\" (port 0: any free one)";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_toml(&self) -> Toml {
        self.to_string().into()
    }
}

/// The name of a process in its cluster; none when it was left empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(pub Option<NodeId>);

impl Value for Named {
    const KIND: &'static str = "a name of 1 to 64 letters a-z, digits and dashes, such as \"node-1\"";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        match text.trim() {
            "" => Some(Self(None)),
            name => NodeId::parse(name).ok().map(|name| Self(Some(name))),
        }
    }

    fn to_toml(&self) -> Toml {
        self.0.as_ref().map_or("", NodeId::as_str).into()
    }
}

impl Value for Keyspace {
    const KIND: &'static str = "a path of a-z, 0-9 and dashes that begins with a slash and does not end with one, such as \"/tiltyard\"";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text.trim()).ok()
    }

    fn to_toml(&self) -> Toml {
        self.as_str().into()
    }
}

/// The address that players are told instead of the one that is listened on; none when it was left empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised(pub Option<IpAddr>);

impl Value for Advertised {
    const KIND: &'static str = "an address without a port, such as \"203.0.113.7\"";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        let address = match text.trim() {
            "" => None,
            text => Some(text.parse::<IpAddr>().ok()?),
        };
        address.is_none_or(|address| !address.is_unspecified()).then_some(Self(address))
    }

    fn to_toml(&self) -> Toml {
        self.0.map(|address| address.to_string()).unwrap_or_default().into()
    }
}

impl Value for Vec<String> {
    const KIND: &'static str = "a list of texts";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// In a variable or a flag the items stand with commas between them; empty text is the empty list.
    fn from_text(text: &str) -> Option<Self> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Some(items.map(str::to_owned).collect())
    }

    fn to_toml(&self) -> Toml {
        Toml::Array(self.iter().map(String::as_str).collect())
    }
}

/// A path. Relative ones start at the folder that the program is started in; the empty one stands for a default
/// that the setting's documentation names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(PathBuf);

impl Place {
    /// The place with this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path, or none when it was left empty.
    pub fn path(&self) -> Option<&Path> {
        (!self.0.as_os_str().is_empty()).then_some(&*self.0)
    }
}

impl Value for Place {
    const KIND: &'static str = "a path";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        (!text.contains('\0')).then(|| Self(text.into()))
    }

    fn to_toml(&self) -> Toml {
        // Settings come from UTF-8 text, so nothing is lost here.
        self.0.to_string_lossy().as_ref().into()
    }
}

/// A path to a file with secrets in it: refused when others than its owner and group may read or write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlace(pub Place);

impl Value for SecretPlace {
    const KIND: &'static str = Place::KIND;
    const SECRET_FILE: bool = true;

    fn from_toml(value: &Toml) -> Option<Self> {
        Place::from_toml(value).map(Self)
    }

    fn from_text(text: &str) -> Option<Self> {
        Place::from_text(text).map(Self)
    }

    fn to_toml(&self) -> Toml {
        self.0.to_toml()
    }
}

/// Which log lines are written: a level, or levels by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter's text, which was checked to be one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for LogFilter {
    const KIND: &'static str = "a log filter such as \"info\" or \"warn,tiltyard_netcode=debug\"";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        // The library takes any lone word for a module's name, so that `log = "inof"` would silence everything.
        let level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let known = |word: &str| match word.split_once('=') {
            Some((module, rest)) => !module.is_empty() && module.chars().all(letter) && level(rest),
            None => level(word),
        };
        let good = text.split(',').all(known) && text.parse::<Targets>().is_ok();
        good.then(|| Self(text.to_owned()))
    }

    fn to_toml(&self) -> Toml {
        self.0.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Value>(text: &str, bounds: Option<(u64, u64)>) -> Result<T, String> {
        T::read(Raw::Text(text), bounds)
    }

    #[test]
    fn bounds_hold_on_both_edges() {
        let bounds = Some((1, 240));
        assert_eq!(text::<u16>("1", bounds), Ok(1));
        assert_eq!(text::<u16>("240", bounds), Ok(240));
        for outside in ["0", "241", "-1", "65536", "1.5", "", "thirty"] {
            let message = text::<u16>(outside, bounds).unwrap_err();
            assert_eq!(message, format!("wants a whole number from 1 to 240, found \"{outside}\""));
        }
    }

    #[test]
    fn truth_is_said_in_two_words() {
        assert_eq!((text::<bool>("true", None), text::<bool>(" false ", None)), (Ok(true), Ok(false)));
        let quoted: Toml = "\"true\"".parse().unwrap();
        assert_eq!(
            bool::read(Raw::Toml(&quoted), None),
            Err("wants true or false, found the text \"true\"".into())
        );
        assert_eq!(text::<bool>("yes", None), Err("wants true or false, found \"yes\"".into()));
    }

    #[test]
    fn what_players_are_told_leads_somewhere() {
        let told = |address: &str| text::<Advertised>(address, None).map(|told| told.0);
        assert_eq!(told(""), Ok(None));
        assert_eq!(told(" 2001:db8::1 "), Ok(Some("2001:db8::1".parse().unwrap())));
        for nowhere in ["0.0.0.0", "::", "203.0.113.7:1", "localhost"] {
            assert!(told(nowhere).is_err(), "{nowhere}");
        }
    }

    #[test]
    fn long_and_strange_text_is_shortened_in_messages() {
        let message = text::<u16>(&format!("a\n{}", "b".repeat(1_000)), None).unwrap_err();
        assert_eq!(message, format!("wants a whole number, found \"a·{}…\"", "b".repeat(38)));
    }

    #[test]
    fn log_filters_are_levels_not_any_word() {
        for good in ["info", "warn,tiltyard_netcode=debug", "off", "TRACE"] {
            assert_eq!(LogFilter::from_text(good).map(|filter| filter.0), Some(good.to_owned()));
        }
        for bad in ["inof", "", "info,tiltyard=loud", "=", "info, tiltyard=debug"] {
            assert_eq!(LogFilter::from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_come_from_commas_or_arrays() {
        assert_eq!(text::<Vec<String>>("a, b,,", None).unwrap(), ["a", "b"]);
        assert_eq!(text::<Vec<String>>("", None).unwrap(), Vec::<String>::new());
        let array: Toml = "[\"a\", 1]".parse().unwrap();
        assert_eq!(
            <Vec<String>>::read(Raw::Toml(&array), None),
            Err("wants a list of texts, found a list".into())
        );
    }
}
