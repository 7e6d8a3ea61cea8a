//! Owns the way from rows of features and from texts to the tensors that a signature asks for.
//!
//! Refuses to know where rows come from and what is computed of them. Bound: one copy of each
//! value.

use super::signature::{Signature, SignaturePort};
use crate::tensor::{DType, Tensor};

impl Signature {
    /// The only input, filled with rows of features; none if the model takes no rows of as many
    /// features, see [`Signature::feature_count`].
    pub fn feature_input(&self, rows: &[&[f32]]) -> Option<Tensor> {
        let count = self.feature_count()?;
        let port = self.inputs.first()?;
        if rows.iter().any(|row| row.len() != count) {
            return None;
        }
        let rest = port.dims.iter().skip(1).map(|dim| usize::try_from(*dim).ok());
        let dims: Vec<usize> =
            std::iter::once(Some(rows.len())).chain(rest).collect::<Option<_>>()?;
        match port.dtype {
            DType::F64 => {
                let values = rows.iter().flat_map(|row| row.iter());
                Tensor::of(&dims, values.map(|value| f64::from(*value)).collect())
            }
            _ => Tensor::of(&dims, rows.concat()),
        }
    }

    /// The inputs of a model that reads texts: their tokens, the offsets between them, and, where
    /// there is a third input, the types of the tokens, all 0 for a text that names none.
    pub fn text_inputs(&self, texts: &[(&[u32], &[u32])]) -> Option<Vec<Tensor>> {
        self.tokens?;
        let (mut tokens, mut offsets, mut types) = (Vec::new(), vec![0], Vec::new());
        for (ids, kinds) in texts {
            tokens.extend_from_slice(ids);
            types.extend_from_slice(kinds);
            types.resize(tokens.len(), 0);
            offsets.push(u32::try_from(tokens.len()).ok()?);
        }
        let values = [tokens, offsets, types];
        self.inputs.iter().zip(values).map(|(port, values)| whole_numbers(port, values)).collect()
    }
}

fn whole_numbers(port: &SignaturePort, values: Vec<u32>) -> Option<Tensor> {
    let dims = [values.len()];
    match port.dtype {
        DType::I64 => Tensor::of(&dims, values.into_iter().map(i64::from).collect()),
        DType::I32 => Tensor::of(&dims, values.into_iter().map(|value| value as i32).collect()),
        _ => Tensor::of(&dims, values),
    }
}

#[cfg(test)]
mod tests {
    use crate::artifact::{Signature, SignaturePort, Task, TokenInput};
    use crate::tensor::{DType, Tensor};

    fn signature(inputs: &[(DType, &[i64])], tokens: Option<TokenInput>) -> Signature {
        let inputs = inputs.iter().enumerate().map(|(index, (dtype, dims))| {
            let name = format!("input {index}");
            SignaturePort { name, dtype: *dtype, dims: dims.to_vec() }
        });
        let inputs = inputs.collect();
        Signature { inputs, outputs: Vec::new(), task: Task::Tensors, batchable: true, tokens }
    }

    #[test]
    fn rows_take_the_shape_of_the_input() {
        let of = |dtype, dims: &[i64], rows: &[&[f32]]| {
            signature(&[(dtype, dims)], None).feature_input(rows)
        };
        let (one, two) = (&[1.0_f32, 2.0, 3.0, 4.0][..], &[5.0, 6.0, 7.0, 8.0][..]);
        let all: Vec<f32> = (1..9u8).map(f32::from).collect();
        let narrow = Tensor::of(&[2, 2, 2], all.clone());
        assert_eq!(of(DType::F32, &[-1, 2, 2], &[one, two]), narrow);
        let wide = Tensor::of(&[2, 4], all.into_iter().map(f64::from).collect());
        assert_eq!(of(DType::F64, &[-1, 4], &[one, two]), wide);
        assert_eq!(of(DType::F32, &[-1, 5], &[one]), None);
        assert_eq!(of(DType::F32, &[-1, -1], &[one]), None);
        assert_eq!(of(DType::I64, &[-1, 4], &[one]), None);
    }

    #[test]
    fn texts_lie_one_after_the_other() {
        let tokens = Some(TokenInput { length_max: 8, vocabulary: 10, types: 2 });
        let inputs = [(DType::I64, &[-1][..]), (DType::I32, &[-1]), (DType::U32, &[-1])];
        let texts: [(&[u32], &[u32]); 3] = [(&[4, 5], &[]), (&[], &[]), (&[6], &[1])];
        let made = signature(&inputs, tokens).text_inputs(&texts).unwrap();
        let expected = [
            Tensor::of(&[3], vec![4_i64, 5, 6]).unwrap(),
            Tensor::of(&[4], vec![0_i32, 2, 2, 3]).unwrap(),
            Tensor::of(&[3], vec![0_u32, 0, 1]).unwrap(),
        ];
        assert_eq!(made, expected);
        assert!(signature(&inputs, None).text_inputs(&texts).is_none());
    }
}
