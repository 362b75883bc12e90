//! The Zab paper, put to the test: what Junqueira, Reed and Serafini ("Zab: High-performance
//! broadcast for primary-backup systems", DSN 2011) and their proofs ("Dissecting Zab",
//! YL-2010-0007) say of each phase, their invariants, their claims, and the six properties of
//! primary order broadcast.
//!
//! Sentences are ours. Steps have the paper's names (l.1.1 is the leader's first in phase 1, f.2.1
//! the follower's first in phase 2), as Apache's `Zab.tla` uses them; invariants and claims follow
//! their retelling in Medeiros, "ZooKeeper's atomic broadcast protocol: theory and practice"
//! (2012), and are cited by what they say. The paper's CEPOCH is FOLLOWERINFO, NEWEPOCH is
//! LEADERINFO, ACK-E is ACKEPOCH, COMMIT-LD is UPTODATE; f.p is `acceptedEpoch` and f.a
//! `currentEpoch`.
//!
//! One difference runs through all of it: the leader is elected with the most recent history, and
//! so has its initial history already, where the paper's fetches one.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../world/mod.rs"]
mod world;

mod broadcast;
mod claims;
mod discovery;
mod invariants;
mod machines;
#[cfg(feature = "planted")]
#[path = "../options/mod.rs"]
mod options;
#[cfg(feature = "planted")]
mod planted;
mod properties;
mod synchronization;
