//! What an operator would have to let pass, all at once, for a start in spite of a refusal.
//!
//! Recovery ends at the first fault, and others may stand behind it. So that nobody has to find
//! them one start at a time, it is run once more with everything let pass; that changes nothing on
//! the disk, and what it restored is thrown away.

use super::accept::Accept;
use super::error::{Note, RecoverError};
use super::{RecoverOptions, recover};
use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::restore::Restore;
use std::fmt;

/// The way out of a refusal.
#[derive(Debug)]
pub enum Escape {
    /// Nothing lets the refused fault pass.
    None,
    /// Something does, but behind it stands what nothing lets pass.
    Blocked(Box<RecoverError>),
    /// A start that lets all of these pass.
    Accepting {
        /// In the order in which recovery meets them.
        all: Vec<Accept>,
        /// What is wrong behind the refused fault, by what lets it pass.
        behind: Vec<Behind>,
    },
}

/// Faults that the same lets pass. One that is missing lets thousands of digests differ.
#[derive(Debug)]
pub struct Behind {
    /// What lets them pass.
    pub accept: Accept,
    /// The first.
    pub first: RecoverError,
    /// How many others there are.
    pub others: usize,
}

/// Looks for the way out of `refused`, which is what [`recover`] said with these arguments.
/// `restore` holds rubbish afterwards.
pub fn find_escape<R: Restore>(
    refused: &RecoverError,
    disk: &dyn Disk,
    dirs: &DataDirs,
    options: &RecoverOptions,
    restore: &mut R,
) -> Escape {
    if refused.accept().is_none() {
        return Escape::None;
    }
    let mut lenient = *options;
    Accept::ALL.into_iter().for_each(|accept| lenient.overrides.accept(accept));
    restore.reset();
    let notes = match recover(disk, dirs, &lenient, restore) {
        Ok(recovered) => recovered.notes,
        Err(error) => return Escape::Blocked(Box::new(error)),
    };
    let (mut all, mut behind) = (Vec::new(), Vec::<Behind>::new());
    for note in notes {
        if let Note::OverriddenToo { accept, count } = note
            && let Some(known) = behind.iter_mut().find(|known| known.accept == accept)
        {
            known.others += usize::try_from(count).unwrap_or(usize::MAX);
        }
        let Note::Overridden(first) = note else { continue };
        let Some(accept) = first.accept() else { continue };
        if !all.contains(&accept) {
            all.push(accept);
        }
        match behind.iter_mut().find(|known| known.accept == accept) {
            Some(known) => known.others += 1,
            None if first.to_string() == refused.to_string() => {}
            None => behind.push(Behind { accept, first, others: 0 }),
        }
    }
    Escape::Accepting { all, behind }
}

impl fmt::Display for Escape {
    /// Goes on where the text of the refusal ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, behind) = match self {
            Escape::None => return Ok(()),
            Escape::Blocked(error) => {
                return write!(f, "; no --accept helps, for behind it: {}", Short(error));
            }
            Escape::Accepting { all, behind } => (all, behind),
        };
        for Behind { accept, first, others } in behind {
            write!(f, "; and {accept}: {}", Short(first))?;
            if *others > 0 {
                write!(f, " (and {others} more)")?;
            }
        }
        let names: Vec<&str> = all.iter().map(|accept| accept.name()).collect();
        let names = names.join(",");
        write!(f, "; `zkfleet server --accept {names}` starts once without what is lost")?;
        if all.contains(&Accept::CutNewestLog) {
            f.write_str(", and keeps the log as it was (zkfleet.cut.log.*, beside it)")?;
        }
        Ok(())
    }
}

/// A fault without the advice that the first one gave.
struct Short<'a>(&'a RecoverError);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RecoverError::Log(fault) => {
                let (file, offset) = (fault.file.display(), fault.offset);
                write!(f, "{file} at byte {offset}: {}; {}", fault.why, fault.loss)
            }
            other => write!(f, "{other}"),
        }
    }
}
