//! A crate depends only on lower layers (ARCHITECTURE.md); `[package.metadata.zkfleet] layer` says
//! where it stands.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Finding;

/// The layer of test programs. They may use one another, and nothing that ships may use them.
pub const TESTS: u64 = 9;

/// A member of the workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its layer; `None` if it has none.
    pub layer: Option<u64>,
    /// What it needs outside of tests.
    pub dependencies: Vec<String>,
}

/// Asks cargo for the members of the workspace; no network is used.
pub fn packages(root: &Path) -> Result<Vec<Package>, Box<dyn std::error::Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    Ok(list(&metadata["packages"]).map(package).collect())
}

fn package(value: &Value) -> Package {
    // A kind is "dev" or "build"; what ships has none.
    let ships = |dependency: &&Value| dependency["kind"].as_str() != Some("dev");
    Package {
        name: name(value),
        layer: value["metadata"]["zkfleet"]["layer"].as_u64(),
        dependencies: list(&value["dependencies"]).filter(ships).map(name).collect(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(value: &Value) -> String {
    value["name"].as_str().unwrap_or_default().to_owned()
}

/// Dependencies that go up or sideways, and packages without a layer.
#[must_use]
pub fn violations(packages: &[Package]) -> Vec<Finding> {
    let layers: BTreeMap<&str, u64> =
        packages.iter().filter_map(|p| Some((p.name.as_str(), p.layer?))).collect();
    let mut found = Vec::new();
    for package in packages {
        let Some(layer) = package.layer else {
            found.push(Finding::new(&package.name, 0, "give it [package.metadata.zkfleet] layer"));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(&below) = layers.get(dependency.as_str()) else { continue };
            if below >= layer && layer != TESTS {
                let what =
                    format!("layer {layer} must not depend on {dependency} of layer {below}");
                found.push(Finding::new(&package.name, 0, what));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, layer: u64, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|&name| name.to_owned()).collect();
        Package { name: name.to_owned(), layer: Some(layer), dependencies }
    }

    #[test]
    fn a_crate_may_only_look_down() {
        let mut all = vec![
            package("proto", 0, &["thiserror"]),
            package("tree", 1, &["proto"]),
            package("session", 1, &["tree"]),
            package("store", 2, &["kit"]),
            package("kit", TESTS, &["proto", "sim"]),
            package("sim", TESTS, &["store"]),
        ];
        let names =
            |all: &[Package]| violations(all).into_iter().map(|f| f.file).collect::<Vec<_>>();
        assert_eq!(names(&all), ["session", "store"]);
        all[0].layer = None;
        assert_eq!(names(&all), ["proto", "session", "store"]);
    }

    #[test]
    fn this_workspace_is_read() {
        let packages = packages(&crate::root()).unwrap();
        let tidy = packages.iter().find(|package| package.name == "tidy").unwrap();
        assert_eq!(
            (tidy.layer, tidy.dependencies.as_slice()),
            (Some(TESTS), &["serde_json".to_owned()][..])
        );
    }
}
