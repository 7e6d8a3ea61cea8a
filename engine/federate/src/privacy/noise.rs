//! Owns what chance decides in a private round: who takes part, and the noise.
//!
//! A key of its own for each purpose, from the system or, where a life is to be lived again, from a
//! seed; normal numbers from the stream of that key. Each is the half of a sum of four that Box and
//! Muller's (1958) method gives, which leaves no telling holes between floating-point numbers
//! (Holohan and Braghin, 2021). Refuses to give the same key twice. Bound: one chunk of a stream.

use sha2::{Digest, Sha256};

use crate::error::FederateError;
use crate::identity::random_bytes;
use crate::keystream::{KEY_BYTES, Keystream};

/// Where chance comes from.
#[derive(Clone, Debug, Default)]
pub enum Chance {
    /// The operating system.
    #[default]
    System,
    /// A seed, for simulations and tests, and how many keys it has given. It protects nobody.
    Seeded(u64, u64),
}

impl Chance {
    /// A key that was not given before.
    ///
    /// # Errors
    /// [`FederateError::Port`] where the system has no random bytes.
    pub(crate) fn key(&mut self) -> Result<[u8; KEY_BYTES], FederateError> {
        match self {
            Self::System => random_bytes(),
            Self::Seeded(seed, given) => {
                *given += 1;
                let hash = Sha256::new().chain_update(b"truststram chance");
                let hash = hash.chain_update(seed.to_le_bytes());
                Ok(hash.chain_update(given.to_le_bytes()).finalize().into())
            }
        }
    }
}

/// Independent numbers of the standard normal distribution.
pub(crate) struct Gaussian {
    stream: Keystream,
    spare: Option<f64>,
}

impl Gaussian {
    /// The numbers of this key.
    ///
    /// # Errors
    /// [`FederateError::Port`] if the cipher refuses the key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Result<Self, FederateError> {
        Ok(Self { stream: Keystream::new(key)?, spare: None })
    }

    /// Uniform, from above 0 to 1.
    ///
    /// # Errors
    /// [`FederateError::Port`] at the end of the stream, after 2^70 bytes.
    pub fn unit(&mut self) -> Result<f64, FederateError> {
        let word = u64::from_le_bytes(self.stream.take()?);
        Ok(((word >> 11) + 1) as f64 / (1_u64 << 53) as f64)
    }

    /// The next number.
    ///
    /// # Errors
    /// As [`Gaussian::unit`].
    pub fn next(&mut self) -> Result<f64, FederateError> {
        if let Some(spare) = self.spare.take() {
            return Ok(spare);
        }
        let (mut first, mut second) = (0.0, 0.0);
        for _ in 0..4 {
            let radius = (-2.0 * self.unit()?.ln()).sqrt();
            let (sine, cosine) = (std::f64::consts::TAU * self.unit()?).sin_cos();
            first += radius * cosine;
            second += radius * sine;
        }
        self.spare = Some(second / 2.0);
        Ok(first / 2.0)
    }
}
