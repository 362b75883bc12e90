//! Answers as text. The lists that come in no order (children, ephemerals, identities) are sorted.

use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectResponse;
use zk_proto::password::{self, NO_PASSWORD};
use zk_proto::request::MultiHeader;
use zk_proto::response::{ReplyHeader, WhoAmIResponse};
use zk_proto::watch::{EventType, STATE_SYNC_CONNECTED, WatcherEvent};
use zk_proto::{DecodeError, ErrorCode, Jute, OpCode, Reader, Stat, Text};

use crate::symbols::Symbols;

/// Data longer than this is shown as a length and a sum.
const SHOWN_BYTES: usize = 100;

/// Bytes in quotes.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_BYTES {
        // FNV-1a tells any two blobs of a test apart.
        let step = |h: u32, b: &u8| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193);
        return format!(
            "<{} bytes, sum {:08x}>",
            bytes.len(),
            bytes.iter().fold(0x811c_9dc5, step)
        );
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// A path, in quotes only if it is not plain.
#[must_use]
pub fn path(path: &str) -> String {
    let plain = !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if plain { path.to_owned() } else { quote(path.as_bytes()) }
}

/// Data or null.
#[must_use]
pub fn data(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), quote)
}

/// Hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_BYTES {
        return quote(bytes);
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `ok`, or the number and Apache's name.
#[must_use]
pub fn error(code: i32) -> String {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::Ok) => "ok".to_owned(),
        Some(known) => format!("{code} {}", known.name()),
        None => format!("{code} unknown"),
    }
}

/// An ACL as `[scheme:id:perms ...]`, in its own order.
#[must_use]
pub fn acl(acl: AclBytes<'_>) -> String {
    let text = |t: Option<Text<'_>>| t.map_or_else(|| "null".to_owned(), |t| path(&t));
    let entries = acl.iter().map(|entry| {
        let perms = if (0..32).contains(&entry.perms.0) {
            entry.perms.to_string()
        } else {
            entry.perms.0.to_string()
        };
        format!("{}:{}:{perms}", text(entry.scheme), text(entry.id))
    });
    format!("[{}]", entries.collect::<Vec<_>>().join(" "))
}

fn sorted(names: Vec<Text<'_>>) -> String {
    let mut names = names.iter().map(|name| path(name)).collect::<Vec<_>>();
    names.sort();
    format!("[{}]", names.join(" "))
}

/// Whether a frame is the answer to a handshake; a reply with a xid, zxid and error that happen to
/// look like one does not occur.
#[must_use]
pub fn is_handshake(frame: &[u8]) -> bool {
    matches!(frame.len(), 36 | 37) && frame[..4] == [0; 4] && frame[16..20] == [0, 0, 0, 16]
}

/// The answer to a handshake.
#[must_use]
pub fn handshake(frame: &[u8], symbols: &Symbols) -> String {
    let mut r = Reader::new(frame);
    let response = match ConnectResponse::read(&mut r) {
        Ok(response) if r.is_empty() => response,
        _ => return format!("no handshake: {}", hex(frame)),
    };
    let password = match response.password {
        NO_PASSWORD => "zero",
        p if p == password::apache(response.session_id) => "apache",
        _ => "other",
    };
    let read_only = match response.read_only {
        None => "absent",
        Some(true) => "yes",
        Some(false) => "no",
    };
    format!(
        "session {} timeout={} protocol={} password={password} readonly={read_only}",
        symbols.session(response.session_id),
        response.timeout_ms,
        response.protocol_version,
    )
}

/// A notification, if the frame is one: its zxid and the line.
#[must_use]
pub fn event(frame: &[u8], symbols: &Symbols) -> Option<(i64, String)> {
    let mut r = Reader::new(frame);
    let header = ReplyHeader::read(&mut r).ok()?;
    let event = WatcherEvent::read(&mut r).ok()?;
    if header.xid != -1 || header.err != 0 || !r.is_empty() {
        return None;
    }
    let name = EventType::from_code(event.event_type)
        .map_or_else(|| event.event_type.to_string(), |kind| kind.name().to_owned());
    let mut line = format!("event {} {name} {}", symbols.zxid(header.zxid), path(&event.path));
    if event.state != STATE_SYNC_CONNECTED {
        line.push_str(&format!(" state={}", event.state));
    }
    Some((header.zxid, line))
}

/// The record after a reply's header: what follows on the same line, then further lines.
#[must_use]
pub fn body(
    op: i32,
    err: i32,
    bytes: &[u8],
    about_root: bool,
    symbols: &mut Symbols,
) -> Vec<String> {
    let mut r = Reader::new(bytes);
    let is_multi = matches!(OpCode::from_code(op), Some(OpCode::Multi | OpCode::MultiRead));
    if bytes.is_empty() {
        return vec![String::new()];
    }
    // Of the failures only a multi has a record to speak of.
    let lines = match (err, is_multi) {
        (_, true) => results(&mut r, symbols),
        (0, false) => record(op, &mut r, about_root, symbols).map(|line| vec![line]),
        _ => Ok(vec![format!("body={}", hex(r.rest()))]),
    };
    match lines {
        Ok(mut lines) if err == 0 || is_multi => {
            if !r.is_empty() {
                lines.push(format!("trailing={}", hex(r.rest())));
            }
            lines
        }
        Ok(lines) => lines,
        Err(why) => vec![format!("unreadable ({why}): {}", hex(bytes))],
    }
}

fn record(
    op: i32,
    r: &mut Reader<'_>,
    about_root: bool,
    symbols: &mut Symbols,
) -> Result<String, DecodeError> {
    let mut stat = |r: &mut Reader<'_>| Stat::read(r).map(|stat| symbols.stat(&stat, about_root));
    Ok(match OpCode::from_code(op) {
        Some(OpCode::Create | OpCode::Sync) => {
            r.text_or_null()?.map_or_else(|| "null".to_owned(), |p| path(&p))
        }
        Some(OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl) => {
            format!("{} {}", path(&r.text()?), stat(r)?)
        }
        Some(OpCode::Exists | OpCode::SetData | OpCode::SetAcl) => stat(r)?,
        Some(OpCode::GetData | OpCode::Reconfig) => format!("{} {}", data(r.buffer()?), stat(r)?),
        Some(OpCode::GetAcl) => format!("{} {}", acl(AclBytes::read(r)?), stat(r)?),
        Some(OpCode::GetChildren | OpCode::GetEphemerals) => sorted(Vec::read(r)?),
        Some(OpCode::GetChildren2) => format!("{} {}", sorted(Vec::read(r)?), stat(r)?),
        Some(OpCode::GetAllChildrenNumber | OpCode::AddWatch) => r.i32()?.to_string(),
        Some(OpCode::Sasl) => data(r.buffer()?),
        Some(OpCode::WhoAmI) => {
            let response = WhoAmIResponse::read(r)?;
            let mut ids = response
                .client_info
                .iter()
                .map(|info| format!("{}:{}", info.auth_scheme, info.user))
                .collect::<Vec<_>>();
            ids.sort();
            format!("[{}]", ids.join(" "))
        }
        _ => {
            let rest = r.take(r.rest().len())?;
            format!("body={}", hex(rest))
        }
    })
}

/// The results of a multi, one a line. No record at all shows differently from an empty one.
fn results(r: &mut Reader<'_>, symbols: &mut Symbols) -> Result<Vec<String>, DecodeError> {
    let mut lines = vec![String::new()];
    loop {
        let header = MultiHeader::read(r)?;
        if header.done {
            if lines.len() == 1 {
                lines.push("  no results".to_owned());
            }
            if header != MultiHeader::END {
                lines.push(format!("  end op={} err={}", header.op, header.err));
            }
            return Ok(lines);
        }
        let mut line = match OpCode::from_code(header.op) {
            Some(OpCode::Error) => format!("  error {}", error(r.i32()?)),
            Some(op @ (OpCode::Delete | OpCode::Check)) => format!("  {op}"),
            Some(op) => format!("  {op} {}", record(header.op, r, false, symbols)?),
            None => {
                return Err(DecodeError::Unknown { what: "result", value: header.op.into() });
            }
        };
        // The header repeats the code of the body, 0 on success.
        if !line.starts_with("  error") && header.err != 0 {
            line.push_str(&format!(" err={}", header.err));
        }
        lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::response::{MultiResponse, MultiResult};

    fn symbols() -> Symbols {
        Symbols::new(0, None)
    }

    #[test]
    fn bytes_are_shown_as_they_are() {
        assert_eq!(data(None), "null");
        assert_eq!(data(Some(b"a\"\0")), r#""a\"\0""#);
        assert_eq!(data(Some(b"\xff")), r#""\xff""#);
        assert_ne!(quote(&[1; 200]), quote(&[2; 200]));
        assert_eq!(path("/a"), "/a");
        assert_eq!(path("/a b"), "\"/a b\"");
    }

    #[test]
    fn a_multi_is_one_line_a_result() {
        let response = MultiResponse {
            results: vec![
                MultiResult::Create("/a".into()),
                MultiResult::Check,
                MultiResult::Error(-101),
            ],
        };
        let lines = body(14, 0, &response.to_bytes(), false, &mut symbols());
        assert_eq!(lines, ["", "  create /a", "  check", "  error -101 NoNode"]);
    }

    #[test]
    fn what_is_too_much_or_too_little_shows() {
        let lines = body(104, 0, &[0, 0, 0, 5, 9], false, &mut symbols());
        assert_eq!(lines, ["5", "trailing=09"]);
        let lines = body(104, 0, &[0], false, &mut symbols());
        assert!(lines[0].starts_with("unreadable"), "{lines:?}");
        assert_eq!(body(1, -110, &[7], false, &mut symbols()), ["body=07"]);
    }

    #[test]
    fn children_have_no_order() {
        let list = vec![Text::from("b"), Text::from("a")];
        assert_eq!(body(8, 0, &list.to_bytes(), false, &mut symbols()), ["[a b]"]);
    }
}
