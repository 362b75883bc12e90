//! Ensembles of ours, Apache 3.8.0 and Apache 3.9.4 in every mixture, each in each role: whatever
//! happens to members, all of them have the same in the end.
//!
//! A mixture is written as its voters, of which the last one leads, and its observer, such as
//! `ours,3.8.0,3.9.4/ours`. There are 42 in which ours has a part. `ZKFLEET_MATRIX` says which are
//! run: a number of them (1), which begin with the day and so come in turn, `all`, or the name of
//! one.

mod moving;
mod story;

use std::time::{SystemTime, UNIX_EPOCH};

use zk_testkit::{Engine, Error, apache_or_skip};

/// Who votes, and who observes.
#[derive(Clone, Copy, Debug)]
struct Mixture {
    /// The last of them leads.
    voters: [Engine; 3],
    observer: Engine,
}

const ENGINES: [Engine; 3] = [Engine::Ours, Engine::Apache38, Engine::Apache39];

impl Mixture {
    fn engines(&self) -> impl Iterator<Item = Engine> {
        self.voters.into_iter().chain([self.observer])
    }

    fn name(&self) -> String {
        let [a, b, leader] = self.voters.map(name);
        format!("{a},{b},{leader}/{}", name(self.observer))
    }
}

fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Ours => "ours",
        Engine::Apache38 => "3.8.0",
        Engine::Apache39 => "3.9.4",
    }
}

/// Those in which ours has a part. Neighbours have little in common.
fn mixtures() -> Vec<Mixture> {
    let mut all = Vec::new();
    for (a, first) in ENGINES.into_iter().enumerate() {
        for second in ENGINES.into_iter().skip(a) {
            for leader in ENGINES {
                all.extend(
                    ENGINES.map(|observer| Mixture { voters: [first, second, leader], observer }),
                );
            }
        }
    }
    all.retain(|mixture| mixture.engines().any(|engine| engine == Engine::Ours));
    // 5 and 42 have no divisor in common: each comes once.
    (0..all.len()).map(|at| all[at * 5 % all.len()]).collect()
}

fn chosen() -> Vec<Mixture> {
    let all = mixtures();
    let wanted = std::env::var("ZKFLEET_MATRIX").unwrap_or_else(|_| "1".into());
    if wanted == "all" {
        return all;
    }
    let Ok(count) = wanted.parse::<usize>() else {
        let named: Vec<_> = all.into_iter().filter(|mixture| mixture.name() == wanted).collect();
        assert!(!named.is_empty(), "ZKFLEET_MATRIX={wanted} is no mixture with ours");
        return named;
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let today = (since.as_secs() / 86_400) as usize * count;
    (today..today + count).map(|at| all[at % all.len()]).collect()
}

#[test]
fn each_mixture_comes_once() {
    let names: std::collections::BTreeSet<_> = mixtures().iter().map(Mixture::name).collect();
    assert_eq!((names.len(), mixtures().len()), (42, 42));
}

#[test]
fn all_members_have_the_same_in_the_end() -> Result<(), Error> {
    for mixture in chosen() {
        let is_there = |engine: Engine| engine == Engine::Ours || apache_or_skip(engine);
        if !mixture.engines().all(is_there) {
            return Ok(());
        }
        println!("ZKFLEET_MATRIX={}", mixture.name());
        story::tell(&mixture)?;
    }
    Ok(())
}
