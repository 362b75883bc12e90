//! JSON as Apache's AdminServer prints it: Jackson's indentation, `"key" : value`.

use std::fmt::Write;

use super::java;

/// A value; maps keep the order in which they were filled.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    /// A map of fixed keys.
    pub(super) fn map<const N: usize>(entries: [(&str, Json); N]) -> Json {
        Json::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The text of a value.
    pub(super) fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        // Writing to a String cannot fail, here and below.
        let _ = match self {
            Json::Null => write!(out, "null"),
            Json::Bool(value) => write!(out, "{value}"),
            Json::Int(value) => write!(out, "{value}"),
            Json::Real(value) => write!(out, "{}", java::double(*value)),
            Json::Text(text) => {
                quote(out, text);
                Ok(())
            }
            Json::List(items) if items.is_empty() => write!(out, "[ ]"),
            Json::Map(entries) if entries.is_empty() => write!(out, "{{ }}"),
            Json::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "[ " } else { ", " });
                    item.write(out, depth);
                }
                write!(out, " ]")
            }
            Json::Map(entries) => {
                let indent = "  ".repeat(depth + 1);
                for (at, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if at == 0 { "{\n" } else { ",\n" });
                    out.push_str(&indent);
                    quote(out, key);
                    out.push_str(" : ");
                    value.write(out, depth + 1);
                }
                write!(out, "\n{}}}", "  ".repeat(depth))
            }
        };
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Int(value)
    }
}

/// Figures of the server stay far below 2^63.
impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Int(value as i64)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Json {
        Json::Int(value.into())
    }
}

/// Jackson's escapes; control characters without a short form in upper case hex.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_jacksons() {
        let item = |n| Json::map([("a", Json::Int(n)), ("b", Json::map([("c", Json::Null)]))]);
        let value = Json::map([
            ("list", Json::List(vec![item(1), item(2)])),
            ("numbers", Json::List(vec![Json::Int(1), Json::Real(2.0)])),
            ("empty", Json::List(vec![])),
            ("nothing", Json::Map(vec![])),
            ("text", "a\"\\\n\u{1}<é>".into()),
        ]);
        let wanted = r#"{
  "list" : [ {
    "a" : 1,
    "b" : {
      "c" : null
    }
  }, {
    "a" : 2,
    "b" : {
      "c" : null
    }
  } ],
  "numbers" : [ 1, 2.0 ],
  "empty" : [ ],
  "nothing" : { },
  "text" : "a\"\\\n\u0001<é>"
}"#;
        assert_eq!(value.print(), wanted);
    }
}
