//! Requests that a web page makes a browser send.
//!
//! A browser runs on an operator's machine, behind firewalls and beside servers on loopback, and
//! any page may make it ask: by naming this server (it says so in `Sec-Fetch-Site` or `Origin`), or
//! by a name of the page's own that suddenly stands for this server's address (DNS rebinding),
//! which `Host` shows. Programs that are no browsers send what they like and are not judged.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::HeaderMap;
use hyper::header::{ACCEPT_LANGUAGE, HOST, ORIGIN, REFERER};

const SITE: &str = "sec-fetch-site";
const MODE: &str = "sec-fetch-mode";
const DESTINATION: &str = "sec-fetch-dest";

/// The names under which browsers may come.
#[derive(Debug)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Besides addresses and `localhost`, which cannot be made to stand for something else.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
        Names(names.into_iter().map(normal).filter(|name| !name.is_empty()).collect())
    }

    /// Why a request must not be answered. One that `changes` something, and needs no password, is
    /// taken from a browser only if it says which page asks.
    pub(super) fn refusal(&self, headers: &HeaderMap, changes: bool) -> Option<String> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let named = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let site = named(SITE);
        // Who follows a link sees the answer; the page with the link does not.
        let is_link = named(MODE) == Some("navigate") && named(DESTINATION) == Some("document");
        if site.is_some_and(|site| !["none", "same-origin"].contains(&site))
            && (changes || !is_link)
        {
            return Some("requests of other sites are refused\n".to_owned());
        }
        // Pages cannot make a browser leave out the language.
        let is_browser = site.is_some()
            || [ACCEPT_LANGUAGE, ORIGIN, REFERER].iter().any(|name| headers.contains_key(name));
        if !is_browser {
            return None;
        }
        let host = text(HOST).unwrap_or_default();
        if !self.has(host) {
            return Some(format!(
                "{host:?} may be the name of another site: open the server by its address, or set \
                 admin.hosts to the names by which browsers may come\n"
            ));
        }
        if text(ORIGIN).is_some_and(|origin| origin != format!("http://{host}")) {
            return Some("requests of other sites are refused\n".to_owned());
        }
        (changes && site.is_none()).then(|| {
            "the browser does not say whether a page of another site asks: use another program, \
             such as curl\n"
                .to_owned()
        })
    }

    /// Whether `Host` is a name of this server.
    fn has(&self, host: &str) -> bool {
        let (name, is_bracketed) = match host.strip_prefix('[') {
            Some(rest) => (rest.split(']').next().unwrap_or_default(), true),
            None => (host.split(':').next().unwrap_or_default(), false),
        };
        if is_bracketed {
            return name.parse::<Ipv6Addr>().is_ok();
        }
        let name = normal(name);
        name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || self.0.contains(&name)
    }
}

/// Names are equal whatever their letters' case, with and without the dot of the root.
fn normal(name: &str) -> String {
    let name = name.trim();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    /// Whether a request with these headers, one a line, is answered: without and with a change.
    fn answered(lines: &str) -> [bool; 2] {
        let names = Names::new(["Zk1.example.com", "ops", ""]);
        let mut headers = HeaderMap::new();
        for line in lines.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            let name = name.parse::<HeaderName>().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        [false, true].map(|changes| names.refusal(&headers, changes).is_none())
    }

    #[test]
    fn programs_may_use_any_name() {
        let of_windows = "host: x\nuser-agent: Mozilla/5.0 (Windows NT) WindowsPowerShell/5.1";
        for lines in ["", "host: evil.example:8080", "host: x\nuser-agent: curl/8.5.0", of_windows]
        {
            assert_eq!(answered(lines), [true, true], "{lines}");
        }
    }

    #[test]
    fn browsers_come_by_a_name_of_the_server() {
        let hosts = ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "ZK1.example.com.", "ops:1"];
        for host in hosts {
            let lines = format!("host: {host}\nsec-fetch-site: none\naccept-language: de");
            assert_eq!(answered(&lines), [true, true], "{host}");
        }
        let marks = [
            "accept-language: ",
            "sec-fetch-site: same-origin",
            "origin: http://evil.example",
            "referer: http://evil.example/page",
        ];
        let foreign =
            ["evil.example:8080", "127.0.0.1.evil.example", "xlocalhost", "[evil]:1", "", "::1"];
        for (mark, host) in marks.iter().flat_map(|mark| foreign.map(|host| (mark, host))) {
            assert_eq!(answered(&format!("host: {host}\n{mark}")), [false, false], "{host} {mark}");
        }
        assert_eq!(answered("accept-language: de"), [false, false], "no host at all");
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        for site in ["cross-site", "same-site", "x"] {
            assert_eq!(answered(&format!("host: ops\nsec-fetch-site: {site}")), [false, false]);
        }
        assert_eq!(answered("host: ops\nsec-fetch-site: none"), [true, true]);
        let link = "sec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: ";
        assert_eq!(answered(&format!("host: ops\n{link}document")), [true, false], "a link");
        assert_eq!(answered(&format!("host: ops\n{link}iframe")), [false, false]);
        assert_eq!(answered(&format!("host: evil\n{link}document")), [false, false]);
        for origin in ["http://evil.example", "null", "http://ops:81", "https://ops"] {
            assert_eq!(
                answered(&format!("host: ops\norigin: {origin}")),
                [false, false],
                "{origin}"
            );
        }
        assert_eq!(answered("host: ops:80\norigin: http://ops:80"), [true, false]);
        // An image of a page, over plain HTTP: nothing tells it from an operator at the browser.
        assert_eq!(answered("host: 10.0.0.5:8080\naccept-language: de"), [true, false]);
    }
}
