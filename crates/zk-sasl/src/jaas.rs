//! Files of the JAAS form, as Apache's operators have them:
//!
//! ```text
//! Server {
//!     org.apache.zookeeper.server.auth.DigestLoginModule required
//!     user_super="adminsecret"
//!     user_bob="bobsecret";
//! };
//! ```

use crate::Secret;

/// The sections of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jaas {
    path: String,
    sections: Vec<Section>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Section {
    name: String,
    modules: Vec<Module>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Module {
    class: String,
    options: Vec<(String, Secret)>,
}

/// Why a file does not say what it should.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JaasError {
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
    /// The section is not there.
    #[error("{path}: there is no section {section}; add it")]
    NoSection {
        /// The file.
        path: String,
        /// Its name.
        section: String,
    },
    /// What a section is for is not in it.
    #[error("{path}: section {section} {lack}")]
    Lacks {
        /// The file.
        path: String,
        /// The section.
        section: String,
        /// What is missing, and an example.
        lack: &'static str,
    },
    /// A section asks for another mechanism.
    #[error(
        "{path}: section {section} names the module {class}; only DigestLoginModule (DIGEST-MD5) can \
         be had, and no Kerberos (GSSAPI)"
    )]
    Module {
        /// The file.
        path: String,
        /// The section.
        section: String,
        /// The module.
        class: String,
    },
}

/// The end of the name of the one module that there is.
const DIGEST_MODULE: &str = "DigestLoginModule";

impl Jaas {
    /// Reads the text of a file; `path` is for errors.
    ///
    /// # Errors
    /// Where it does not have the form.
    pub fn parse(path: &str, text: &str) -> Result<Jaas, JaasError> {
        let mut words = Words { rest: text, line: 1 };
        let form = |(line, why)| JaasError::Form { path: path.to_owned(), line, why };
        let sections = read_sections(&mut words).map_err(form)?;
        Ok(Jaas { path: path.to_owned(), sections })
    }

    /// Whether there is a section of this name.
    #[must_use]
    pub fn has(&self, section: &str) -> bool {
        self.sections.iter().any(|found| found.name == section)
    }

    /// Checks that a section asks for DIGEST-MD5 and nothing else.
    ///
    /// # Errors
    /// If it asks for another mechanism, or is not there.
    pub fn must_be_digest(&self, section: &str) -> Result<(), JaasError> {
        let other = self.modules(section)?.find(|module| !module.class.ends_with(DIGEST_MODULE));
        match other {
            None => Ok(()),
            Some(module) => Err(JaasError::Module {
                path: self.path.clone(),
                section: section.to_owned(),
                class: module.class.clone(),
            }),
        }
    }

    /// All options of a section.
    pub(crate) fn options(
        &self,
        section: &str,
    ) -> Result<impl Iterator<Item = (&str, &Secret)>, JaasError> {
        let options = self.modules(section)?.flat_map(|module| &module.options);
        Ok(options.map(|(name, value)| (name.as_str(), value)))
    }

    pub(crate) fn lacks(&self, section: &str, lack: &'static str) -> JaasError {
        JaasError::Lacks { path: self.path.clone(), section: section.to_owned(), lack }
    }

    fn modules(&self, section: &str) -> Result<impl Iterator<Item = &Module>, JaasError> {
        if !self.has(section) {
            let (path, section) = (self.path.clone(), section.to_owned());
            return Err(JaasError::NoSection { path, section });
        }
        let of_it = self.sections.iter().filter(move |found| found.name == section);
        Ok(of_it.flat_map(|section| &section.modules))
    }
}

type FormError = (u32, &'static str);

fn read_sections(words: &mut Words<'_>) -> Result<Vec<Section>, FormError> {
    let mut sections = Vec::new();
    while let Some(name) = words.next()? {
        let Word::Text(name) = name else {
            return Err(words.fail("the name of a section was expected"));
        };
        words.expect('{', "a section must start with {")?;
        // Modules, each with its class, a flag and options, up to a semicolon.
        let mut modules = Vec::new();
        loop {
            let class = match words.next()? {
                Some(Word::Sign('}')) => break,
                Some(Word::Text(class)) => class,
                _ => return Err(words.fail("a module or } was expected")),
            };
            let Some(Word::Text(_flag)) = words.next()? else {
                return Err(words.fail("a flag such as required was expected"));
            };
            modules.push(Module { class, options: read_options(words)? });
        }
        words.expect(';', "a section must end with };")?;
        sections.push(Section { name, modules });
    }
    Ok(sections)
}

fn read_options(words: &mut Words<'_>) -> Result<Vec<(String, Secret)>, FormError> {
    let mut options = Vec::new();
    loop {
        let name = match words.next()? {
            Some(Word::Sign(';')) => return Ok(options),
            Some(Word::Text(name)) => name,
            _ => return Err(words.fail("an option or ; was expected")),
        };
        words.expect('=', "an option must have the form name=\"value\"")?;
        let Some(Word::Text(value)) = words.next()? else {
            return Err(words.fail("the value of an option was expected"));
        };
        options.push((name, Secret::new(value)));
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

    #[test]
    fn wrong_forms_are_told_with_their_line() {
        for (text, wanted) in [
            ("Server", "jaas:1: a section must start with {"),
            ("Server {\n x required\n user_a=;\n};", "jaas:3: the value of an option was expected"),
            ("Server {\n x required user_a=\"b\n;};", "jaas:2: a quoted text has no end"),
            ("Server { x required user_a=\"b\" };", "jaas:1: an option or ; was expected"),
            ("Server { x required; }\nMore", "jaas:2: a section must end with };"),
            ("/* x", "jaas:1: a comment has no end"),
        ] {
            let error = Jaas::parse("jaas", text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_section_may_ask_for_digests_only() {
        let text = "A { a.b.DigestLoginModule required x=y; };\n\
                    B { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };";
        let jaas = Jaas::parse("jaas", text).unwrap();
        assert_eq!(jaas.must_be_digest("A"), Ok(()));
        let error = jaas.must_be_digest("B").unwrap_err().to_string();
        assert!(
            error.contains(
                "section B names the module com.sun.security.auth.module.Krb5LoginModule"
            )
        );
        let error = jaas.must_be_digest("C").unwrap_err().to_string();
        assert_eq!(error, "jaas: there is no section C; add it");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ S{}=;\"'/*#\\\\x0-9\n\u{e9}]{0,40}") {
            let _ = Jaas::parse("jaas", &text);
        }
    }
}
