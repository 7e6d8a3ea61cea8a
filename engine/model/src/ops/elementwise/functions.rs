//! Owns the functions of one floating-point value, activations among them.
//!
//! Refuses integers. Bound: 16-bit floats are computed in 32 bits and rounded once; what has a
//! kernel takes it for f32.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::{self, Isa};
use crate::ops::registry::Family;
use crate::ops::support::{Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// The same function of a slice of f32.
type Kernel = fn(Isa, &[f32], &mut [f32]);

/// A function with up to two settings, in both widths.
#[derive(Clone, Copy)]
struct Function {
    narrow: fn(f32, [f32; 2]) -> f32,
    wide: fn(f64, [f64; 2]) -> f64,
    kernel: Option<Kernel>,
}

/// Writes one expression for both widths.
macro_rules! function {
    (|$x:ident, $a:ident, $b:ident| $body:expr) => {
        Function {
            narrow: |$x: f32, [$a, $b]: [f32; 2]| $body,
            wide: |$x: f64, [$a, $b]: [f64; 2]| $body,
            kernel: None,
        }
    };
    (|$x:ident| $body:expr) => {
        function!(|$x, _a, _b| $body)
    };
}

impl Function {
    const fn by(self, kernel: Kernel) -> Self {
        Self { kernel: Some(kernel), ..self }
    }
}

/// This family.
pub const OPERATORS: Family = &[
    ("", "Ceil", |view| plain(view, function!(|x| x.ceil()))),
    ("", "Floor", |view| plain(view, function!(|x| x.floor()))),
    ("", "Round", |view| plain(view, function!(|x| x.round_ties_even()))),
    ("", "Sqrt", |view| plain(view, function!(|x| x.sqrt()))),
    ("", "Reciprocal", |view| plain(view, function!(|x| 1.0 / x))),
    ("", "Exp", |view| plain(view, function!(|x| x.exp()).by(kernels::exp))),
    ("", "Log", |view| plain(view, function!(|x| x.ln()))),
    ("", "Sin", |view| plain(view, function!(|x| x.sin()))),
    ("", "Cos", |view| plain(view, function!(|x| x.cos()))),
    ("", "Tan", |view| plain(view, function!(|x| x.tan()))),
    ("", "Asin", |view| plain(view, function!(|x| x.asin()))),
    ("", "Acos", |view| plain(view, function!(|x| x.acos()))),
    ("", "Atan", |view| plain(view, function!(|x| x.atan()))),
    ("", "Sinh", |view| plain(view, function!(|x| x.sinh()))),
    ("", "Cosh", |view| plain(view, function!(|x| x.cosh()))),
    ("", "Asinh", |view| plain(view, function!(|x| x.asinh()))),
    ("", "Acosh", |view| plain(view, function!(|x| x.acosh()))),
    ("", "Atanh", |view| plain(view, function!(|x| x.atanh()))),
    ("", "Tanh", |view| plain(view, function!(|x| x.tanh()).by(kernels::tanh))),
    ("", "Erf", |view| plain(view, ERF.by(kernels::erf))),
    ("", "Sigmoid", |view| plain(view, SIGMOID.by(kernels::sigmoid))),
    ("", "Relu", relu),
    ("", "Softsign", |view| plain(view, function!(|x| x / (1.0 + x.abs())))),
    ("", "Softplus", |view| plain(view, function!(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()))),
    ("", "HardSwish", |view| plain(view, function!(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)))),
    ("", "Mish", |view| {
        plain(view, function!(|x| x * (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh()))
    }),
    ("", "LeakyRelu", |view| {
        let leaky = function!(|x, a, _b| if x < 0.0 { a * x } else { x });
        set(view, leaky, ["alpha"], [0.01, 0.0])
    }),
    ("", "Elu", |view| {
        let elu = function!(|x, a, _b| if x < 0.0 { a * x.exp_m1() } else { x });
        set(view, elu, ["alpha"], [1.0, 0.0])
    }),
    ("", "Celu", |view| {
        // Written so that NaN stays in both parts.
        let celu = function!(|x, a, _b| {
            let below = a * (x / a).exp_m1();
            (if x < 0.0 { 0.0 } else { x }) + if below > 0.0 { 0.0 } else { below }
        });
        set(view, celu, ["alpha"], [1.0, 0.0])
    }),
    ("", "Selu", |view| {
        let selu = function!(|x, a, b| b * if x > 0.0 { x } else { a * x.exp_m1() });
        set(view, selu, ["alpha", "gamma"], [1.673_263_2, 1.050_701])
    }),
    ("", "ThresholdedRelu", |view| {
        let cut = function!(|x, a, _b| if x > a { x } else { 0.0 });
        set(view, cut, ["alpha"], [1.0, 0.0])
    }),
    ("", "HardSigmoid", |view| {
        set(view, function!(|x, a, b| (a * x + b).clamp(0.0, 1.0)), ["alpha", "beta"], [0.2, 0.5])
    }),
    ("", "Shrink", |view| {
        let shrink = function!(|x, a, b| if x < -b {
            x + a
        } else if x > b {
            x - a
        } else {
            0.0
        });
        set(view, shrink, ["bias", "lambd"], [0.0, 0.5])
    }),
    ("", "Swish", |view| {
        let swish = function!(|x, a, _b| x / (1.0 + (-a * x).exp()));
        set(view, swish, ["alpha"], [1.0, 0.0])
    }),
    ("", "Gelu", gelu),
];

const SIGMOID: Function = function!(|x| 1.0 / (1.0 + (-x).exp()));

const ERF: Function =
    Function { narrow: |x, _| libm::erff(x), wide: |x, _| libm::erf(x), kernel: None };

struct Mapped<T> {
    function: Function,
    settings: [f32; 2],
    elements: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<T: Float<Wide: Apply>> Operator for Mapped<T> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let isa = context.isa;
        if let (Some(kernel), Ok((shape, values))) = (self.function.kernel, inputs.values::<f32>(0))
        {
            kernel(isa, values, context.shape_as::<f32>(&mut outputs[0], shape)?);
            return Ok(());
        }
        let (shape, values) = inputs.values::<T>(0)?;
        let out = context.shape_as::<T>(&mut outputs[0], shape)?;
        for (out, value) in out.iter_mut().zip(values) {
            *out = T::narrow(T::Wide::apply(value.wide(), &self.function, self.settings));
        }
        Ok(())
    }
}

/// Chooses the width of a function.
trait Apply: Wide {
    fn apply(self, function: &Function, settings: [f32; 2]) -> Self;
}

impl Apply for f32 {
    fn apply(self, function: &Function, settings: [f32; 2]) -> Self {
        (function.narrow)(self, settings)
    }
}

impl Apply for f64 {
    fn apply(self, function: &Function, settings: [f32; 2]) -> Self {
        (function.wide)(self, settings.map(Self::from))
    }
}

fn plain(view: &NodeView<'_>, function: Function) -> Result<Built, ModelError> {
    set(view, function, [], [0.0; 2])
}

fn set<const N: usize>(
    view: &NodeView<'_>,
    function: Function,
    names: [&str; N],
    defaults: [f32; 2],
) -> Result<Built, ModelError> {
    view.only_attributes(&names)?;
    let mut settings = defaults;
    for (setting, name) in settings.iter_mut().zip(names) {
        *setting = view.float_or(name, *setting)?;
    }
    build(view, function, settings)
}

fn build(view: &NodeView<'_>, function: Function, settings: [f32; 2]) -> Result<Built, ModelError> {
    macro_rules! make {
        ($type:ty, $dtype:ident) => {
            Ok(Built::one(
                Mapped::<$type> { function, settings, elements: PhantomData },
                DType::$dtype,
            ))
        };
    }
    match view.dtype(0)? {
        DType::F32 => make!(f32, F32),
        DType::F64 => make!(f64, F64),
        DType::F16 => make!(f16, F16),
        DType::Bf16 => make!(bf16, Bf16),
        other => Err(view.refuse(format_args!("type {other} is not computed"))),
    }
}

fn relu(view: &NodeView<'_>) -> Result<Built, ModelError> {
    // NaN stays NaN, so that an overflow is seen at the end.
    plain(view, function!(|x| if x < 0.0 { 0.0 } else { x }))
}

fn gelu(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["approximate"])?;
    let exact = Function {
        narrow: |x, _| 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
        wide: |x, _| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        kernel: None,
    };
    // sqrt(2 / pi) as 2 / sqrt(pi) / sqrt(2).
    let tanh = Function {
        narrow: |x, _| {
            use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
            0.5 * x * (1.0 + (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (x + 0.044_715 * x * x * x)).tanh())
        },
        wide: |x, _| {
            use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
            0.5 * x * (1.0 + (FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (x + 0.044_715 * x * x * x)).tanh())
        },
        kernel: None,
    };
    match view.string("approximate")? {
        None | Some("none") => build(view, exact, [0.0; 2]),
        Some("tanh") => build(view, tanh, [0.0; 2]),
        Some(other) => Err(view.refuse(format_args!("approximation `{other}` is not known"))),
    }
}
