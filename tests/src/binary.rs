//! The `anyedge` command as a user would build it, in debug and in release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// Beginnings of the variables that cargo sets for a test alone.
const OF_A_TEST: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_PRIMARY_"];

/// With the features of all crates' dependencies that `cargo test --workspace` has, one test among what is asked for: all
/// but the command itself is there already. By itself it would have fewer, and half of what it uses be built again.
const AS_TESTS_ARE: [&str; 5] = ["--workspace", "--bin", "anyedge", "--test", "tidy"];
/// As the README says.
const AS_USERS_DO: [&str; 5] = ["--release", "--package", "anyedge-cli", "--bin", "anyedge"];

/// How the command was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// `cargo build`
    Debug,
    /// `cargo build --release`
    Release,
}

/// The workspace's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

/// The command, built when first asked for, into the target folder that the running test came from.
pub fn path(profile: Profile) -> &'static Path {
    static DEBUG: OnceLock<PathBuf> = OnceLock::new();
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    match profile {
        Profile::Debug => DEBUG.get_or_init(|| build(&AS_TESTS_ARE, "debug")),
        Profile::Release => RELEASE.get_or_init(|| build(&AS_USERS_DO, "release")),
    }
}

fn build(flags: &[&str], folder: &str) -> PathBuf {
    let built = cargo(&[&["build", "--quiet", "--locked"], flags].concat())
        .status()
        .expect("cargo can be run");
    assert!(built.success(), "the command does not build");
    target_folder().join(folder).join("anyedge")
}

/// Every test binary of the workspace: package and, where it is not the library's, the name of its own; its file.
///
/// # Panics
/// When the tests do not build.
pub fn of_tests() -> BTreeMap<(String, Option<String>), PathBuf> {
    let args = ["test", "--workspace", "--no-run", "--locked", "--quiet"];
    let told = cargo(&args)
        .arg("--message-format=json")
        .output()
        .expect("cargo can be run");
    assert!(told.status.success(), "the tests do not build");
    let told = String::from_utf8(told.stdout).expect("cargo tells JSON");
    let told = told
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = told.filter_map(|artifact| {
        let file = artifact["executable"].as_str()?;
        let package = Path::new(artifact["manifest_path"].as_str()?).parent()?;
        let folder = package.file_name()?.to_str()?;
        let target = &artifact["target"];
        let own = match target["kind"][0].as_str()? {
            "lib" => None,
            "test" | "bin" => Some(target["name"].as_str()?.to_owned()),
            _ => return None,
        };
        let is_test = artifact["profile"]["test"].as_bool()?;
        is_test.then(|| ((format!("anyedge-{folder}"), own), PathBuf::from(file)))
    });
    tests.collect()
}

/// Cargo, to work in the target folder that the running test came from.
fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    // What cargo tells a test of its own package would have build scripts run again, and with them half of the build.
    for (name, _) in std::env::vars_os() {
        let own = name.to_string_lossy();
        if OF_A_TEST.iter().any(|prefix| own.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
        .args(args)
        .arg("--target-dir")
        .arg(target_folder())
        .current_dir(root());
    command
}

fn target_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    // <target>/<profile>/deps/<test>
    let target = own
        .ancestors()
        .nth(3)
        .expect("a test lies in the target folder");
    target.to_owned()
}

/// Runs the command in the workspace's folder to its end.
pub fn run(profile: Profile, args: &[&str]) -> Output {
    Command::new(path(profile))
        .args(args)
        .current_dir(root())
        .output()
        .expect("the command can be run")
}

/// Runs `sim` with `args` and gives its JSON; the verdict may be either.
///
/// # Panics
/// When the run fails otherwise than by a broken service level.
pub fn simulate(profile: Profile, args: &[&str]) -> serde_json::Value {
    let output = run(
        profile,
        &[&["sim", "--quiet", "--json", "-"], args].concat(),
    );
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{args:?}: exit {code:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}
