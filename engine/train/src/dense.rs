//! Owns the training of a dense classifier: standardised inputs, shuffled batches, AdamW, and the
//! test on rows it has not seen.
//!
//! Refuses to register what it made. On one thread the same seed gives the same bits. Bound: the
//! epochs asked for; the evaluation's threads by the cores given.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rayon::prelude::*;
use truststram_machine::compute_pool;
use truststram_model::artifact::graph_of_dense;
use truststram_model::kernels::Alone;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor;
use truststram_model::{LayerWeights, ModelFile, ModelSpec, Preprocessing};

use crate::data::{Dataset, Split};
use crate::error::TrainError;
use crate::net::Net;
use crate::random::Random;

/// Rows that one evaluation task takes.
const EVALUATION_ROWS: usize = 64;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Neurons of each hidden layer.
    pub hidden: Vec<usize>,
    /// Passes over the data.
    pub epochs: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Of the first weights and the shuffles.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            hidden: vec![128, 64],
            epochs: 40,
            batch_size: 32,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            seed: 1,
        }
    }
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Epochs done.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean loss of the epoch just done.
    pub loss: f32,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub file: ModelFile,
    /// Share of held-out rows that it gets right.
    pub held_out_accuracy: f64,
    /// Mean loss of the last epoch.
    pub train_loss: f32,
    /// Held-out rows by true class, then by predicted class.
    pub confusion: Vec<Vec<u32>>,
}

/// Trains on `split.train` and tests with `split.held_out` on `cores`.
pub fn train_dense(
    split: &Split,
    options: &TrainOptions,
    cores: &[u32],
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    check(options)?;
    split.check()?;
    let data = &split.train;
    let mut sizes = vec![data.feature_count];
    sizes.extend(&options.hidden);
    sizes.push(data.classes.len());
    // The description knows the limits, so it comes before the memory that the weights need.
    let spec = describe(&sizes, data)?;
    let mut random = Random::new(options.seed);
    let net = Net::new(&sizes, DType::F32, &mut random)?;
    let train_loss = fit(&net, data, &spec.preprocessing, options, &mut random, progress)?;
    let file = export(&net, spec)?;
    let confusion = evaluate(&file, &split.held_out, cores)?;
    let right: u32 = confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
    let held_out_accuracy = f64::from(right) / split.held_out.rows() as f64;
    Ok(Trained { file, held_out_accuracy, train_loss, confusion })
}

fn check(options: &TrainOptions) -> Result<(), TrainError> {
    let wrong = |option, expected| Err(TrainError::Option { option, expected });
    let size = |neurons: &usize| (1..=65_536).contains(neurons);
    if options.hidden.len() > 16 || !options.hidden.iter().all(size) {
        return wrong("hidden", "at most 16 layers of 1 to 65536 neurons");
    }
    if options.epochs == 0 {
        return wrong("epochs", "at least 1");
    }
    if options.batch_size == 0 {
        return wrong("batch_size", "at least 1");
    }
    if !(options.learning_rate > 0.0 && options.learning_rate.is_finite()) {
        return wrong("learning_rate", "a positive number");
    }
    if !(options.weight_decay >= 0.0 && options.weight_decay.is_finite()) {
        return wrong("weight_decay", "a number from 0");
    }
    Ok(())
}

/// Mean and inverse standard deviation of each feature; a constant one is only shifted.
fn standardise(data: &Dataset) -> Preprocessing {
    let rows = data.rows() as f64;
    let moment = |feature: usize, of: &dyn Fn(f64) -> f64| {
        (0..data.rows()).map(|row| of(f64::from(data.row(row)[feature]))).sum::<f64>() / rows
    };
    let mut preprocessing = Preprocessing { mean: Vec::new(), scale: Vec::new() };
    for feature in 0..data.feature_count {
        let mean = moment(feature, &|value| value);
        let variance = moment(feature, &|value| (value - mean).powi(2));
        let scale = if variance > 1e-12 { variance.sqrt().recip() } else { 1.0 };
        preprocessing.mean.push(mean as f32);
        preprocessing.scale.push(scale as f32);
    }
    preprocessing
}

fn fit(
    net: &Net,
    data: &Dataset,
    preprocessing: &Preprocessing,
    options: &TrainOptions,
    random: &mut Random,
    progress: &mut dyn FnMut(Progress),
) -> Result<f32, TrainError> {
    let parameters = ParamsAdamW {
        lr: options.learning_rate,
        weight_decay: options.weight_decay,
        ..ParamsAdamW::default()
    };
    let mut optimiser = AdamW::new(net.variables(), parameters)?;
    let mut order: Vec<usize> = (0..data.rows()).collect();
    let mut loss = f32::NAN;
    for epoch in 1..=options.epochs {
        random.shuffle(&mut order);
        let mut sum = 0.0;
        for rows in order.chunks(options.batch_size) {
            let (input, labels) = batch(data, preprocessing, rows)?;
            let step = net.loss(&input, &labels)?;
            optimiser.backward_step(&step)?;
            sum += step.to_scalar::<f32>()? * rows.len() as f32;
        }
        loss = sum / data.rows() as f32;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { epoch });
        }
        progress(Progress { epoch, epochs: options.epochs, loss });
    }
    Ok(loss)
}

fn batch(
    data: &Dataset,
    preprocessing: &Preprocessing,
    rows: &[usize],
) -> Result<(Tensor, Tensor), TrainError> {
    let Preprocessing { mean, scale } = preprocessing;
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|&row| {
            let pairs = data.row(row).iter().zip(mean.iter().zip(scale));
            pairs.map(|(value, (mean, scale))| (value - mean) * scale)
        })
        .collect();
    let labels: Vec<u32> = rows.iter().map(|&row| data.labels[row]).collect();
    let input = Tensor::from_vec(values, (rows.len(), data.feature_count), &Device::Cpu)?;
    Ok((input, Tensor::from_vec(labels, rows.len(), &Device::Cpu)?))
}

fn describe(sizes: &[usize], data: &Dataset) -> Result<ModelSpec, TrainError> {
    let sizes = sizes.iter().map(|&size| u32::try_from(size).unwrap_or(u32::MAX)).collect();
    Ok(ModelSpec::dense(sizes, data.classes.clone(), standardise(data))?)
}

fn export(net: &Net, spec: ModelSpec) -> Result<ModelFile, TrainError> {
    let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let mut layers = Vec::with_capacity(net.layers.len());
    for (weight, bias) in &net.layers {
        layers.push(LayerWeights { weight: values(weight)?, bias: values(bias)? });
    }
    Ok(ModelFile::new(spec, layers)?)
}

/// Asks the model as it will be served, several rows at a time, one pinned thread per core.
fn evaluate(file: &ModelFile, data: &Dataset, cores: &[u32]) -> Result<Vec<Vec<u32>>, TrainError> {
    let classes = data.classes.len();
    let rows: Vec<usize> = (0..data.rows()).collect();
    let pool = compute_pool("evaluate", cores)?;
    let program = Program::build(&graph_of_dense(file.clone()), &BuildOptions::default())?;
    let program = Arc::new(program);
    let session = || Session::new(Arc::clone(&program));
    let parts: Result<Vec<Vec<(usize, usize)>>, TrainError> = pool.install(|| {
        rows.par_chunks(EVALUATION_ROWS)
            .map_init(session, |session, rows| {
                let values: Vec<f32> =
                    rows.iter().flat_map(|&row| data.row(row)).copied().collect();
                let dims = [rows.len(), values.len() / rows.len()];
                // The run refuses what does not fit.
                *session.input_mut(0) = tensor::Tensor::of(&dims, values).unwrap_or_default();
                session.run(&Alone, None)?;
                let probabilities = session.output(0).and_then(|output| output.values::<f32>());
                let predicted = probabilities.unwrap_or_default().chunks_exact(classes);
                let labels = rows.iter().map(|&row| data.labels[row] as usize);
                Ok(labels.zip(predicted.map(most_probable)).collect())
            })
            .collect()
    });
    let mut confusion = vec![vec![0; classes]; classes];
    for (label, predicted) in parts?.into_iter().flatten() {
        confusion[label][predicted] += 1;
    }
    Ok(confusion)
}

fn most_probable(row: &[f32]) -> usize {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DIGITS_HELD_OUT_SHARE, DIGITS_SEED, digits};

    fn split() -> Split {
        digits().unwrap().split(DIGITS_HELD_OUT_SHARE, DIGITS_SEED)
    }

    #[test]
    fn digits_are_learnt() {
        let mut losses = Vec::new();
        let mut note = |progress: Progress| losses.push(progress.loss);
        let trained = train_dense(&split(), &TrainOptions::default(), &[0], &mut note).unwrap();
        assert!(trained.held_out_accuracy >= 0.95, "{}", trained.held_out_accuracy);
        assert_eq!(losses.len(), TrainOptions::default().epochs);
        assert!(losses.last() < losses.first());
        let rows: u32 = trained.confusion.iter().flatten().sum();
        assert_eq!(rows as usize, split().held_out.rows());
    }

    #[test]
    fn the_same_seed_gives_the_same_bits() {
        let bytes = |seed: u64| {
            let options = TrainOptions { epochs: 2, hidden: vec![16], seed, ..Default::default() };
            let trained = train_dense(&split(), &options, &[0], &mut |_| {}).unwrap();
            trained.file.to_bytes().unwrap()
        };
        assert!(bytes(5) == bytes(5));
        assert!(bytes(5) != bytes(6));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let mut split = split();
        split.held_out.classes.push("ten".to_owned());
        let trained = train_dense(&split, &TrainOptions::default(), &[0], &mut |_| {});
        assert!(matches!(trained, Err(TrainError::Dataset(_))));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let check = |change: &dyn Fn(&mut TrainOptions), expected: &str| {
            let mut options = TrainOptions::default();
            change(&mut options);
            let error = train_dense(&split(), &options, &[0], &mut |_| {}).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(&|options| options.hidden = vec![0], "`hidden`");
        check(&|options| options.hidden = vec![usize::MAX], "`hidden`");
        check(&|options| options.hidden = vec![1; 17], "`hidden`");
        check(&|options| options.hidden = vec![65_536; 16], "bytes of weights");
        check(&|options| options.epochs = 0, "`epochs`");
        check(&|options| options.batch_size = 0, "`batch_size`");
        check(&|options| options.learning_rate = f64::NAN, "`learning_rate`");
        check(&|options| options.weight_decay = -1.0, "`weight_decay`");
        check(&|options| (options.learning_rate, options.epochs) = (1e30, 3), "not finite");
    }
}
