//! Users of SASL DIGEST-MD5, in a file of the JAAS form that Apache's operators have:
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_super="adminsecret"
//!     user_bob="bobsecret";
//! };
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use super::super::Secret;

/// Names with their passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, Secret>);

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not have the form.
    #[error(
        "{path}:{line}: {why}; a section looks like: Server {{ Module required user_a=\"b\"; }};"
    )]
    Form {
        /// The file.
        path: String,
        /// From 1.
        line: u32,
        /// What was found.
        why: &'static str,
    },
    /// The section is not there, or names nobody.
    #[error(
        "{path}: section {section} names no user; add it, with entries like user_bob=\"secret\""
    )]
    Nobody {
        /// The file.
        path: String,
        /// The section.
        section: String,
    },
}

impl Users {
    /// Reads a section of a file.
    pub fn load(path: &Path, section: &str) -> Result<Users, UsersError> {
        let name = path.display().to_string();
        let text = std::fs::read(path)
            .map_err(|source| UsersError::Read { path: name.clone(), source })?;
        Users::parse(&name, &String::from_utf8_lossy(&text), section)
    }

    /// The same for text in memory; `name` is for errors.
    pub fn parse(name: &str, text: &str, section: &str) -> Result<Users, UsersError> {
        let mut words = Words { rest: text, line: 1 };
        let form = |(line, why)| UsersError::Form { path: name.to_owned(), line, why };
        let users = read_sections(&mut words, section).map_err(form)?;
        if users.0.is_empty() {
            let section = section.to_owned();
            return Err(UsersError::Nobody { path: name.to_owned(), section });
        }
        Ok(users)
    }

    /// Replaces the password of a user who exists; Apache's
    /// `SASLAuthenticationProvider.superPassword` does so for `super`.
    pub fn set_password(&mut self, user: &str, password: Secret) {
        if let Some(known) = self.0.get_mut(user) {
            *known = password;
        }
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, user: &str) -> Option<&Secret> {
        self.0.get(user)
    }
}

type FormError = (u32, &'static str);

/// Reads all sections and keeps the users of one.
fn read_sections(words: &mut Words<'_>, wanted: &str) -> Result<Users, FormError> {
    let mut users = Users::default();
    while let Some(name) = words.next()? {
        let Word::Text(name) = name else {
            return Err(words.fail("the name of a section was expected"));
        };
        words.expect('{', "a section must start with {")?;
        // Modules, each with its class, a flag and options, up to a semicolon.
        loop {
            match words.next()? {
                Some(Word::Sign('}')) => break,
                Some(Word::Text(_class)) => {}
                _ => return Err(words.fail("a module or } was expected")),
            }
            let Some(Word::Text(_flag)) = words.next()? else {
                return Err(words.fail("a flag such as required was expected"));
            };
            read_options(words, name == wanted, &mut users)?;
        }
        words.expect(';', "a section must end with };")?;
    }
    Ok(users)
}

fn read_options(words: &mut Words<'_>, wanted: bool, users: &mut Users) -> Result<(), FormError> {
    loop {
        let option = match words.next()? {
            Some(Word::Sign(';')) => return Ok(()),
            Some(Word::Text(option)) => option,
            _ => return Err(words.fail("an option or ; was expected")),
        };
        words.expect('=', "an option must have the form name=\"value\"")?;
        let Some(Word::Text(value)) = words.next()? else {
            return Err(words.fail("the value of an option was expected"));
        };
        if let Some(user) = option.strip_prefix("user_").filter(|_| wanted) {
            users.0.insert(user.to_owned(), Secret::new(value));
        }
    }
}

enum Word {
    /// One of `{ } ; =`.
    Sign(char),
    /// A word or a quoted text.
    Text(String),
}

/// Cuts JAAS text as Java's `StreamTokenizer` does.
struct Words<'a> {
    rest: &'a str,
    line: u32,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<Word>, FormError> {
        self.skip_blank()?;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        match first {
            '{' | '}' | ';' | '=' => {
                self.advance(1);
                Ok(Some(Word::Sign(first)))
            }
            '"' | '\'' => self.quoted(first).map(|text| Some(Word::Text(text))),
            _ => {
                let is_end = |c: char| c.is_whitespace() || "{};=\"'".contains(c);
                let len = self.rest.find(is_end).unwrap_or(self.rest.len());
                let word = self.rest[..len].to_owned();
                self.advance(len);
                Ok(Some(Word::Text(word)))
            }
        }
    }

    fn expect(&mut self, sign: char, why: &'static str) -> Result<(), FormError> {
        match self.next()? {
            Some(Word::Sign(found)) if found == sign => Ok(()),
            _ => Err(self.fail(why)),
        }
    }

    fn fail(&self, why: &'static str) -> FormError {
        (self.line, why)
    }

    fn advance(&mut self, len: usize) {
        self.line += self.rest[..len].matches('\n').count() as u32;
        self.rest = &self.rest[len..];
    }

    fn skip_blank(&mut self) -> Result<(), FormError> {
        loop {
            let rest = self.rest;
            let len = if rest.starts_with(char::is_whitespace) {
                rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())
            } else if rest.starts_with("//") || rest.starts_with('#') {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").ok_or((self.line, "a comment has no end"))? + 2
            } else {
                return Ok(());
            };
            self.advance(len);
        }
    }

    /// A text in quotes, on one line, with the escapes of `StreamTokenizer`.
    fn quoted(&mut self, quote: char) -> Result<String, FormError> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                '\\' => match chars.next() {
                    None => break,
                    Some((_, digit @ '0'..='7')) => {
                        let mut code = digit as u32 - '0' as u32;
                        let most = if digit <= '3' { 2 } else { 1 };
                        for _ in 0..most {
                            let Some((_, next @ '0'..='7')) = chars.peek().copied() else { break };
                            code = code * 8 + next as u32 - '0' as u32;
                            chars.next();
                        }
                        out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    Some((_, escaped)) => out.push(unescape(escaped)),
                },
                c if c == quote => {
                    self.advance(at + 1);
                    return Ok(out);
                }
                other => out.push(other),
            }
        }
        Err(self.fail("a quoted text has no end"))
    }
}

fn unescape(c: char) -> char {
    match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &[(&str, &str)]) {
        let users = Users::parse("jaas", text, "Server").unwrap();
        let got = users.0.iter();
        let got = got.map(|(name, secret)| (name.as_str(), secret.expose()));
        let wanted = wanted.iter().map(|(name, secret)| (*name, secret.as_bytes()));
        assert_eq!(got.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }

    #[test]
    fn users_of_the_section_are_found() {
        check(
            "/* ours */ Client { x.Y required username=\"bob\" password=\"p\"; };\n\
             Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required // here\n\
             \x20 user_super=\"admin secret\"\n  user_bob='b\\\"o\\\\b\\101'\n  debug=true;\n};\n\
             Other { a.B optional user_eve=\"x\"; };",
            &[("bob", "b\"o\\bA"), ("super", "admin secret")],
        );
    }

    #[test]
    fn wrong_forms_are_told_with_their_line() {
        for (text, wanted) in [
            ("Server", "jaas:1: a section must start with {"),
            ("Server {\n x required\n user_a=;\n};", "jaas:3: the value of an option was expected"),
            ("Server {\n x required user_a=\"b\n;};", "jaas:2: a quoted text has no end"),
            ("Server { x required user_a=\"b\" };", "jaas:1: an option or ; was expected"),
            ("Server { x required; }\nMore", "jaas:2: a section must end with };"),
            ("/* x", "jaas:1: a comment has no end"),
            ("Client { x required user_a=b; };", "section Server names no user"),
        ] {
            let error = Users::parse("jaas", text, "Server").unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ S{}=;\"'/*#\\\\x0-9\n\u{e9}]{0,40}") {
            let _ = Users::parse("jaas", &text, "S");
        }
    }

    #[test]
    fn only_users_who_exist_get_another_password() {
        let mut users = Users::parse("jaas", "S { x y user_super=a; };", "S").unwrap();
        users.set_password("super", Secret::new("b"));
        users.set_password("eve", Secret::new("c"));
        assert_eq!(users.password("super"), Some(&Secret::new("b")));
        assert_eq!(users.password("eve"), None);
    }
}
