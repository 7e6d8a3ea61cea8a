//! Owns `plugin new` and `plugin build`: from nothing to a component.
//!
//! Refuses to install tools: it calls those of the language and says which one is missing. Bound:
//! one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use serde_json::json;
use truststram_manifest::Manifest;
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

use super::project::{Language, PluginKind, Project, world as world_of};
use super::start;
use crate::cli::{Failure, output};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NewArguments {
    /// The plugin's name, which is also the folder's: a-z, 0-9 and `-`.
    name: String,
    /// What it decides.
    #[arg(long, value_enum)]
    kind: PluginKind,
    /// The language that it is written in.
    #[arg(long = "lang", value_enum)]
    language: Language,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct BuildArguments {
    /// The folder with `plugin.toml`.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the tools of Python and JavaScript are, if they are not on the path: a folder with
    /// `bin/componentize-py` or `node_modules/.bin/jco`.
    #[arg(long, value_name = "DIRECTORY")]
    tools: Option<PathBuf>,
}

macro_rules! wit {
    ($($file:literal),*) => {
        &[$((
            $file,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/wit/since_v0.1.0/", $file)),
        )),*]
    };
}

const WIT: &[(&str, &str)] = wit!(
    "aggregation.wit",
    "batching.wit",
    "lifecycle.wit",
    "placement.wit",
    "routing.wit",
    "selection.wit",
    "tuning.wit",
    "types.wit"
);

/// Starts a plugin.
pub(super) fn new(arguments: &NewArguments, json: bool) -> Result<(), Failure> {
    let NewArguments { name, kind, language } = arguments;
    let files = start::files(*language, *kind, name);
    // A name that cannot be used is known before anything is written: it is a path as well.
    for (_, text) in files.iter().filter(|(file, _)| file == "plugin.toml") {
        Manifest::from_toml(text).map_err(|error| Failure::Usage(anyhow!("{error}")))?;
    }
    let folder = Path::new(name);
    if folder.exists() {
        return Err(Failure::Usage(anyhow!("{name} is there already")));
    }
    for (file, text) in files {
        write(&folder.join(file), text)?;
    }
    write(&folder.join(".gitignore"), "/target\n")?;
    for (file, text) in WIT {
        write(&folder.join("wit").join(file), text)?;
    }
    if json {
        return output::json(&json!({ "folder": folder }));
    }
    output::text(&format!(
        "{name}/ is a {} that works as it is. Next:\n\n  truststram plugin build {name}\n  \
         truststram plugin check {name}\n  \
         truststram plugin install {} {name}/target/{name}.wasm\n",
        kind.name(),
        kind.name(),
    ))
}

/// Builds the component of a plugin.
pub(super) fn build(arguments: &BuildArguments, json: bool) -> Result<(), Failure> {
    let folder = arguments
        .folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", arguments.folder.display()))?;
    let project = Project::read(&folder)?;
    let target = folder.join("target");
    let wit = target.join("wit");
    for (file, text) in WIT {
        write(&wit.join(file), text)?;
    }
    let component = project.component(&folder);
    let world = world_of(project.kind);
    let tool = |name: &str, places: [&str; 2]| {
        // The tool runs in the plugin's folder, so its own path must hold from there.
        let tools = arguments.tools.as_ref().and_then(|tools| tools.canonicalize().ok());
        let found = tools.as_ref().and_then(|tools| {
            places.map(|place| tools.join(place).join(name)).into_iter().find(|path| path.exists())
        });
        let mut command = Command::new(found.unwrap_or_else(|| PathBuf::from(name)));
        if let Some(tools) = tools {
            // jco is a script for the node that may have come with the tools.
            let brought = tools.join("python/bin");
            let path = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(brought).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(all).unwrap_or(path));
        }
        command
    };
    match project.language {
        Language::Rust => rust(&project, &folder)?,
        Language::C => c(&project, &folder, &wit)?,
        Language::Python => run(
            tool("componentize-py", ["bin", "python/bin"])
                .current_dir(&folder)
                .arg("--wit-path")
                .arg(&wit)
                .args(["--world", world, "componentize", "--stub-wasi", "plugin", "--output"])
                .arg(&component),
            "pip install componentize-py==0.25.1",
        )?,
        Language::Js => run(
            tool("jco", ["node_modules/.bin", "js/node_modules/.bin"])
                .current_dir(&folder)
                .args(["componentize", "plugin.js", "--world-name", world, "--wit"])
                .arg(&wit)
                .args(["--backend", "quickjs", "--backend-qjs-disable-async"])
                .args(["--backend-qjs-stub-wasi", "--out"])
                .arg(&component),
            "npm install @bytecodealliance/jco@1.35.0",
        )?,
    }
    let mut built = fs::read(&component)
        .with_context(|| format!("the build made no {}", component.display()))?;
    project.manifest.attach(&mut built).map_err(|error| anyhow!("plugin.toml: {error}"))?;
    write(&component, &built)?;
    let bytes = built.len();
    if json {
        return output::json(&json!({ "component": component, "bytes": bytes }));
    }
    output::text(&format!("{} ({bytes} bytes)\n", component.display()))
}

fn rust(project: &Project, folder: &Path) -> Result<(), Failure> {
    let target = folder.join("target");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(folder)
        .args(["build", "--release", "--target", WASM_TARGET, "--target-dir"])
        .arg(&target);
    // Flags for this machine, as an outer cargo sets them, are not for the component's.
    for name in ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    run(&mut cargo, "https://rustup.rs, then: rustup target add wasm32-unknown-unknown")?;
    let module = format!("{}.wasm", project.manifest.name.replace('-', "_"));
    encode(&target.join(WASM_TARGET).join("release").join(module), &project.component(folder))
}

fn c(project: &Project, folder: &Path, wit: &Path) -> Result<(), Failure> {
    let bindings = folder.join("target/bindings");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world_of(project.kind)))?;
    let mut files = wit_bindgen_core::Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    for (name, bytes) in files.iter() {
        write(&bindings.join(name), bytes)?;
    }
    let name = world_of(project.kind).replace('-', "_");
    let module = folder.join("target/module.wasm");
    run(
        Command::new("clang")
            .current_dir(folder)
            .args(["--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-Wall", "-Wextra"])
            .arg("-I")
            .arg(&bindings)
            .arg("plugin.c")
            .arg(bindings.join(format!("{name}.c")))
            .arg(bindings.join(format!("{name}_component_type.o")))
            .arg("-o")
            .arg(&module),
        "apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32",
    )?;
    encode(&module, &project.component(folder))
}

/// Turns a core module with the description of its world into a component.
fn encode(module: &Path, component: &Path) -> Result<(), Failure> {
    let bytes = super::read(module)?;
    let encoded = ComponentEncoder::default().module(&bytes).and_then(|encoder| {
        let mut encoder = encoder.validate(true);
        encoder.encode()
    });
    let encoded = encoded.with_context(|| format!("{} is no plugin", module.display()))?;
    write(component, encoded)
}

fn run(command: &mut Command, install: &str) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {program}; to install it: {install}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Err(Failure::Failed(anyhow!("{program} failed:\n{}", said.concat().trim_end())))
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
