//! Requests as a table: name, number, fields in the order of the wire (client-protocol 3).

use zk_proto::jute::{put_buffer, put_text};

use crate::token::Token;

/// Part of a message. A zxid is known only when the case runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Bytes as they go out.
    Bytes(Vec<u8>),
    /// So many transactions after the start of the case.
    Zxid(i64),
}

/// Bytes of a message in the making.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Body(pub Vec<Part>);

impl Body {
    /// Where the next bytes go.
    pub fn out(&mut self) -> &mut Vec<u8> {
        if !matches!(self.0.last(), Some(Part::Bytes(_))) {
            self.0.push(Part::Bytes(Vec::new()));
        }
        match self.0.last_mut() {
            Some(Part::Bytes(bytes)) => bytes,
            _ => unreachable!("bytes were pushed just now"),
        }
    }

    /// The bytes, for a case that began after transaction `base`.
    #[must_use]
    pub fn bytes(&self, base: i64) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Zxid(offset) => out.extend_from_slice(&(base + offset).to_be_bytes()),
            }
        }
        out
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Acl,
    Int,
    Long,
    Flag,
    List,
    Zxid,
    WatchMode,
    WatcherType,
}

/// A field: its name, its form and what it is when nothing is said; `!` means it must be said.
type Field = (&'static str, Kind, &'static str);

const PATH: Field = ("path", Kind::Text, "!");
const DATA: Field = ("data", Kind::Text, "");
const ACL: Field = ("acl", Kind::Acl, "open");
const VERSION: Field = ("version", Kind::Int, "-1");
const WATCH: Field = ("watch", Kind::Flag, "0");

/// An operation that scripts know by name.
pub struct Op {
    /// Apache's name.
    pub name: &'static str,
    /// The number on the wire.
    pub code: i32,
    fields: &'static [Field],
}

macro_rules! ops {
    ($($name:literal $code:literal [$($field:expr),*])*) => {
        /// All of them, except the two with blocks (multi, multiRead).
        pub const OPS: &[Op] = &[$(Op { name: $name, code: $code, fields: &[$($field),*] }),*];
    };
}

ops! {
    "create" 1 [PATH, DATA, ACL, ("flags", Kind::Int, "0")]
    "create2" 15 [PATH, DATA, ACL, ("flags", Kind::Int, "0")]
    "createContainer" 19 [PATH, DATA, ACL, ("flags", Kind::Int, "4")]
    "createTTL" 21 [PATH, DATA, ACL, ("flags", Kind::Int, "5"), ("ttl", Kind::Long, "!")]
    "delete" 2 [PATH, VERSION]
    "exists" 3 [PATH, WATCH]
    "getData" 4 [PATH, WATCH]
    "setData" 5 [PATH, DATA, VERSION]
    "getACL" 6 [PATH]
    "setACL" 7 [PATH, ACL, VERSION]
    "getChildren" 8 [PATH, WATCH]
    "sync" 9 [PATH]
    "ping" 11 []
    "getChildren2" 12 [PATH, WATCH]
    "check" 13 [PATH, VERSION]
    "reconfig" 16 [("joining", Kind::Text, "null"), ("leaving", Kind::Text, "null"),
        ("members", Kind::Text, "null"), ("config", Kind::Long, "-1")]
    "checkWatches" 17 [PATH, ("type", Kind::WatcherType, "!")]
    "removeWatches" 18 [PATH, ("type", Kind::WatcherType, "!")]
    "deleteContainer" 20 [PATH]
    "auth" 100 [("type", Kind::Int, "0"), ("scheme", Kind::Text, "!"), ("auth", Kind::Text, "!")]
    "setWatches" 101 [("zxid", Kind::Zxid, "!"), ("data", Kind::List, "[]"),
        ("exist", Kind::List, "[]"), ("child", Kind::List, "[]")]
    "sasl" 102 [("token", Kind::Text, "!")]
    "getEphemerals" 103 [("prefix", Kind::Text, "!")]
    "getAllChildrenNumber" 104 [PATH]
    "setWatches2" 105 [("zxid", Kind::Zxid, "!"), ("data", Kind::List, "[]"),
        ("exist", Kind::List, "[]"), ("child", Kind::List, "[]"),
        ("persistent", Kind::List, "[]"), ("recursive", Kind::List, "[]")]
    "addWatch" 106 [PATH, ("mode", Kind::WatchMode, "!")]
    "whoAmI" 107 []
    "createSession" -10 [("timeout", Kind::Int, "10000")]
    "closeSession" -11 []
}

/// The number of multi.
pub const MULTI: i32 = 14;
/// The number of multiRead.
pub const MULTI_READ: i32 = 22;
/// The number of closeSession.
pub const CLOSE_SESSION: i32 = -11;

impl Op {
    /// The operation of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Op> {
        OPS.iter().find(|op| op.name == name)
    }

    /// The xid that clients use for it, if it is a special one.
    #[must_use]
    pub fn reserved_xid(&self) -> Option<i32> {
        match self.name {
            "ping" => Some(-2),
            "auth" => Some(-4),
            _ => None,
        }
    }

    /// Appends its record. Arguments come in the order of the fields or as `name=value`; a flag is
    /// set by its bare name; `type` of auth only by name, because no client ever sends another.
    pub fn encode(&self, args: &[Token], body: &mut Body) -> Result<(), String> {
        let mut values: Vec<Option<Token>> = vec![None; self.fields.len()];
        let index = |name: &str| self.fields.iter().position(|field| field.0 == name);
        let mut next = usize::from(self.name == "auth");
        for arg in args {
            let named = arg.split_key(b'=').and_then(|(k, v)| Some((index(k)?, v)));
            let flag =
                arg.bare().and_then(index).filter(|&i| matches!(self.fields[i].1, Kind::Flag));
            let (i, value) = match (named, flag) {
                (Some(named), _) => named,
                (None, Some(i)) => (i, Token { bytes: b"1".to_vec(), quoted: false }),
                (None, None) => (next, arg.clone()),
            };
            next = i + 1;
            *values
                .get_mut(i)
                .ok_or_else(|| format!("{} is one argument too many", arg.show()))? = Some(value);
        }
        for ((name, kind, default), value) in self.fields.iter().zip(values) {
            let value = match value {
                Some(value) => value,
                None if *default == "!" => return Err(format!("{} needs a {name}", self.name)),
                None => Token { bytes: default.as_bytes().to_vec(), quoted: false },
            };
            encode_field(*kind, &value, body).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }
}

fn encode_field(kind: Kind, value: &Token, body: &mut Body) -> Result<(), String> {
    let names: &[&str] = match kind {
        Kind::WatchMode => &["persistent", "recursive"],
        Kind::WatcherType => &["", "children", "data", "any", "persistent", "recursive"],
        _ => &[],
    };
    let out = body.out();
    match kind {
        Kind::Text => put_buffer(out, text(value)?.as_deref()),
        Kind::Acl => acl(value, out)?,
        Kind::Long => out.extend_from_slice(&number(value)?.to_be_bytes()),
        Kind::Flag => out.push(number(value)? as u8),
        Kind::List => list(value, out)?,
        Kind::Zxid => match value.bare().and_then(|v| v.strip_prefix('+')) {
            Some(offset) => body.0.push(Part::Zxid(offset.parse().map_err(|_| "not a zxid")?)),
            None => out.extend_from_slice(&number(value)?.to_be_bytes()),
        },
        Kind::Int | Kind::WatchMode | Kind::WatcherType => {
            let named = names.iter().position(|name| value.is(name));
            let number = named.map_or_else(|| number(value), |i| Ok(i as i64))?;
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
    }
    Ok(())
}

/// A decimal or `0x` number; up to 64 bits, taken as signed.
pub fn number(value: &Token) -> Result<i64, String> {
    let text = value.bare().unwrap_or_default();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as i64),
        None => text.parse().ok(),
    }
    .ok_or_else(|| format!("{} is not a number", value.show()))
}

/// `null`, `size:N` (that many x) or the bytes themselves.
pub fn text(value: &Token) -> Result<Option<Vec<u8>>, String> {
    if value.is("null") {
        return Ok(None);
    }
    match value.bare().and_then(|v| v.strip_prefix("size:")) {
        Some(n) => Ok(Some(vec![b'x'; n.parse().map_err(|_| "size:N wants a number")?])),
        None => Ok(Some(value.bytes.clone())),
    }
}

/// `null`, or `[/a,/b,null]`.
fn list(value: &Token, out: &mut Vec<u8>) -> Result<(), String> {
    if value.is("null") {
        put_buffer(out, None);
        return Ok(());
    }
    let text = String::from_utf8_lossy(&value.bytes);
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or("want [a,b]")?;
    let items = inner.split(',').filter(|item| !item.is_empty()).collect::<Vec<_>>();
    out.extend_from_slice(&(items.len() as i32).to_be_bytes());
    for item in items {
        put_buffer(out, (item != "null").then_some(item.as_bytes()));
    }
    Ok(())
}

/// `open`, `null`, `[]` or `scheme:id:perms,...`; perms are zkCli's letters or a number.
fn acl(value: &Token, out: &mut Vec<u8>) -> Result<(), String> {
    let text = String::from_utf8_lossy(&value.bytes);
    let entries = match &*text {
        "null" => {
            put_buffer(out, None);
            return Ok(());
        }
        "[]" => Vec::new(),
        "open" => vec!["world:anyone:cdrwa"],
        list => list.split(',').collect(),
    };
    out.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for entry in entries {
        let wrong = || format!("{entry} is not scheme:id:perms");
        let (scheme, rest) = entry.split_once(':').ok_or_else(wrong)?;
        let (id, perms) = rest.rsplit_once(':').ok_or_else(wrong)?;
        out.extend_from_slice(&permissions(perms).ok_or_else(wrong)?.to_be_bytes());
        put_text(out, scheme);
        put_text(out, id);
    }
    Ok(())
}

fn permissions(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    text.chars().try_fold(0, |bits, c| Some(bits | 1 << "rwcda".find(c)?))
}

/// Raw bytes, piece by piece: `int:5 long:-1 byte:1 str:"/a" null hex:00ff zeros:100 zxid:+3`.
pub fn raw(args: &[Token], body: &mut Body) -> Result<(), String> {
    for arg in args {
        if arg.is("null") {
            put_buffer(body.out(), None);
            continue;
        }
        let (kind, value) = arg.split_key(b':').ok_or_else(|| format!("{}?", arg.show()))?;
        let out = body.out();
        match kind {
            "int" => out.extend_from_slice(&(number(&value)? as i32).to_be_bytes()),
            "long" => out.extend_from_slice(&number(&value)?.to_be_bytes()),
            "byte" => out.push(number(&value)? as u8),
            "str" => put_buffer(out, Some(&value.bytes)),
            "ascii" => out.extend_from_slice(&value.bytes),
            "hex" => out.extend_from_slice(&unhex(&value)?),
            "zeros" => out.resize(out.len() + number(&value)? as usize, 0),
            "ff" => out.resize(out.len() + number(&value)? as usize, 0xff),
            "acl" => acl(&value, out)?,
            "zxid" => body.0.push(Part::Zxid(number(&value)?)),
            _ => return Err(format!("{kind}: is no kind of bytes")),
        }
    }
    Ok(())
}

/// Bytes from hexadecimal digits.
pub fn unhex(value: &Token) -> Result<Vec<u8>, String> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let pairs = value.bytes.chunks(2).map(|pair| match *pair {
        [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(|| format!("{} is not hex", value.show()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tokens;
    use zk_proto::request::Request;
    use zk_proto::{OpCode, Reader};

    fn encode(line: &str) -> Vec<u8> {
        let words = tokens(line).unwrap();
        let mut body = Body::default();
        Op::find(words[0].bare().unwrap()).unwrap().encode(&words[1..], &mut body).unwrap();
        body.bytes(100)
    }

    #[test]
    fn every_request_is_what_zk_proto_reads() {
        for line in [
            "create /a",
            "create2 /a \"x\" acl=digest:u:h:rw,ip:1.2.3.4:31 flags=3",
            "createContainer /a null",
            "createTTL /a ttl=5",
            "delete /a 3",
            "exists /a watch",
            "getData /a",
            "setData /a size:9 -1",
            "getACL /a",
            "setACL /a acl=null 2",
            "getChildren /a",
            "sync /a",
            "ping",
            "getChildren2 /a watch",
            "reconfig leaving=3",
            "checkWatches /a any",
            "removeWatches /a recursive",
            "auth digest \"a:b\"",
            "setWatches +3 data=[/a,/b]",
            "sasl \"\"",
            "getEphemerals null",
            "getAllChildrenNumber /",
            "setWatches2 7 persistent=[/a] recursive=[]",
            "addWatch /a recursive",
            "whoAmI",
            "closeSession",
        ] {
            let name = line.split(' ').next().unwrap();
            let op = OpCode::from_code(Op::find(name).unwrap().code).unwrap();
            assert_eq!(op.name(), name);
            let bytes = encode(line);
            let mut r = Reader::new(&bytes);
            let request = Request::read(op, &mut r).unwrap().unwrap();
            assert!(r.is_empty(), "{line}");
            let mut again = Vec::new();
            request.write(&mut again);
            assert_eq!(again, bytes, "{line}");
        }
    }

    #[test]
    fn zxids_are_relative_to_the_case() {
        assert_eq!(encode("setWatches +3")[..8], 103i64.to_be_bytes());
        assert_eq!(encode("setWatches 3")[..8], 3i64.to_be_bytes());
    }

    #[test]
    fn raw_pieces() {
        let mut body = Body::default();
        raw(&tokens("int:-1 byte:2 str:\"a\" hex:0aff null zeros:2").unwrap(), &mut body).unwrap();
        assert_eq!(
            body.bytes(0),
            [255, 255, 255, 255, 2, 0, 0, 0, 1, b'a', 10, 255, 255, 255, 255, 255, 0, 0]
        );
    }

    #[test]
    fn mistakes_are_named() {
        let error = |line: &str| {
            let words = tokens(line).unwrap();
            let op = Op::find(words[0].bare().unwrap()).unwrap();
            op.encode(&words[1..], &mut Body::default()).unwrap_err()
        };
        assert_eq!(error("delete"), "delete needs a path");
        assert_eq!(error("delete /a 1 2"), "2 is one argument too many");
        assert_eq!(error("delete /a x"), "version: x is not a number");
        assert_eq!(error("create /a acl=x"), "acl: x is not scheme:id:perms");
    }
}
