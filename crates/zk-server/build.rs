//! Says when the crate was built: the version that servers tell ends with it, as Apache's does.
//!
//! `SOURCE_DATE_EPOCH` (seconds since 1970) makes builds that can be repeated byte for byte.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // Whenever this crate is built anew, for one below it as well.
    for name in ["core", "proto", "quorum", "sasl", "server", "session", "store", "tree", "zab"] {
        println!("cargo::rerun-if-changed=../zk-{name}");
    }
    let fixed = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.trim().parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=ZKFLEET_BUILD_DATE={}", date(fixed.unwrap_or_else(now)));
}

/// `2025-08-19 19:53 UTC`: the days since 1970 in years that begin in March, after Howard Hinnant's
/// `civil_from_days`.
fn date(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400 + 719_468, seconds % 86_400 / 60);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}
