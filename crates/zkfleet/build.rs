//! Puts the functions of a server's start side by side (`link/start.ld`), where the linker can.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link/start.ld");
    let set = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    // An unoptimised program has other functions, and is not run for its memory.
    if set("CARGO_CFG_TARGET_OS", "linux") && set("PROFILE", "release") {
        let script =
            Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("link/start.ld");
        let argument = format!("-Wl,-T,{}", script.display());
        if links_with(&argument).unwrap_or(false) {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

/// Whether a small program can be linked with `argument` as this one will be: GNU ld and LLD know
/// scripts that only add a section, others may not.
fn links_with(argument: &str) -> Option<bool> {
    let out = env::var("OUT_DIR").ok()?;
    let source = Path::new(&out).join("probe.rs");
    fs::write(&source, "fn main() {}\n").ok()?;
    let mut rustc = Command::new(env::var("RUSTC").ok()?);
    rustc.arg("--target").arg(env::var("TARGET").ok()?);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.arg("-C").arg(format!("link-arg={argument}")).arg("-o").arg(source.with_extension("bin"));
    Some(rustc.arg(&source).output().ok()?.status.success())
}
