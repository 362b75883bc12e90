//! Subjects of certificates as Java prints them, because they are the ids of the scheme `x509` and
//! are compared as text with ACLs that Java made.
//!
//! Mirrors `X500Principal.getName()`: RFC 2253 with Java's ways: bytes of every string type are
//! read as UTF-8, attributes without a keyword of the RFC are numbers, and their values hex.

use std::fmt::Write;

use ::der::asn1::ObjectIdentifier;

use super::der::{Items, context};
use super::store::Fault;

/// Keywords that RFC 2253 knows.
const KEYWORDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The parts of a certificate that are needed here.
pub(super) struct Certificate<'a> {
    /// Its version as people count, from 1.
    pub(super) version: u32,
    /// Name of the issuer, as a DER sequence with its header.
    pub(super) issuer: &'a [u8],
    /// Start and end, as DER with header.
    pub(super) validity: [&'a [u8]; 2],
    /// Name of the subject, as a DER sequence with its header.
    pub(super) subject: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Walks to the names of a certificate.
    pub(super) fn parse(der: &'a [u8]) -> Result<Certificate<'a>, Fault> {
        let mut tbs = Items::of_sequence(der)?.sequence()?;
        // The first version has no number.
        let version = match tbs.next_is(context(0, true)) {
            true => Items::new(tbs.context(0, true)?)?.u32()?.saturating_add(1),
            false => 1,
        };
        let (_serial, _algorithm) = (tbs.any()?, tbs.any()?);
        let issuer = tbs.raw()?;
        let mut times = tbs.sequence()?;
        let validity = [times.raw()?, times.raw()?];
        Ok(Certificate { version, issuer, validity, subject: tbs.raw()? })
    }
}

/// The subject of a certificate in DER.
pub fn subject_dn(certificate: &[u8]) -> Result<String, Fault> {
    print(Certificate::parse(certificate)?.subject)
}

/// Prints a name in DER: the last relative name first.
fn print(name: &[u8]) -> Result<String, Fault> {
    let mut relative_names = Items::of_sequence(name)?;
    let mut parts = Vec::new();
    while !relative_names.is_empty() {
        parts.push(print_relative(relative_names.set()?)?);
    }
    parts.reverse();
    Ok(parts.join(","))
}

/// Prints the attributes of one relative name, in the order of the certificate.
fn print_relative(mut attributes: Items<'_>) -> Result<String, Fault> {
    let mut parts = Vec::new();
    while !attributes.is_empty() {
        let mut attribute = attributes.sequence()?;
        let oid = attribute.oid()?;
        parts.push(print_attribute(oid, attribute.rest()?)?);
    }
    Ok(parts.join("+"))
}

/// Prints an attribute; `value` is DER with its header.
fn print_attribute(oid: ObjectIdentifier, value: &[u8]) -> Result<String, Fault> {
    let number = oid.to_string();
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == number).map(|(_, keyword)| *keyword);
    let is_text = value.first().is_some_and(|tag| TEXT_TAGS.contains(tag));
    if let Some(keyword) = keyword.filter(|_| is_text) {
        let text = Items::new(value)?.any()?.value();
        return Ok(format!("{keyword}={}", escape(&String::from_utf8_lossy(text))));
    }
    let mut out = format!("{}=#", keyword.unwrap_or(&number));
    for byte in value {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    Ok(out)
}

/// Types whose values Java prints as text: UTF8String, PrintableString, TeletexString, IA5String,
/// GeneralString, BMPString.
const TEXT_TAGS: [u8; 6] = [0x0c, 0x13, 0x14, 0x16, 0x1b, 0x1e];

/// Escapes a value as `AVA.toRFC2253String` does.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '\\' | '"' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\0' => escaped.push_str("\\00"),
            other => escaped.push(other),
        }
    }
    // Blanks at the ends are escaped one by one.
    let blank = |c: char| matches!(c, ' ' | '\r');
    let inner = escaped.trim_start_matches(blank);
    let lead = escaped.len() - inner.len();
    let trail = inner.trim_end_matches(blank).len() + lead;
    let mut out = String::with_capacity(escaped.len() + 4);
    for (at, c) in escaped.char_indices() {
        if at < lead || at >= trail {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in DER and what `X500Principal.getName()` of Java 17 made of them.
    const JAVA: &str = include_str!("testdata/dn-java.txt");

    #[test]
    fn names_are_printed_as_java_does() {
        let mut count = 0;
        for line in JAVA.lines() {
            let (der, wanted) = line.split_once('\t').unwrap();
            let digits = der.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
            let der = digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect::<Vec<_>>();
            let got = print(&der).unwrap();
            let got = got.replace('\n', "<LF>").replace('\r', "<CR>").replace('\t', "<TAB>");
            assert_eq!(got, wanted, "{line}");
            count += 1;
        }
        assert!(count > 90, "{count}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for der in [&b""[..], &[0x30], &[0x30, 3, 0x31, 1, 0], &[0x30, 2, 0x30, 0], &[2, 1, 1]] {
            assert!(print(der).is_err(), "{der:?}");
            assert!(subject_dn(der).is_err(), "{der:?}");
        }
    }
}
