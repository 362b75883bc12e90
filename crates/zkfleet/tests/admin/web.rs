//! Verbs, unknown commands, rights, and the index.

use serde_json::Value;
use zk_proto::acl::{AclBytes, encode};
use zk_proto::request::{Request, SetAclRequest};
use zk_proto::{Acl, Perms};
use zk_testkit::{Engine, apache_or_skip};

use crate::site::{SUPER, Site};

/// Requests, and the status of ours and of Apache's where that is another one.
const STATUS: [(&str, u16, Option<u16>); 20] = [
    ("GET /commands", 200, None),
    ("GET /commands/", 200, None),
    ("HEAD /commands", 200, None),
    ("GET /", 404, None),
    ("GET /commandsx", 404, None),
    ("GET /commands/ruok", 200, None),
    ("HEAD /commands/ruok", 200, None),
    ("GET /commands/nonsense", 200, None),
    ("POST /commands/nonsense", 200, None),
    // Apache answers with a stack trace.
    ("POST /commands/ruok", 405, Some(500)),
    ("POST /commands/monitor", 405, Some(500)),
    ("PUT /commands/ruok", 405, None),
    ("DELETE /commands/ruok", 405, None),
    ("TRACE /commands/ruok", 405, Some(403)),
    ("GET /commands/snapshot", 401, None),
    ("POST /commands/restore", 401, None),
    ("GET /commands/restore", 401, None),
    ("GET /commands/set_trace_mask", 200, None),
    ("GET /commands/set_trace_mask?traceMask=many", 200, None),
    ("GET /metrics", 200, Some(404)),
];

#[test]
fn every_verb_and_place_has_its_status() {
    for engine in [Engine::Ours, Engine::Apache39] {
        if engine.is_apache() && !apache_or_skip(engine) {
            continue;
        }
        let site = Site::start(engine, &[]);
        for (request, ours, apaches) in STATUS {
            let wanted = if engine.is_apache() { apaches.unwrap_or(ours) } else { ours };
            let answer = site.ask(request, &[], b"");
            assert_eq!(answer.status, wanted, "{engine}: {request}: {}", answer.text());
        }
    }
}

#[test]
fn errors_are_apaches() {
    for engine in [Engine::Ours, Engine::Apache39] {
        if engine.is_apache() && !apache_or_skip(engine) {
            continue;
        }
        let site = Site::start(engine, &[]);
        for (request, command, error) in [
            ("nonsense", "nonsense", "Unknown command: nonsense"),
            ("leader", "leader", "server is not initialized"),
            ("snapshot", "snapshot", "Auth info is missing for the command"),
            ("stmk", "set_trace_mask", "setTraceMask requires long traceMask argument"),
            (
                "stmk?traceMask=many",
                "set_trace_mask",
                "setTraceMask requires long traceMask argument, got many",
            ),
        ] {
            let answer = site.ask(&format!("GET /commands/{request}"), &[], b"");
            let json = serde_json::from_str::<Value>(&answer.text()).unwrap();
            let wanted = (&Value::from(command), &Value::from(error));
            assert_eq!((&json["command"], &json["error"]), wanted, "{engine}");
        }
    }
}

/// Who may have a snapshot: all rights at `/`, by the ACL or as superuser; with ours not by what
/// holds for everybody or for an address.
#[test]
fn rights() {
    for engine in [Engine::Ours, Engine::Apache39] {
        if engine.is_apache() && !apache_or_skip(engine) {
            continue;
        }
        let site = Site::start(engine, &[]);
        let ask = |authorization: &str| {
            let headers = [("Authorization", authorization)];
            let answer = site.ask("GET /commands/snapshot?streaming=false", &headers, b"");
            let json = serde_json::from_str::<Value>(&answer.text()).unwrap_or_default();
            (answer.status, json["error"].as_str().unwrap_or_default().to_owned())
        };
        let forbidden = (403, "Not authorized".to_owned());
        // The ACL of / is open.
        for anybody in ["digest bob:pw", "ip"] {
            match engine.is_apache() {
                true => assert_eq!(ask(anybody).0, 200, "{anybody}"),
                false => assert_eq!(ask(anybody), forbidden, "{anybody}"),
            }
        }
        assert_eq!(ask("magic bob").0, 401, "{engine}");
        // bob:pw, hashed.
        let bob = encode(&[Acl::new(Perms::ALL, "digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")]);
        let acl = AclBytes::parse(&bob).unwrap();
        let set = SetAclRequest { path: "/".into(), acl, version: -1 };
        assert_eq!(site.client().call(&Request::SetAcl(set)).unwrap().err, 0);
        assert_eq!(ask("digest alice:pw"), forbidden, "{engine}");
        assert_eq!(ask("digest bob:pw").0, 200, "{engine}");
        assert_eq!(ask(SUPER.1).0, 200, "{engine}");
    }
}

#[test]
fn a_snapshot_now_and_then() {
    let site = Site::start(Engine::Ours, &["admin.rateLimiterIntervalInMS=300000"]);
    let status = |site: &Site| site.ask("GET /commands/snapshot", &[SUPER], b"").status;
    assert_eq!([status(&site), status(&site)], [200, 429]);
    let site = Site::start(Engine::Ours, &["admin.snapshot.enabled=false"]);
    assert_eq!(status(&site), 503);
    let site = Site::start(Engine::Ours, &["admin.restore.enabled=false"]);
    assert_eq!(site.ask("POST /commands/restore", &[SUPER], b"x").status, 503);
}

#[test]
fn other_places_and_no_place() {
    let site = Site::start(Engine::Ours, &["admin.commandURL=/zk"]);
    assert_eq!(site.ask("GET /zk/ruok", &[], b"").status, 200);
    assert_eq!(site.ask("GET /commands/ruok", &[], b"").status, 404);
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(site.ask("GET /zk/srst", &foreign, b"").status, 403);
    let site = Site::start(Engine::Ours, &["admin.enableServer=false"]);
    zk_testkit::http(site.admin, "GET /commands", &[], b"").expect_err("nobody is there");
}
