//! Stats, dates, data and ACLs as zkCli prints them, and as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use zk_client::OwnedAcl;
use zk_proto::acl::{self, Acl};
use zk_proto::{Perms, Stat};

use super::{Report, Trouble};

/// The stat block (`StatPrinter`).
pub(super) fn stat_block(report: Report, stat: &Stat) -> Report {
    report
        .line(format_args!("cZxid = {:#x}", stat.czxid))
        .line(format_args!("ctime = {}", java_date(stat.ctime)))
        .line(format_args!("mZxid = {:#x}", stat.mzxid))
        .line(format_args!("mtime = {}", java_date(stat.mtime)))
        .line(format_args!("pZxid = {:#x}", stat.pzxid))
        .line(format_args!("cversion = {}", stat.cversion))
        .line(format_args!("dataVersion = {}", stat.version))
        .line(format_args!("aclVersion = {}", stat.aversion))
        .line(format_args!("ephemeralOwner = {:#x}", stat.ephemeral_owner))
        .line(format_args!("dataLength = {}", stat.data_length))
        .line(format_args!("numChildren = {}", stat.num_children))
}

/// 64-bit ids are text: programs that read JSON numbers as floats would spoil them.
pub(super) fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": format!("{:#x}", stat.czxid),
        "mzxid": format!("{:#x}", stat.mzxid),
        "pzxid": format!("{:#x}", stat.pzxid),
        "ctime_ms": stat.ctime,
        "mtime_ms": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeral_owner": format!("{:#x}", stat.ephemeral_owner),
        "data_length": stat.data_length,
        "num_children": stat.num_children,
    })
}

/// `java.util.Date.toString` in the local time zone.
fn java_date(ms: i64) -> String {
    java_date_in(ms, TimeZone::system())
}

fn java_date_in(ms: i64, zone: TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(at) => at.to_zoned(zone).strftime("%a %b %d %H:%M:%S %Z %Y").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// Names as `[a, b]`.
pub(super) fn list(names: &[String]) -> String {
    format!("[{}]", names.join(", "))
}

/// How `get` shows data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Plain,
    Base64,
    Hexdump,
}

/// Null is shown as the word.
pub(super) fn data_text(data: Option<&[u8]>, shape: Shape) -> String {
    let data = data.unwrap_or(b"null");
    match shape {
        Shape::Plain => String::from_utf8_lossy(data).into_owned(),
        Shape::Base64 => BASE64.encode(data),
        Shape::Hexdump => hexdump(data),
    }
}

/// Text where it is text, else base64; null is null.
pub(super) fn data_json(data: Option<&[u8]>) -> Value {
    match data.map(|data| (str::from_utf8(data), data)) {
        None => json!({ "data": null }),
        Some((Ok(text), _)) => json!({ "data": text }),
        Some((Err(_), data)) => json!({ "data_base64": BASE64.encode(data) }),
    }
}

pub(super) fn from_base64(text: &str) -> Result<Vec<u8>, Trouble> {
    BASE64.decode(text).map_err(|e| Trouble::usage(format!("the data is not base64: {e}")))
}

/// Netty's `ByteBufUtil.prettyHexDump`, which zkCli uses; nothing for no bytes.
fn hexdump(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    let line = "-".repeat(49);
    let rule = format!("+--------+{line}+----------------+");
    let mut text = format!(
        "         +{line}+\n         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n{rule}"
    );
    for (at, row) in data.chunks(16).enumerate() {
        let hex = row.iter().map(|byte| format!(" {byte:02x}")).collect::<String>();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        let chars = row.iter().map(shown).collect::<String>();
        text.push_str(&format!("\n|{:08x}|{hex:<48} |{chars:<16}|", at * 16));
    }
    text.push('\n');
    text.push_str(&rule);
    text
}

/// `scheme:id:perms,...` (`AclParser`), encoded. Apache skips what it cannot read; a forgotten
/// entry can lock everybody out, so it is an error here.
pub(super) fn parse_acl(text: &str) -> Result<Vec<u8>, Trouble> {
    // Java's split drops what is empty at the end.
    let entries = text.trim_end_matches(',').split(',');
    let entries = entries.map(acl_entry).collect::<Result<Vec<_>, _>>()?;
    Ok(acl::encode(&entries))
}

fn acl_entry(text: &str) -> Result<Acl<'_>, Trouble> {
    let bad = |why: String| {
        Trouble::usage(why).hint("an ACL looks like world:anyone:r,digest:user:hash:cdrwa")
    };
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    let Some((id, letters)) = rest.rsplit_once(':') else {
        return Err(bad(format!("{text} does not have the form scheme:id:perm")));
    };
    let mut perms = Perms::default();
    for letter in letters.chars() {
        perms = perms.union(match letter {
            'r' => Perms::READ,
            'w' => Perms::WRITE,
            'c' => Perms::CREATE,
            'd' => Perms::DELETE,
            'a' => Perms::ADMIN,
            other => return Err(bad(format!("Unknown perm type: {other}"))),
        });
    }
    Ok(Acl::new(perms, scheme, id))
}

/// Two lines for each entry, as Java prints an `Id`.
pub(super) fn acl_lines(report: Report, entries: &[OwnedAcl]) -> Report {
    entries.iter().fold(report, |report, OwnedAcl { perms, scheme, id }| {
        report.line(format_args!("'{scheme},'{id}\n: {perms}"))
    })
}

pub(super) fn acl_json(entries: &[OwnedAcl]) -> Value {
    let entry = |entry: &OwnedAcl| json!({ "scheme": entry.scheme, "id": entry.id, "perms": entry.perms.to_string() });
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use zk_proto::acl::AclBytes;

    #[test]
    fn dates_are_javas() {
        let ms = 1_795_367_742_123;
        assert_eq!(java_date_in(ms, TimeZone::UTC), "Sun Nov 22 17:15:42 UTC 2026");
        assert_eq!(java_date_in(0, TimeZone::UTC), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(java_date_in(i64::MAX, TimeZone::UTC), format!("{} ms", i64::MAX));
    }

    #[test]
    fn hexdumps_are_nettys() {
        expect![[r#"
                     +-------------------------------------------------+
                     |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |
            +--------+-------------------------------------------------+----------------+
            |00000000| 61 20 6c 6f 6e 67 20 6c 69 6e 65 20 6f 66 20 74 |a long line of t|
            |00000010| 65 78 74 00 ff                                  |ext..           |
            +--------+-------------------------------------------------+----------------+"#]]
        .assert_eq(&hexdump(b"a long line of text\0\xff"));
        assert_eq!(hexdump(b""), "");
    }

    #[test]
    fn acls_are_read_whole_or_not_at_all() {
        assert_eq!(parse_acl("world:anyone:cdrwa").unwrap(), AclBytes::OPEN.as_bytes());
        assert_eq!(parse_acl("world:anyone:cdrwa,,").unwrap(), AclBytes::OPEN.as_bytes());
        for bad in ["", ",", "world:anyone:r,,world:anyone:w", ",world:anyone:r"] {
            assert!(parse_acl(bad).unwrap_err().message.contains("scheme:id:perm"), "{bad}");
        }
        let two = parse_acl("digest:u:h=:rw,ip:::1:r").unwrap();
        let two = AclBytes::parse(&two).unwrap().iter().collect::<Vec<_>>();
        assert_eq!(two[0], Acl::new(Perms(3), "digest", "u:h="));
        assert_eq!(two[1], Acl::new(Perms(1), "ip", "::1"));
        assert_eq!(
            parse_acl("world:anyone").unwrap_err().message,
            "world:anyone does not have the form scheme:id:perm"
        );
        assert_eq!(parse_acl("a:b:rx").unwrap_err().message, "Unknown perm type: x");
    }

    #[test]
    fn data_in_json_is_text_base64_or_null() {
        assert_eq!(data_json(Some(b"x")), json!({ "data": "x" }));
        assert_eq!(data_json(Some(b"\xff")), json!({ "data_base64": "/w==" }));
        assert_eq!(data_json(None), json!({ "data": null }));
        assert_eq!(data_text(None, Shape::Plain), "null");
    }
}
