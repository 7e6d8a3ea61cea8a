//! Owns the order of the steps and what is measured between them.
//!
//! Refuses to decide what becomes of a version that lost too much: the report says so. Bound: two
//! copies of the weights, the one given and the one made.

use super::data::DataSet;
use super::figures::{figures, program};
use super::options::{Int8, OptimizeOptions, refused};
use super::quality::Quality;
use super::report::{Report, Step, StepName, describe};
use super::{answers, bf16, calibrate, int8, prune_l1};
use crate::artifact::Artifact;
use crate::error::ModelError;
use crate::graph::Graph;
use crate::passes;
use crate::program::BuildOptions;

/// Makes another version of a model and compares it with the one given: fuse, prune, 8-bit
/// numbers, bf16, as asked. The version is made also where it loses more accuracy than it may;
/// [`Report::ensure_within_limit`] refuses it then.
///
/// # Errors
/// [`ModelError::Optimize`] for a step that cannot be taken, with what to do instead; whatever is
/// wrong with the artifact; [`ModelError::NotFinite`] if a version's answer is not finite.
pub fn optimize(
    artifact: &Artifact,
    options: &OptimizeOptions,
    data: Option<&DataSet>,
) -> Result<(Artifact, Report), ModelError> {
    let signature = &artifact.signature;
    options.check(&signature.task, data)?;
    artifact.validate()?;
    data.map_or(Ok(()), |data| data.check(signature))?;
    let given = program(artifact)?;
    let before = figures(artifact, &given, data)?;
    let mut made = artifact.clone();
    let mut steps = Vec::new();
    let mut last = std::sync::Arc::clone(&given);
    for name in wanted(options) {
        made.graph = take(name, made.graph, options, artifact, data)?;
        last = program(&made)?;
        steps.push(Step { name, after: figures(&made, &last, data)? });
    }
    let quality = match data {
        None => None,
        Some(data) => {
            let before = answers::ask(&given, signature, data)?;
            let after = answers::ask(&last, signature, data)?;
            Some(Quality::of(&signature.task, data, &before, &after))
        }
    };
    let loss = quality.as_ref().and_then(|quality| quality.accuracy_loss);
    let is_within_limit = options.accuracy_loss_max.zip(loss).map(|(max, loss)| loss <= max);
    let (layers, operators) = describe(&made.graph);
    let options = options.clone();
    let report = Report { options, before, steps, operators, layers, quality, is_within_limit };
    Ok((made, report))
}

fn wanted(options: &OptimizeOptions) -> impl Iterator<Item = StepName> {
    let changes_layers = options.int8.is_some() || options.bf16;
    let steps = [
        (StepName::Fuse, options.fuse || changes_layers),
        (StepName::PruneL1, options.prune_l1.is_some()),
        (StepName::Int8, options.int8.is_some()),
        (StepName::Bf16, options.bf16),
    ];
    steps.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(name, _)| name)
}

fn take(
    name: StepName,
    mut graph: Graph,
    options: &OptimizeOptions,
    artifact: &Artifact,
    data: Option<&DataSet>,
) -> Result<Graph, ModelError> {
    match (name, options.int8) {
        (StepName::Fuse, _) => return passes::optimize(graph, &BuildOptions::default()),
        (StepName::PruneL1, _) => prune_l1::prune(&mut graph, options.prune_l1.unwrap_or(0.0))?,
        (StepName::Int8, Some(Int8::Static(kind))) => {
            let layers = int8::wide_layers(&graph)?;
            let data = data.ok_or_else(|| refused("int8 static", "there are no data"))?;
            let ranges = calibrate::ranges(&graph, &layers, kind, &artifact.signature, data)?;
            int8::quantise(&mut graph, &layers, Some(&ranges))?;
        }
        (StepName::Int8, _) => {
            let layers = int8::wide_layers(&graph)?;
            int8::quantise(&mut graph, &layers, None)?;
        }
        (StepName::Bf16, _) => bf16::round(&mut graph)?,
    }
    Ok(graph)
}
