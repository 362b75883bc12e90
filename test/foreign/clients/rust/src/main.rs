//! Conformance of a ZooKeeper server as the crate `zookeeper-client` sees it, which shares no code
//! with ours.
//!
//!     rust-suite HOST:PORT[,HOST:PORT] [CHECK...]
//!
//! Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits 0 only if none
//! failed. With names, only those checks run. Each check works below a path of its own and removes
//! it. The checks named loss_* talk through a proxy that cuts connections: sessions must survive
//! that, and recipes stay correct.

mod basics;
mod env;
mod loss;
mod multis;
mod proxy;
mod recipes;
mod sessions;
mod watches;

use env::Env;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// The most that one check may take.
const CHECK_TIME: Duration = Duration::from_secs(90);

type Running = Pin<Box<dyn Future<Output = ()>>>;
type Check = (&'static str, fn(Env) -> Running);

/// Names checks as what they are.
macro_rules! checks {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($name), (|env| Box::pin($module::$name(env))) as fn(Env) -> Running)),*),*]
    };
}

const CHECKS: &[Check] = checks! {
    basics: create_get_set_delete create_kinds create_ttl children_and_stats many_children
        in_order ephemerals sequences large_data names_of_all_kinds mkdir_and_chroot acls identities
        config_is_readable;
    multis: multi_write multi_write_fails check_writer multi_read;
    watches: data_watch_fires_once exists_watch_sees_creation child_watch watch_of_the_deleted
        dropped_watchers_are_removed persistent_watch recursive_watch events_come_before_data;
    sessions: session_ends_with_its_client session_expires session_is_resumed
        a_session_needs_its_password auth_failure;
    recipes: lock shared_lock election queue;
    loss: loss_session_survives loss_counter loss_lock loss_watchers;
};

/// Why a check failed, or none.
async fn run(check: fn(Env) -> Running, env: Env) -> Option<String> {
    let task = tokio::task::spawn_local(check(env));
    let stop = task.abort_handle();
    match tokio::time::timeout(CHECK_TIME, task).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(match error.try_into_panic() {
            Ok(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
                (Some(text), _) => text.clone(),
                (_, Some(text)) => (*text).to_owned(),
                _ => "it panicked".to_owned(),
            },
            Err(error) => error.to_string(),
        }),
        Err(_) => {
            stop.abort();
            Some(format!("no end after {} s", CHECK_TIME.as_secs()))
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    LocalSet::new().run_until(suite()).await
}

async fn suite() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(hosts) = arguments.next() else {
        eprintln!("usage: rust-suite HOST:PORT[,HOST:PORT] [CHECK...]");
        return ExitCode::from(2);
    };
    let names = arguments.collect::<Vec<_>>();
    let chosen = |(name, _): &&Check| names.is_empty() || names.iter().any(|wanted| wanted == name);
    // A failure is told by the line of its check, with the place that a panic has.
    std::panic::set_hook(Box::new(|info| {
        if let Some(at) = info.location() {
            println!("    {}:{}: {info}", at.file(), at.line());
        }
    }));
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in CHECKS.iter().filter(chosen) {
        let start = Instant::now();
        let env = Env::new(&hosts, name);
        let mut why = run(*check, env.clone()).await;
        let cleaned = tokio::time::timeout(CHECK_TIME, env.clean()).await;
        why = why.or(cleaned.is_err().then(|| "its znodes cannot be removed".to_owned()));
        match why {
            None => {
                passed += 1;
                println!("ok {name} ({:.1} s)", start.elapsed().as_secs_f32());
            }
            Some(why) => {
                failed += 1;
                println!("FAIL {name}: {}", why.replace('\n', " "));
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}
