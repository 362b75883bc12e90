//! Forms of data in listings: readable text, and JSON that loses nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zk_proto::acl::AclBytes;

/// Data as a person reads it: text if it is text, else its length and base64.
pub(super) fn data(data: Option<&[u8]>) -> String {
    match data {
        None => "null".into(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => {
                format!("{text:?}")
            }
            _ => format!("{} bytes, base64 {}", bytes.len(), STANDARD.encode(bytes)),
        },
    }
}

/// Data in JSON: null, or base64.
pub(super) fn data_json(data: Option<&[u8]>) -> Value {
    data.map_or(Value::Null, |bytes| STANDARD.encode(bytes).into())
}

/// `world:anyone:cdrwa,...`; hashes of the digest scheme are cut unless `secrets` is set.
pub(super) fn acl(list: AclBytes<'_>, secrets: bool) -> String {
    let masked = if secrets {
        list.as_bytes().to_vec()
    } else {
        zk_tree::auth::mask_digests(list.as_bytes())
    };
    let Ok(list) = AclBytes::parse(&masked) else { return "unreadable".into() };
    let entries = list.iter().map(|entry| {
        let part = |text: Option<&str>| text.unwrap_or("null").to_owned();
        format!("{}:{}:{}", part(entry.scheme.as_deref()), part(entry.id.as_deref()), entry.perms)
    });
    entries.collect::<Vec<_>>().join(",")
}

/// A number as Apache prints zxids and sessions.
pub(super) fn hex(number: i64) -> Value {
    json!(format!("0x{number:x}"))
}

/// ms since the Unix epoch as a time in UTC, always as wide: what follows stands in columns.
pub(super) fn time(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms);
    time.map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_as_wide_as_each_other() {
        assert_eq!(super::time(1_795_367_742_120), "2026-11-22T17:15:42.120Z");
        assert_eq!(super::time(1_795_367_742_000), "2026-11-22T17:15:42.000Z");
        assert_eq!(super::time(i64::MAX), i64::MAX.to_string());
    }
}
