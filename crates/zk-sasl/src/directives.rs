//! The `name=value` lists of DIGEST-MD5 (RFC 2831, section 7.1).

/// Names in small letters, and values without quotes.
type Directives = Vec<(String, Vec<u8>)>;

/// The value of a directive that is there.
pub(crate) fn get<'a>(all: &'a Directives, name: &str) -> Option<&'a [u8]> {
    all.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
}

/// A value in quotes.
pub(crate) fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The directives of a message, in order; `None` when the form is wrong.
pub(crate) fn parse(message: &[u8]) -> Option<Directives> {
    let mut out = Directives::new();
    let mut rest = message;
    loop {
        rest = skip(rest, |byte| is_blank(byte) || byte == b',');
        if rest.is_empty() {
            return Some(out);
        }
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let name = std::str::from_utf8(rest[..equals].trim_ascii()).ok()?.to_ascii_lowercase();
        let (value, after) = value(skip(&rest[equals + 1..], is_blank))?;
        rest = skip(after, is_blank);
        let ends = rest.first().is_none_or(|byte| *byte == b',');
        // A directive that comes twice could be read one way here and another way elsewhere.
        let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.is_empty() || !is_token || !ends || out.iter().any(|(known, _)| *known == name) {
            return None;
        }
        out.push((name, value));
    }
}

/// A value and what follows it.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| is_blank(*byte) || *byte == b',');
        let (value, after) = text.split_at(end.unwrap_or(text.len()));
        return Some((value.to_vec(), after));
    };
    let mut out = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((out, &quoted[at + 1..])),
            b'\\' => out.push(*bytes.next()?.1),
            other => out.push(*other),
        }
    }
    None
}

fn skip(text: &[u8], skipped: impl Fn(u8) -> bool) -> &[u8] {
    let len = text.iter().take_while(|byte| skipped(**byte)).count();
    &text[len..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_bare_or_quoted() {
        let all = parse(b"a=1, b=\"x,\\\"y\\\\\" ,,C = utf-8,d=\"\"").unwrap();
        let all = all.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let wanted: [(&str, &[u8]); 4] =
            [("a", b"1"), ("b", b"x,\"y\\"), ("c", b"utf-8"), ("d", b"")];
        assert_eq!(all.collect::<Vec<_>>(), wanted);
        assert_eq!(parse(b""), Some(vec![]));
    }

    #[test]
    fn what_was_quoted_is_read_again() {
        let text = format!("a={}", quoted("x\\\"y, z"));
        assert_eq!(get(&parse(text.as_bytes()).unwrap(), "a"), Some(&b"x\\\"y, z"[..]));
    }

    #[test]
    fn wrong_forms_are_refused() {
        for text in ["a", "=1", "a=\"x", "a=\"x\\", "a=1,a=2", "a=\"x\"y", "a=1 2"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
