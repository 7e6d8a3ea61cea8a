//! Owns `check-config` and `print-config`, and how `serve` gets its plan.
//!
//! Refuses to judge; `crate::config` does. Bound: one configuration.

use anyhow::anyhow;
use serde_json::json;
use truststram_machine::Topology;

use super::{ConfigArguments, Failure, output};
use crate::config::read::Located;
use crate::config::{Plan, Problems, generate, plan, read};

/// Reads the file, if any, and puts the flags over it.
pub(super) fn located(arguments: &ConfigArguments) -> Result<Located, Problems> {
    let mut located = match &arguments.config {
        Some(file) => read::read(file)?,
        None => Located::default(),
    };
    let server = &mut located.raw.server;
    let flags = [
        (&arguments.listen, &mut server.listen, "server.listen", "--listen"),
        (
            &arguments.admin_listen,
            &mut server.admin_listen,
            "server.admin_listen",
            "--admin-listen",
        ),
        (&arguments.data_dir, &mut server.data_dir, "server.data_dir", "--data-dir"),
    ];
    let mut given = Vec::new();
    for (value, target, key, flag) in flags {
        if let Some(value) = value {
            value.clone_into(target);
            given.push((key, flag));
        }
    }
    for (key, flag) in given {
        located.set_by_flag(key, flag);
    }
    Ok(located)
}

/// The plan that the arguments lead to, with where its values came from.
pub(super) fn planned(arguments: &ConfigArguments) -> Result<(Plan, Located), Failure> {
    resolved(arguments, Topology::of_host()?).map_err(|problems| Failure::Usage(problems.into()))
}

/// The same for a machine that is known.
pub(super) fn resolved(
    arguments: &ConfigArguments,
    topology: Topology,
) -> Result<(Plan, Located), Problems> {
    let located = located(arguments)?;
    let plan = plan::resolve(&located, arguments.insecure, topology)?;
    Ok((plan, located))
}

pub(super) fn check(arguments: &ConfigArguments, json: bool) -> Result<(), Failure> {
    let (plan, _) = planned(arguments)?;
    let warnings: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
    if json {
        return output::json(&json!({ "problems": [], "warnings": warnings }));
    }
    for warning in &warnings {
        output::remark(&format!("warning: {warning}"));
    }
    output::text("no problems\n")
}

pub(super) fn print(arguments: &ConfigArguments, default: bool, json: bool) -> Result<(), Failure> {
    if default && json {
        return Err(Failure::Usage(anyhow!("--default prints a commented file; leave --json out")));
    }
    if default {
        return output::text(&generate::default_file());
    }
    let located = located(arguments).map_err(|problems| Failure::Usage(problems.into()))?;
    if json {
        return output::json(&serde_json::to_value(&located.raw)?);
    }
    output::text(&generate::effective(&located.raw))
}
