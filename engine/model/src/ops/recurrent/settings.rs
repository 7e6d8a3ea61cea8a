//! Owns the settings of recurrent operators.
//!
//! Refuses activations that have parameters of their own. Bound: two directions.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::support::{Wide, allowed};

/// Which operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One activation of input and state.
    Rnn,
    /// With a cell behind gates for input, output and forgetting.
    Lstm {
        /// Whether what comes in is what is forgotten.
        coupled: bool,
    },
    /// With gates for updating and resetting the state.
    Gru {
        /// Whether the state is reset after its product with the weights.
        linear_before_reset: bool,
    },
}

impl Kind {
    /// How many times the state's numbers the weights have rows.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm { .. } => 4,
            Self::Gru { .. } => 3,
        }
    }

    fn default_activations(self) -> &'static [Activation] {
        match self {
            Self::Rnn => &[Activation::Tanh],
            Self::Lstm { .. } => &[Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
            Self::Gru { .. } => &[Activation::Sigmoid, Activation::Tanh],
        }
    }
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// The larger one of x and 0.
    Relu,
    /// x / (1 + |x|).
    Softsign,
}

impl Activation {
    /// Its value.
    pub fn of<W: Wide>(self, x: W) -> W {
        match self {
            Self::Sigmoid => W::ONE / (W::ONE + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Relu => {
                if x < W::ZERO {
                    W::ZERO
                } else {
                    x
                }
            }
            Self::Softsign => x / (W::ONE + x.abs()),
        }
    }
}

/// Which way a sequence is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Reverse,
}

/// See the module.
#[derive(Debug)]
pub struct Settings {
    /// Which operator.
    pub kind: Kind,
    /// Which ways, one or two.
    pub directions: Vec<Direction>,
    /// Those of each direction, one after the other.
    pub activations: Vec<Activation>,
    /// The largest input of an activation, either way.
    pub clip: Option<f32>,
    /// Numbers of the state, if they are given.
    pub hidden: Option<usize>,
    /// Whether sequences come before their steps.
    pub batch_first: bool,
}

impl Settings {
    /// Reads the settings of a node.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`].
    pub fn read(view: &NodeView<'_>, kind: Kind) -> Result<Self, ModelError> {
        let since = |name, first| (name, first, u32::MAX);
        let mut known = vec![
            since("activations", 1),
            since("clip", 1),
            since("direction", 1),
            since("hidden_size", 1),
            since("layout", 14),
        ];
        match kind {
            Kind::Rnn => {}
            Kind::Lstm { .. } => known.push(since("input_forget", 1)),
            Kind::Gru { .. } => known.push(since("linear_before_reset", 3)),
        }
        allowed(view, &known)?;
        let directions = match view.string("direction")?.unwrap_or("forward") {
            "forward" => vec![Direction::Forward],
            "reverse" => vec![Direction::Reverse],
            "bidirectional" => vec![Direction::Forward, Direction::Reverse],
            other => return Err(view.refuse(format_args!("direction `{other}` is not known"))),
        };
        let activations = match view.strings("activations")? {
            Some(names) => {
                names.iter().map(|name| activation(view, name)).collect::<Result<_, _>>()?
            }
            None => kind.default_activations().repeat(directions.len()),
        };
        if activations.len() != kind.default_activations().len() * directions.len() {
            return Err(view.refuse(format_args!("{} activations", activations.len())));
        }
        let clip = view.float("clip")?;
        if clip.is_some_and(|clip| clip.is_nan() || clip < 0.0) {
            return Err(view.refuse("`clip` is not positive"));
        }
        let hidden = view.int("hidden_size")?.map(|hidden| {
            usize::try_from(hidden).map_err(|_| view.refuse(format_args!("`hidden_size` {hidden}")))
        });
        let batch_first = match view.int_or("layout", 0)? {
            0 => false,
            1 => true,
            other => return Err(view.refuse(format_args!("`layout` {other}"))),
        };
        Ok(Self { kind, directions, activations, clip, hidden: hidden.transpose()?, batch_first })
    }
}

fn activation(view: &NodeView<'_>, name: &str) -> Result<Activation, ModelError> {
    Ok(match name {
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Relu" => Activation::Relu,
        "Softsign" => Activation::Softsign,
        other => return Err(view.refuse(format_args!("activation `{other}` is not computed"))),
    })
}
