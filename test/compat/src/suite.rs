//! All cases on one kind of server. Starting a JVM takes a second or more, so files with equal
//! configuration share a server, and two servers run at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use zk_testkit::{Engine, Error};

use crate::allowed::{self, Rule};
use crate::run::run_case;
use crate::script::{self, Case, CaseFile};
use crate::transcript::{self, CaseRecord, StepRecord};
use crate::world::World;
use crate::{SyntaxError, compare, here};

/// How many servers run at a time.
const SERVERS: usize = 2;

/// Records by file name.
pub type Records = BTreeMap<String, Vec<CaseRecord>>;

/// Every case file, without the cases that `ZKFLEET_CASE` leaves out.
pub fn load_cases() -> Result<Vec<CaseFile>, SyntaxError> {
    let filter = std::env::var("ZKFLEET_CASE").unwrap_or_default();
    let mut files = Vec::new();
    for (name, text) in read_texts(&here("cases"))? {
        let mut file = script::parse(&name, &text)?;
        file.cases.retain(|case| format!("{name}/{}", case.name).contains(&filter));
        files.push(file);
    }
    files.retain(|file| !file.cases.is_empty());
    Ok(files)
}

/// The golden records.
pub fn load_golden() -> Result<Records, SyntaxError> {
    read_texts(&here("golden"))?
        .into_iter()
        .map(|(name, text)| Ok((name.clone(), transcript::parse(&format!("{name}.txt"), &text)?)))
        .collect()
}

/// The list of allowed differences.
pub fn load_rules() -> Result<Vec<Rule>, SyntaxError> {
    let name = "allowed-differences.txt";
    let text = fs::read_to_string(here(name)).map_err(|e| fault(name, &e.to_string()))?;
    allowed::parse(name, &text)
}

fn fault(file: &str, what: &str) -> SyntaxError {
    SyntaxError { file: file.to_owned(), line: 0, what: what.to_owned() }
}

/// Name and content of each `.txt` file, in alphabetical order.
fn read_texts(dir: &Path) -> Result<Vec<(String, String)>, SyntaxError> {
    let failed = |e: std::io::Error| fault(&dir.display().to_string(), &e.to_string());
    let mut texts = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        if let (Some(name), true) = (name, path.extension().is_some_and(|e| e == "txt")) {
            texts.push((name, fs::read_to_string(&path).map_err(failed)?));
        }
    }
    texts.sort();
    Ok(texts)
}

/// Runs all cases on servers of one kind. A case during which the harness itself fails gets a step
/// that says so, and the next one a new server.
pub fn run(engine: Engine, files: &[CaseFile], rules: &[Rule]) -> Result<Records, Error> {
    let name = engine.to_string();
    let wanted = files.iter().flat_map(|file| file.cases.iter().map(move |case| (file, case)));
    let mut jobs: Vec<Vec<(&CaseFile, &Case)>> = Vec::new();
    for (file, case) in wanted {
        if allowed::skips(rules, &name, &format!("{}/{}", file.name, case.name)) {
            continue;
        }
        let same = |job: &&mut Vec<(&CaseFile, &Case)>| {
            let (other, first) = job[0];
            !first.fresh && other.config == file.config && other.properties == file.properties
        };
        match jobs.iter_mut().find(same).filter(|_| !case.fresh) {
            Some(job) => job.push((file, case)),
            None => jobs.push(vec![(file, case)]),
        }
    }
    // The longest job first, so that the servers end at about the same time.
    jobs.sort_by_key(Vec::len);
    let jobs = Mutex::new(jobs);
    let done = Mutex::new(BTreeMap::new());
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..SERVERS {
            scope.spawn(|| {
                while let Some(job) = lock(&jobs).pop() {
                    match run_job(engine, &job) {
                        Ok(records) => lock(&done).extend(records),
                        Err(e) => *lock(&failure) = Some(e),
                    }
                }
            });
        }
    });
    if let Some(e) = failure.into_inner().unwrap_or_default() {
        return Err(e);
    }
    let mut done = done.into_inner().unwrap_or_default();
    // In the order of the files, whatever the order of the jobs was.
    let in_order = |file: &CaseFile| {
        let records = file.cases.iter().filter_map(|case| done.remove(&key(file, case)));
        (file.name.clone(), records.collect())
    };
    Ok(files.iter().map(in_order).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn key(file: &CaseFile, case: &Case) -> (String, String) {
    (file.name.clone(), case.name.clone())
}

type Keyed = ((String, String), CaseRecord);

fn run_job(engine: Engine, job: &[(&CaseFile, &Case)]) -> Result<Vec<Keyed>, Error> {
    let mut world = None;
    let mut records = Vec::new();
    for (file, case) in job {
        if world.is_none() {
            world = Some(World::start(engine, file)?);
        }
        let Some(running) = world.as_mut() else { continue };
        let before = running.server().complaints().len();
        let record = match run_case(running, case) {
            Ok(record) => match &running.server().complaints()[before..] {
                [] => record,
                complaints => failed(case, &complaints.join("\n")),
            },
            Err(e) => {
                let tail = running.server().log_tail(5);
                world = None;
                failed(case, &format!("{e}\n{tail}"))
            }
        };
        records.push((key(file, case), record));
    }
    Ok(records)
}

fn failed(case: &Case, why: &str) -> CaseRecord {
    let output = why.lines().map(str::to_owned).collect();
    let step = StepRecord { step: vec![compare::HARNESS_FAILED.to_owned()], output };
    CaseRecord { name: case.name.clone(), steps: vec![step] }
}

/// Every difference between a run and the golden records.
#[must_use]
pub fn differences(
    engine: Engine,
    rules: &[Rule],
    golden: &Records,
    there: &Records,
) -> Vec<String> {
    let mut report = Vec::new();
    for (file, records) in there {
        for record in records {
            let of_file = golden.get(file).map(Vec::as_slice).unwrap_or_default();
            match of_file.iter().find(|golden| golden.name == record.name) {
                Some(want) => {
                    report.extend(compare::compare(rules, &engine.to_string(), file, want, record));
                }
                None => report.push(format!("{file}/{}: not in a golden file", record.name)),
            }
        }
    }
    report
}

/// Rules of this engine that no case needed; only meaningful when all cases ran.
#[must_use]
pub fn stale(engine: Engine, rules: &[Rule]) -> Vec<String> {
    let name = engine.to_string();
    let stale = rules.iter().filter(|rule| rule.engine == name && !rule.was_used());
    stale
        .map(|rule| format!("allowed-differences.txt:{}: no case needs this rule", rule.line))
        .collect()
}

/// Writes the golden files of these records. Records of cases that did not run stay as they are:
/// somebody wrote them by hand.
pub fn bless(old: &Records, new: &Records, files: &[CaseFile]) -> std::io::Result<()> {
    for file in files {
        let of = |records: &Records, case: &Case| {
            let records = records.get(&file.name)?;
            records.iter().find(|record| record.name == case.name).cloned()
        };
        let records = file.cases.iter().filter_map(|case| of(new, case).or_else(|| of(old, case)));
        let records = &records.collect::<Vec<_>>();
        let file = &file.name;
        fs::write(here("golden").join(format!("{file}.txt")), transcript::to_text(records))?;
    }
    Ok(())
}
