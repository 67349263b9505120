//! The token file: what a test client needs to join a battle, as text.
//!
//! ```text
//! tiltyard-token 1
//! token <512 hex digits>
//! secret <64 hex digits>
//! address 192.0.2.7:4000          one to 32 of these
//! ```
//! Empty lines and lines that start with `#` are skipped.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;

use super::{BattleToken, SessionSecret, TOKEN_LEN};
use crate::limits::ADDRESSES_MAX;

const FIRST_LINE: &str = "tiltyard-token 1";

/// A token with what goes with it: the session secret and where the battle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    /// The token.
    pub token: BattleToken,
    /// The secret that the token holds sealed.
    pub session_secret: SessionSecret,
    /// Where the node listens, best first; 1 to `ADDRESSES_MAX`.
    pub addresses: Vec<SocketAddr>,
}

/// Why a text is no token file; lines count from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TokenFileError {
    /// The first line is not that of a token file of version 1.
    #[error("the first line is not \"{FIRST_LINE}\"")]
    Version,
    /// A line that means nothing here.
    #[error("line {line}: expected token, secret or address")]
    Line {
        /// Which line.
        line: usize,
    },
    /// A value that does not parse.
    #[error("line {line}: {field} is malformed")]
    Malformed {
        /// Which line.
        line: usize,
        /// Which field.
        field: &'static str,
    },
    /// A field that stands twice.
    #[error("line {line}: {field} stands twice")]
    Twice {
        /// Which line.
        line: usize,
        /// Which field.
        field: &'static str,
    },
    /// A field that is not there.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// More addresses than a token file may hold.
    #[error("line {line}: more than {ADDRESSES_MAX} addresses")]
    TooMany {
        /// The line of the first address too many.
        line: usize,
    },
}

impl FromStr for TokenFile {
    type Err = TokenFileError;

    fn from_str(text: &str) -> Result<Self, TokenFileError> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index.saturating_add(1), line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(TokenFileError::Version);
        }
        let (mut token, mut secret, mut addresses) = (None, None, Vec::new());
        for (line, content) in lines {
            let (field, value) = content.split_once(' ').ok_or(TokenFileError::Line { line })?;
            match field {
                "token" => {
                    let bytes: [u8; TOKEN_LEN] =
                        from_hex(value).ok_or(TokenFileError::Malformed { line, field: "token" })?;
                    if token.replace(BattleToken(bytes)).is_some() {
                        return Err(TokenFileError::Twice { line, field: "token" });
                    }
                }
                "secret" => {
                    let bytes = from_hex(value).ok_or(TokenFileError::Malformed { line, field: "secret" })?;
                    if secret.replace(SessionSecret::from_bytes(bytes)).is_some() {
                        return Err(TokenFileError::Twice { line, field: "secret" });
                    }
                }
                "address" => {
                    let address =
                        value.parse().map_err(|_| TokenFileError::Malformed { line, field: "address" })?;
                    if addresses.len() == ADDRESSES_MAX {
                        return Err(TokenFileError::TooMany { line });
                    }
                    addresses.push(address);
                }
                _ => return Err(TokenFileError::Line { line }),
            }
        }
        if addresses.is_empty() {
            return Err(TokenFileError::Missing { field: "address" });
        }
        Ok(Self {
            token: token.ok_or(TokenFileError::Missing { field: "token" })?,
            session_secret: secret.ok_or(TokenFileError::Missing { field: "secret" })?,
            addresses,
        })
    }
}

/// The text form, secret included: this is what is written to the file, never to a log.
impl fmt::Display for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "token {}", to_hex(self.token.as_bytes()))?;
        writeln!(f, "secret {}", to_hex(self.session_secret.as_bytes()))?;
        for address in &self.addresses {
            writeln!(f, "address {address}")?;
        }
        Ok(())
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let high = char::from(*high).to_digit(16)?;
        let low = char::from(*low).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(addresses: usize) -> String {
        let mut text = format!("{FIRST_LINE}\ntoken {}\nsecret {}\n", "ab".repeat(256), "cd".repeat(32));
        for port in 0..addresses {
            text += &format!("address 127.0.0.1:{}\n", 4_000 + port);
        }
        text
    }

    #[test]
    fn text_and_back_is_the_same() {
        let parsed: TokenFile = file(2).parse().unwrap();
        assert_eq!(parsed.to_string(), file(2));
        assert_eq!(parsed.to_string().parse(), Ok(parsed));
    }

    #[test]
    fn b24_a_file_holds_one_to_32_addresses() {
        assert_eq!(file(0).parse::<TokenFile>(), Err(TokenFileError::Missing { field: "address" }));
        assert_eq!(file(1).parse::<TokenFile>().unwrap().addresses.len(), 1);
        assert_eq!(file(32).parse::<TokenFile>().unwrap().addresses.len(), 32);
        assert_eq!(file(33).parse::<TokenFile>(), Err(TokenFileError::TooMany { line: 36 }));
    }

    #[test]
    fn every_malformed_line_is_named() {
        let check = |text: &str, expected: TokenFileError| {
            assert_eq!(text.parse::<TokenFile>(), Err(expected), "{text}");
        };
        check("", TokenFileError::Version);
        check("tiltyard-token 2", TokenFileError::Version);
        check(
            &file(1).replace("token abab", "token zbab"),
            TokenFileError::Malformed { line: 2, field: "token" },
        );
        check(
            &file(1).replace("secret cd", "secret "),
            TokenFileError::Malformed { line: 3, field: "secret" },
        );
        check(&(file(1) + "address nowhere"), TokenFileError::Malformed { line: 5, field: "address" });
        check(&(file(1) + "color blue"), TokenFileError::Line { line: 5 });
        check(&(file(1) + "token " + &"ab".repeat(256)), TokenFileError::Twice { line: 5, field: "token" });
        check("tiltyard-token 1\naddress [::1]:5", TokenFileError::Missing { field: "token" });
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let parsed: TokenFile = file(1).parse().unwrap();
        assert!(!format!("{parsed:?}").contains("205"), "{parsed:?}");
    }
}
