//! Owns the mean and the spread of each column of a matrix.
//!
//! Refuses to know what the columns are. Bound: two passes in double precision, so that a large
//! mean costs no digits.

/// What scaling needs to know of each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Means.
    pub means: Vec<f64>,
    /// Standard deviations, of the population: the squares are divided by the number of rows.
    pub deviations: Vec<f64>,
}

/// The mean and the standard deviation of each column of `values`, rows of `columns`; zeros where
/// there is no row. What is left after the last whole row is not counted.
pub fn standardize(values: &[f32], columns: usize) -> Statistics {
    let mut means = vec![0.0; columns];
    let mut deviations = vec![0.0; columns];
    let rows = values.len().checked_div(columns).unwrap_or(0);
    if rows == 0 {
        return Statistics { means, deviations };
    }
    for row in values.chunks_exact(columns) {
        for (mean, value) in means.iter_mut().zip(row) {
            *mean += f64::from(*value);
        }
    }
    means.iter_mut().for_each(|mean| *mean /= rows as f64);
    for row in values.chunks_exact(columns) {
        for ((square, mean), value) in deviations.iter_mut().zip(&means).zip(row) {
            *square += (f64::from(*value) - mean).powi(2);
        }
    }
    let deviation = |square: &mut f64| *square = (*square / rows as f64).sqrt();
    deviations.iter_mut().for_each(deviation);
    Statistics { means, deviations }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_measured_by_themselves() {
        // The second column has a mean that swallows its digits in single precision.
        let values = [1.0, 16_777_216.0, 7.0, 3.0, 16_777_218.0, 7.0, 9.0];
        let found = standardize(&values, 3);
        assert_eq!(found.means, [2.0, 16_777_217.0, 7.0]);
        assert_eq!(found.deviations, [1.0, 1.0, 0.0]);
        assert_eq!(
            standardize(&[], 2),
            Statistics { means: vec![0.0; 2], deviations: vec![0.0; 2] }
        );
        assert_eq!(standardize(&[1.0], 0), Statistics::default());
    }
}
