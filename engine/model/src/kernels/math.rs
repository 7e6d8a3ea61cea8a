//! Owns the transcendental functions on lanes.
//!
//! The coefficients are minimax fits of the relative error, made for these functions with 60
//! digits; each fit is below 2.2e-8, so what remains is rounding.
//! Refuses to know slices. Bound: below 4 units in the last place for `exp` and `log`, below 1e-6
//! relative for the others; the same bits on every instruction set.

use super::lanes::Lanes;

/// `c[0] + c[1] x + …`, from the highest power down.
#[inline(always)]
fn polynomial<L: Lanes, const TERMS: usize>(x: L, coefficients: [f32; TERMS]) -> L {
    let mut value = L::splat(coefficients[TERMS - 1]);
    for index in (0..TERMS - 1).rev() {
        value = value.fma(x, L::splat(coefficients[index]));
    }
    value
}

/// The exponential; 0 below -104, infinite above 88.73.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    // In this order NaN stays.
    let x = L::splat(89.0).min(L::splat(-104.0).max(x));
    let power = x.mul(L::splat(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts, the first with so few digits that its product is exact.
    let rest = power.fma(L::splat(-0.693_359_4), x);
    let rest = power.fma(L::splat(2.121_944_4e-4), rest);
    let curve = polynomial(rest, [0.5, 0.166_665_76, 0.041_666_854, 0.008_363_2, 0.001_390_13]);
    let value = curve.fma(rest.mul(rest), rest).add(L::splat(1.0));
    value.scale(power)
}

/// The natural logarithm; NaN below 0, minus infinity at 0.
#[inline(always)]
pub fn log<L: Lanes>(x: L) -> L {
    // Numbers too small for a normal exponent are made larger first.
    let tiny = L::splat(f32::MIN_POSITIVE);
    let grown = x.if_less(tiny, x.mul(L::splat(8_388_608.0)), x);
    let offset = x.if_less(tiny, L::splat(-23.0), L::splat(0.0));
    // The mantissa between √½ and √2.
    let bits = grown.bits();
    let above = L::sub_ints(bits, L::splat_ints(0x3f35_04f3));
    let exponent = L::shift_down::<23>(above);
    let mantissa = L::of_bits(L::sub_ints(bits, L::shift_up::<23>(exponent)));
    let exponent = L::of_ints(exponent).add(offset);
    let f = mantissa.sub(L::splat(1.0));
    let square = f.mul(f);
    let curve = polynomial(
        f,
        [
            0.333_333_3,
            -0.250_003_04,
            0.200_012,
            -0.166_415_81,
            0.142_099_6,
            -0.129_893_1,
            0.126_555_92,
            -0.079_739_77,
        ],
    );
    // From the smallest term to the largest.
    let value = curve.mul(f).mul(square);
    let value = exponent.fma(L::splat(-2.121_944_4e-4), value);
    let value = square.fma(L::splat(-0.5), value);
    let value = exponent.fma(L::splat(0.693_359_4), value.add(f));
    // Infinity and NaN, which is below nothing, stay; 0 and what is below have no finite one.
    let value = x.if_less(L::splat(f32::INFINITY), value, x);
    let below = x.if_less(L::splat(0.0), L::splat(f32::NAN), L::splat(f32::NEG_INFINITY));
    x.if_less(L::splat(f32::from_bits(1)), below, value)
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh<L: Lanes>(x: L) -> L {
    // From here on it is 1.
    let x = L::splat(9.02).min(L::splat(-9.02).max(x));
    let square = x.mul(x);
    let above =
        polynomial(square, [1.0, 0.133_797_32, 0.003_494_049_7, 2.058_364_4e-5, 1.331_915e-8]);
    let below =
        polynomial(square, [1.0, 0.467_130_48, 0.025_871_135, 3.283_113_8e-4, 7.762_082e-7]);
    x.mul(above).div(below)
}

/// The error function.
#[inline(always)]
pub fn erf<L: Lanes>(x: L) -> L {
    // From here on it is 1.
    let x = L::splat(3.92).min(L::splat(-3.92).max(x));
    let square = x.mul(x);
    let above = polynomial(
        square,
        [
            std::f32::consts::FRAC_2_SQRT_PI,
            0.190_389_8,
            0.052_746_3,
            0.003_764_850_3,
            2.848_568_8e-4,
            2.050_097_5e-6,
        ],
    );
    let below = polynomial(
        square,
        [1.0, 0.502_061_3, 0.114_102_03, 0.014_967_678, 0.001_162_334_2, 3.809_048_2e-5],
    );
    x.mul(above).div(below)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<L: Lanes>(x: L) -> L {
    let one = L::splat(1.0);
    one.div(one.add(exp(L::splat(0.0).sub(x))))
}

/// `x · sigmoid(x)`.
#[inline(always)]
pub fn silu<L: Lanes>(x: L) -> L {
    x.div(L::splat(1.0).add(exp(L::splat(0.0).sub(x))))
}

/// `x · Φ(x)` with the normal distribution's Φ.
#[inline(always)]
pub fn gelu<L: Lanes>(x: L) -> L {
    let half = x.mul(L::splat(0.5));
    let value = erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))).fma(half, half);
    // From here down Φ is 0 in 32 bits, where 1 less the error function leaves rounding errors.
    x.if_less(L::splat(-5.6), x.mul(L::splat(0.0)), value)
}

/// The approximation of [`gelu`] by the hyperbolic tangent.
#[inline(always)]
pub fn gelu_tanh<L: Lanes>(x: L) -> L {
    let half = x.mul(L::splat(0.5));
    let cube = x.mul(x).mul(L::splat(0.044_715)).fma(x, x);
    // √(2/π)
    let value = tanh(cube.mul(L::splat(0.797_884_6))).fma(half, half);
    // As in `gelu`.
    x.if_less(L::splat(-5.3), x.mul(L::splat(0.0)), value)
}

/// The derivative of [`gelu`]: `Φ(x) + x · φ(x)`.
#[inline(always)]
pub fn gelu_slope<L: Lanes>(x: L) -> L {
    let half = L::splat(0.5);
    let share = erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))).fma(half, half);
    // 1 / √(2π)
    let density = exp(x.mul(x).mul(L::splat(-0.5))).mul(L::splat(0.398_942_3));
    x.fma(density, share)
}

/// The derivative of [`gelu_tanh`].
#[inline(always)]
pub fn gelu_tanh_slope<L: Lanes>(x: L) -> L {
    let (half, one) = (L::splat(0.5), L::splat(1.0));
    let square = x.mul(x);
    let inner = square.mul(L::splat(0.044_715)).fma(x, x).mul(L::splat(0.797_884_6));
    let bent = tanh(inner);
    // √(2/π), and three times the cube's factor of that.
    let slope = square.fma(L::splat(0.107_032_23), L::splat(0.797_884_6));
    let rise = one.sub(bent.mul(bent)).mul(slope).mul(x).mul(half);
    bent.fma(half, half).add(rise)
}

/// The derivative of [`silu`].
#[inline(always)]
pub fn silu_slope<L: Lanes>(x: L) -> L {
    let share = sigmoid(x);
    share.mul(L::splat(1.0).sub(share)).fma(x, share)
}

/// The larger of `x` and 0; NaN stays NaN.
#[inline(always)]
pub fn relu<L: Lanes>(x: L) -> L {
    L::splat(0.0).max(x)
}
