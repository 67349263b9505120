//! The address of a service, which may hold a password that nothing shows.

use std::fmt;

use toml_edit::Value as Toml;

use super::value::Value;

/// What stands in place of a password.
const HIDDEN: &str = "***";

/// The address of a service; none when it was left empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// Whether one was given.
    pub fn is_given(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether it holds a password.
    pub fn has_password(&self) -> bool {
        self.to_string() != self.0
    }

    /// The address with its password.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without its password.
impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let hosts_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (hosts, path) = rest.split_at(hosts_end);
        // A password may hold an `@`; a host has none.
        let shown = match hosts.rsplit_once('@') {
            Some((user, hosts)) => match user.split_once(':') {
                Some((name, _)) => format!("{name}:{HIDDEN}@{hosts}"),
                None => format!("{user}@{hosts}"),
            },
            None => hosts.to_owned(),
        };
        if scheme.is_empty() { write!(f, "{shown}{path}") } else { write!(f, "{scheme}://{shown}{path}") }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Value for ServiceUrl {
    const KIND: &'static str =
        "the address of a service, such as \"mongodb://user:password@host:27017/tiltyard\"";

    fn from_toml(value: &Toml) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        // A printed configuration has lost the password; to go on with stars would be refused later and elsewhere.
        let whole = !text.contains(char::is_control) && !text.contains(&format!(":{HIDDEN}@"));
        whole.then(|| Self(text.to_owned()))
    }

    fn to_toml(&self) -> Toml {
        self.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_used_and_never_shown() {
        for (text, shown) in [
            ("", ""),
            ("mongodb://host", "mongodb://host"),
            ("mongodb://ada@host/", "mongodb://ada@host/"),
            ("mongodb://ada:secret@a:1,b:2/name?x=y@z", "mongodb://ada:***@a:1,b:2/name?x=y@z"),
            ("redis://:se@cret@host:1/2", "redis://:***@host:1/2"),
            ("ada:secret@host", "ada:***@host"),
        ] {
            let url = ServiceUrl::from_text(text).unwrap();
            assert_eq!(
                (url.as_str(), url.to_string(), format!("{url:?}")),
                (text, shown.into(), shown.into())
            );
            assert_eq!(url.to_toml().as_str(), Some(shown));
            assert_eq!(url.has_password(), text != shown);
        }
        assert_eq!(
            ServiceUrl::from_text("mongodb://ada:***@host"),
            None,
            "a printed one has lost its password"
        );
        assert_eq!(ServiceUrl::from_text("mongodb://ho\nst"), None);
    }
}
