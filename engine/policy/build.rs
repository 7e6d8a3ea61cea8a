//! Builds the plugins that ship inside the binary: core modules from the workspace `plugins/`,
//! each turned into a component with its manifest in this process.
//!
//! Owns the one nested cargo run of the project. Refuses to know what a plugin does.
//! Bound: one cargo run with a target directory of its own under `OUT_DIR`, so that it never waits
//! for the lock that the outer cargo holds.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use truststram_manifest::Manifest;

const TARGET: &str = "wasm32-unknown-unknown";
/// The built-in plugins: each is a folder of `plugins/` with the package `truststram-<name>`, and
/// becomes the component `<name>.wasm` in `OUT_DIR`.
const BUILTIN: [&str; 6] = ["aggregator", "batcher", "placer", "router", "selector", "tuner"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let plugins = root.join("plugins");
    // Folders are watched with everything in them; `plugins/` as a whole would include its build
    // output.
    let shared = ["plugins/Cargo.toml", "plugins/Cargo.lock", "plugins/.cargo", "plugins/shell"];
    for path in shared.into_iter().chain(["engine/decide", "wit", "Cargo.toml"]) {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    for plugin in BUILTIN {
        println!("cargo::rerun-if-changed={}", plugins.join(plugin).display());
    }
    require_target()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target_dir = out.join("plugins");
    build(&plugins, &target_dir)?;
    for plugin in BUILTIN {
        let module = format!("truststram_{plugin}.wasm");
        let module = fs::read(target_dir.join(TARGET).join("release").join(module))?;
        let mut bytes = wit_component::ComponentEncoder::default().module(&module)?.encode()?;
        let manifest = plugins.join(plugin).join("plugin.toml");
        let manifest = Manifest::from_toml(&fs::read_to_string(&manifest)?)
            .map_err(|error| format!("{}: {error}", manifest.display()))?;
        manifest.attach(&mut bytes)?;
        fs::write(out.join(plugin).with_extension("wasm"), bytes)?;
    }
    Ok(())
}

/// Stops with the command that installs the target when its standard library is missing.
fn require_target() -> Result<(), Box<dyn Error>> {
    let output = cleaned(Command::new(env::var("RUSTC")?))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    if output.status.success() && folder.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the plugins that ship in the binary are built for the Rust target {TARGET}, which is not \
         installed; install it with `rustup target add {TARGET}` or run `make setup`"
    )
    .into())
}

fn build(plugins: &Path, target_dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut cargo = cleaned(Command::new(env::var("CARGO")?));
    // The working directory makes cargo read the configuration of the plugins, if there is any.
    cargo.current_dir(plugins).args(["build", "--release", "--locked", "--target", TARGET]);
    for plugin in BUILTIN {
        cargo.arg("--package").arg(format!("truststram-{plugin}"));
    }
    cargo.arg("--target-dir").arg(target_dir);
    let output = cargo.output()?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("building the plugins in {} failed:\n{reason}", plugins.display()).into())
}

/// Removes what the outer cargo, or clippy as its wrapper, sets for the host's own crates. Left in
/// place it would compile the plugins with flags for another machine, or only check them.
fn cleaned(mut command: Command) -> Command {
    for name in [
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    command
}
