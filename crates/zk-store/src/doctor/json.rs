//! A report as JSON. The one place that needs it, so it is written out rather than derived.

use crate::incomplete::Word;
use crate::recover::Escape;

use super::{Apache, LogReport, Repaired, Report, SnapshotReport};
use std::fmt::Write;
use std::path::Path;

pub(super) fn report(report: &Report) -> String {
    let mut out = String::from("{\"snapshots\":[");
    join(&mut out, &report.snapshots, snapshot);
    out.push_str("],\"logs\":[");
    join(&mut out, &report.logs, log);
    out.push_str("],\"state\":");
    match &report.state {
        Ok(state) => {
            let _ = write!(out, "{{\"ok\":true,\"last\":\"{}\",\"notes\":[", state.last);
            join(&mut out, &state.notes, |out, note| text(out, &note.to_string()));
            out.push_str("]}");
        }
        Err(error) => {
            out.push_str("{\"ok\":false,\"error\":");
            text(&mut out, &format!("{error}{}", report.escape));
            if let Escape::Accepting { all, .. } = &report.escape {
                out.push_str(",\"accept\":[");
                join(&mut out, all, |out, accept| text(out, accept.name()));
                out.push(']');
            }
            out.push('}');
        }
    }
    if report.word != Word::Whole {
        out.push_str(",\"member\":");
        text(&mut out, &report.word.to_string());
    }
    out.push_str(",\"apache\":");
    match &report.apache {
        Apache::Starts { last } => {
            let _ = write!(out, "{{\"starts\":true,\"last\":\"{last}\"");
        }
        Apache::Refuses { why } => {
            out.push_str("{\"starts\":false,\"why\":");
            text(&mut out, why);
        }
    }
    if let Some((from, to)) = report.apache_would_lose() {
        let _ = write!(out, ",\"loses\":[\"{from}\",\"{to}\"]");
    }
    out.push_str("}}");
    out
}

pub(super) fn repaired(repaired: &Repaired) -> String {
    let Repaired { snapshot, last, fixes, cut, word } = repaired;
    let mut out = format!("{{\"whole\":{},\"snapshot\":\"{snapshot}\"", cut.is_none());
    let _ = write!(out, ",\"last\":\"{last}\",\"fixes\":[");
    join(&mut out, fixes, |out, fix| {
        place(out, &fix.file, fix.offset);
        let _ = write!(out, ",\"zxid\":\"{}\",\"what\":", fix.zxid);
        text(out, &fix.kind.to_string());
        out.push('}');
    });
    out.push_str("],\"lost\":");
    match cut {
        Some((file, offset, why)) => {
            place(&mut out, file, *offset);
            out.push_str(",\"why\":");
            text(&mut out, why);
            out.push('}');
        }
        None => out.push_str("null"),
    }
    if *word != Word::Whole {
        out.push_str(",\"member\":");
        text(&mut out, &word.to_string());
    }
    out.push('}');
    out
}

/// Begins an object with a place in a file.
fn place(out: &mut String, file: &Path, offset: u64) {
    out.push_str("{\"file\":");
    text(out, &file.to_string_lossy());
    let _ = write!(out, ",\"offset\":{offset}");
}

fn snapshot(out: &mut String, snapshot: &SnapshotReport) {
    out.push_str("{\"file\":");
    text(out, &snapshot.path.to_string_lossy());
    let _ = write!(out, ",\"zxid\":\"{}\",\"bytes\":{}", snapshot.zxid, snapshot.bytes);
    match &snapshot.content {
        Ok(info) => {
            let (nodes, sessions) = (info.nodes, info.sessions);
            let _ = write!(out, ",\"ok\":true,\"znodes\":{nodes},\"sessions\":{sessions}");
            let _ = write!(out, ",\"fuzzy_to\":\"{}\"", info.fuzzy_to());
        }
        Err(error) => {
            out.push_str(",\"ok\":false,\"error\":");
            text(out, &error.to_string());
        }
    }
    out.push('}');
}

fn log(out: &mut String, log: &LogReport) {
    out.push_str("{\"file\":");
    text(out, &log.path.to_string_lossy());
    let _ = write!(out, ",\"bytes\":{},\"records\":{},\"end\":{}", log.bytes, log.records, log.end);
    if let Some((first, last)) = log.zxids {
        let _ = write!(out, ",\"first\":\"{first}\",\"last\":\"{last}\"");
    }
    if let Some(mark) = log.mark {
        let _ = write!(out, ",\"durable\":\"{mark}\"");
    }
    if let Some(problem) = &log.problem {
        out.push_str(",\"problem\":");
        text(out, &problem.to_string());
    }
    out.push('}');
}

fn join<T>(out: &mut String, items: &[T], mut each: impl FnMut(&mut String, &T)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item);
    }
}

/// A JSON string.
fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_are_escaped() {
        let mut out = String::new();
        super::text(&mut out, "a\"b\\c\nd\u{e9}");
        assert_eq!(out, "\"a\\\"b\\\\c\\u000ad\u{e9}\"");
    }
}
