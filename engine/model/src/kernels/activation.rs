//! Owns the functions that are applied to each value of a layer.
//!
//! Refuses to know layers. Bound: what takes a handful of instructions per value.

use super::lanes::{COUNT, Kernel, Lanes, dispatch};
use super::{Isa, math};

/// A function applied to each value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// The value as it is.
    #[default]
    None,
    /// The larger of the value and 0; NaN stays NaN.
    Relu,
    /// The value, times this factor where it is below 0.
    LeakyRelu(f32),
    /// `x · Φ(x)`, by the error function.
    Gelu,
    /// The approximation of GELU by the hyperbolic tangent.
    GeluTanh,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x · sigmoid(x)`.
    Silu,
}

impl Activation {
    /// By the name that graphs use: the variant in lower case with underscores; none for an
    /// unknown one and for `leaky_relu`, which needs its factor.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "relu" => Self::Relu,
            "gelu" => Self::Gelu,
            "gelu_tanh" => Self::GeluTanh,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "silu" => Self::Silu,
            _ => return None,
        })
    }
}

/// Something done to sixteen values at a time.
pub(super) trait Map: Copy {
    /// Does it.
    fn apply<L: Lanes>(self, x: L) -> L;
}

/// A [`Map`] over a stretch of memory, in place.
pub(super) struct MapStretch<M> {
    pub map: M,
    pub from: *const f32,
    pub to: *mut f32,
    pub count: usize,
}

impl<M: Map> Kernel for MapStretch<M> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let whole = self.count - self.count % COUNT;
        let mut index = 0;
        // SAFETY: who makes a stretch promises that `count` values can be read and written.
        unsafe {
            while index < whole {
                let x = L::load(self.from.add(index));
                self.map.apply(x).store(self.to.add(index));
                index += COUNT;
            }
            let rest = self.count - whole;
            if rest > 0 {
                let x = L::load_part(self.from.add(whole), rest, 0.0);
                self.map.apply(x).store_part(self.to.add(whole), rest);
            }
        }
    }
}

macro_rules! maps {
    ($($name:ident = $function:path;)*) => {
        $(#[derive(Clone, Copy)]
        pub(super) struct $name;

        impl Map for $name {
            #[inline(always)]
            fn apply<L: Lanes>(self, x: L) -> L {
                $function(x)
            }
        })*
    };
}

maps! {
    Relu = math::relu;
    Gelu = math::gelu;
    GeluTanh = math::gelu_tanh;
    Tanh = math::tanh;
    Sigmoid = math::sigmoid;
    Silu = math::silu;
    Exp = math::exp;
    Log = math::log;
    Erf = math::erf;
}

#[derive(Clone, Copy)]
struct LeakyRelu(f32);

impl Map for LeakyRelu {
    #[inline(always)]
    fn apply<L: Lanes>(self, x: L) -> L {
        x.if_less(L::splat(0.0), x.mul(L::splat(self.0)), x)
    }
}

/// An activation over a stretch of memory, in place.
///
/// # Safety
/// `count` values from `to` can be read and written, and the host has the set of `L`.
#[inline(always)]
pub(super) unsafe fn activate_stretch<L: Lanes>(
    activation: Activation,
    to: *mut f32,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => {}
            Activation::Relu => enter::<L, _>(Relu, to, count),
            Activation::LeakyRelu(factor) => enter::<L, _>(LeakyRelu(factor), to, count),
            Activation::Gelu => enter::<L, _>(Gelu, to, count),
            Activation::GeluTanh => enter::<L, _>(GeluTanh, to, count),
            Activation::Tanh => enter::<L, _>(Tanh, to, count),
            Activation::Sigmoid => enter::<L, _>(Sigmoid, to, count),
            Activation::Silu => enter::<L, _>(Silu, to, count),
        }
    }
}

#[inline(always)]
unsafe fn enter<L: Lanes, M: Map>(map: M, to: *mut f32, count: usize) {
    // SAFETY: as for `activate_stretch`.
    unsafe { L::enter(MapStretch { map, from: to, to, count }) }
}

struct Activate {
    activation: Activation,
    to: *mut f32,
    count: usize,
}

impl Kernel for Activate {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // SAFETY: made only of a slice, below, and run where the host has the set.
        unsafe { activate_stretch::<L>(self.activation, self.to, self.count) }
    }
}

/// Applies `activation` to each value.
pub fn activate(isa: Isa, activation: Activation, values: &mut [f32]) {
    dispatch(isa, Activate { activation, to: values.as_mut_ptr(), count: values.len() });
}
