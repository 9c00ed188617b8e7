//! Bytes in URLs.

use std::fmt;

/// Why a part of a URL can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextError {
    /// A `%` that two hexadecimal digits don't follow.
    Percent,
    /// A parameter that this path doesn't know.
    Unknown(String),
    /// A parameter that occurs twice.
    Twice(String),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Percent => f.write_str("a % in the URL must be followed by two hexadecimal digits"),
            TextError::Unknown(name) => write!(f, "the parameter `{name}` is unknown here"),
            TextError::Twice(name) => write!(f, "the parameter `{name}` occurs twice"),
        }
    }
}

/// The bytes that percent-encoded text stands for. In a query a plus is a space, in a path it's a plus.
///
/// # Errors
/// [`TextError::Percent`]
pub(super) fn decode(text: &str, plus_is_space: bool) -> Result<Vec<u8>, TextError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(TextError::Percent) };
                // Two hexadecimal digits: at most 255.
                (high * 16 + low) as u8
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Ok(bytes)
}

/// The parameters of a query, which must be among `known`: for each its bytes, where it occurs.
///
/// # Errors
/// One is unknown, occurs twice, or can't be decoded.
pub(super) fn query<const N: usize>(
    text: Option<&str>,
    known: [&str; N],
) -> Result<[Option<Vec<u8>>; N], TextError> {
    let mut values = [const { None }; N];
    for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, true)?;
        let slot = known.iter().zip(&mut values).find(|(known, _)| known.as_bytes() == name);
        let Some((known, slot)) = slot else {
            return Err(TextError::Unknown(String::from_utf8_lossy(&name).into_owned()));
        };
        if slot.replace(decode(value, true)?).is_some() {
            return Err(TextError::Twice((*known).to_string()));
        }
    }
    Ok(values)
}

/// Bytes for a person: what isn't printable ASCII is escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(64)];
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_can_be_said() {
        assert_eq!(decode("a%2Fb%00%ff+", false), Ok(b"a/b\0\xff+".to_vec()));
        assert_eq!(decode("a+b%2b", true), Ok(b"a b+".to_vec()));
        for wrong in ["%", "%1", "%g0", "%0g", "a%%41", "%é"] {
            assert_eq!(decode(wrong, false), Err(TextError::Percent), "{wrong}");
        }
    }

    #[test]
    fn a_query_is_strict() {
        let known = ["key", "value"];
        assert_eq!(query(None, known), Ok([None, None]));
        assert_eq!(query(Some("value=&key=a%3Db=c"), known), Ok([Some(b"a=b=c".to_vec()), Some(vec![])]));
        assert_eq!(query(Some("key"), known), Ok([Some(vec![]), None]));
        assert_eq!(query(Some("keys=1"), known), Err(TextError::Unknown("keys".into())));
        assert_eq!(query(Some("key=1&key=1"), known), Err(TextError::Twice("key".into())));
        assert_eq!(query(Some("key=%"), known), Err(TextError::Percent));
    }
}
