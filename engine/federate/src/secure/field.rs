//! Owns the sharing of secrets: Shamir's scheme (1979) over the 256 elements of the field of AES,
//! byte by byte.
//!
//! Products take the same steps whatever the bytes. Refuses to know what is shared. Bound: 255
//! shares.

use super::SECRET_BYTES;

type Secret = [u8; SECRET_BYTES];

/// The product of two elements, modulo x^8 + x^4 + x^3 + x + 1.
fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & 0_u8.wrapping_sub(b & 1);
        a = (a << 1) ^ (0x1b & 0_u8.wrapping_sub(a >> 7));
        b >>= 1;
    }
    product
}

/// The inverse: the power of 254.
fn inverse(a: u8) -> u8 {
    let mut power = a;
    let mut product = 1;
    for _ in 0..7 {
        power = multiply(power, power);
        product = multiply(product, power);
    }
    product
}

/// Splits a secret into `count` shares, of which `coefficients.len() + 1` give it back. The
/// coefficients are random; the share at index i is for the point i + 1.
pub(super) fn split(secret: &Secret, coefficients: &[Secret], count: usize) -> Vec<Secret> {
    let at = |point: u8| -> Secret {
        // Horner's rule, the highest coefficient first.
        std::array::from_fn(|byte| {
            let rest = coefficients.iter().rev();
            let value = rest.fold(0, |value, c| multiply(value, point) ^ c[byte]);
            multiply(value, point) ^ secret[byte]
        })
    };
    (1..=count).map(|point| at(point as u8)).collect()
}

/// The secret of these shares, each with its point; of no meaning if they are too few.
pub(super) fn join(shares: &[(u8, Secret)]) -> Secret {
    let mut secret = [0; SECRET_BYTES];
    for (point, share) in shares {
        // Lagrange's weight of the point at zero.
        let others = shares.iter().filter(|(other, _)| other != point);
        let weight = others.fold(1, |weight, (other, _)| {
            multiply(weight, multiply(*other, inverse(other ^ point)))
        });
        secret.iter_mut().zip(share).for_each(|(sum, byte)| *sum ^= multiply(weight, *byte));
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn it_is_a_field() {
        // FIPS 197, section 4.2.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        for a in 1..=255 {
            assert_eq!(multiply(a, inverse(a)), 1, "{a}");
        }
    }

    #[test]
    fn enough_shares_give_the_secret_and_fewer_nothing() {
        let mut random = Random::new(1, 0);
        let mut secret = || -> Secret { std::array::from_fn(|_| random.next() as u8) };
        for (threshold, count) in [(1, 1), (2, 3), (3, 5), (7, 10), (128, 255)] {
            let hidden = secret();
            let coefficients: Vec<Secret> = (1..threshold).map(|_| secret()).collect();
            let shares: Vec<(u8, Secret)> =
                (1..=255).zip(split(&hidden, &coefficients, count)).collect();
            // Any of them: the last ones here.
            assert_eq!(join(&shares[count - threshold..]), hidden);
            assert_eq!(join(&shares), hidden);
            if threshold > 1 {
                // Any secret goes with too few of them: one more share, well chosen, gives another.
                assert_ne!(join(&shares[..threshold - 1]), hidden);
            }
        }
    }
}
