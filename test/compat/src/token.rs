//! Words of a script line: bare, `"quoted"` or mixed as in `str:"a b"`. A quoted part knows the
//! escapes `\n \0 \" \\ \xNN \u{N}`; `\x` gives a byte, so that text can be invalid UTF-8. A `#`
//! outside quotes ends the line.

/// A word.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Token {
    /// What it says, escapes resolved.
    pub bytes: Vec<u8>,
    /// Whether any part was quoted; then it is never a keyword.
    pub quoted: bool,
}

impl Token {
    /// The word as text, if it is that and was not quoted.
    #[must_use]
    pub fn bare(&self) -> Option<&str> {
        if self.quoted { None } else { std::str::from_utf8(&self.bytes).ok() }
    }

    /// Whether it is this keyword.
    #[must_use]
    pub fn is(&self, keyword: &str) -> bool {
        self.bare() == Some(keyword)
    }

    /// Splits `key=value` or `key:value` at the first `separator`, if a plain name stands before.
    #[must_use]
    pub fn split_key(&self, separator: u8) -> Option<(&str, Token)> {
        let at = self.bytes.iter().position(|&b| b == separator)?;
        let (key, value) = self.bytes.split_at(at);
        let key = std::str::from_utf8(key).ok()?;
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric());
        plain.then(|| (key, Token { bytes: value[1..].to_vec(), quoted: self.quoted }))
    }

    /// The word for messages.
    #[must_use]
    pub fn show(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The words of a line.
pub fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut current: Option<Token> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' if current.is_none() => break,
            c if c.is_whitespace() => tokens.extend(current.take()),
            '"' => {
                let token = current.get_or_insert_default();
                token.quoted = true;
                quoted(&mut chars, &mut token.bytes)?;
            }
            c => push_char(&mut current.get_or_insert_default().bytes, c),
        }
    }
    tokens.extend(current);
    Ok(tokens)
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn quoted(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Result<(), String> {
    loop {
        match chars.next().ok_or("a quote is not closed")? {
            '"' => return Ok(()),
            '\\' => escape(chars, bytes)?,
            c => push_char(bytes, c),
        }
    }
}

fn escape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Result<(), String> {
    let bad = || String::from("an escape is one of \\n \\0 \\\" \\\\ \\xNN \\u{N}");
    match chars.next().ok_or_else(bad)? {
        'n' => bytes.push(b'\n'),
        '0' => bytes.push(0),
        c @ ('"' | '\\') => push_char(bytes, c),
        'x' => {
            let digits = chars.take(2).collect::<String>();
            bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| bad())?);
        }
        'u' => {
            let digits = chars.skip(1).take_while(|&c| c != '}').collect::<String>();
            let code = u32::from_str_radix(&digits, 16).map_err(|_| bad())?;
            push_char(bytes, char::from_u32(code).ok_or_else(bad)?);
        }
        _ => return Err(bad()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &str) -> Vec<(String, bool)> {
        tokens(line).unwrap().iter().map(|t| (t.show(), t.quoted)).collect()
    }

    #[test]
    fn words_quotes_and_comments() {
        assert_eq!(
            show(r#"  a create /p "x \"y\"" data=null # why"#),
            [
                ("a", false),
                ("create", false),
                ("/p", false),
                ("x \"y\"", true),
                ("data=null", false)
            ]
            .map(|(t, q)| (t.to_owned(), q))
        );
        assert!(tokens("\"open").is_err());
        assert!(tokens(r#""\q""#).is_err());
    }

    #[test]
    fn escapes_make_bytes() {
        let token = &tokens(r#"str:"/a\xff\u{1f600}\0""#).unwrap()[0];
        let (key, value) = token.split_key(b':').unwrap();
        assert_eq!(key, "str");
        assert_eq!(value.bytes, b"/a\xff\xf0\x9f\x98\x80\0");
    }

    #[test]
    fn a_path_is_not_a_key() {
        assert_eq!(tokens("/a=b").unwrap()[0].split_key(b'='), None);
    }
}
