//! One operation of a forward pass, and what it must compute and move.

/// An operation that was timed.
#[derive(Debug, Clone)]
pub(super) struct Op {
    /// What it does, as its library calls it.
    pub(super) kind: String,
    /// None outside the layers.
    pub(super) layer: Option<usize>,
    pub(super) ns: f64,
    pub(super) inputs: Vec<Array>,
    pub(super) outputs: Vec<Array>,
}

#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) shape: Vec<u64>,
    pub(super) element_bytes: u64,
}

/// What an operation takes, at least.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    /// Of products and attention, in floating point.
    pub(super) flops: f64,
    /// Of products of 8-bit integers.
    pub(super) int8_flops: f64,
    /// Read and written.
    pub(super) bytes: f64,
}

impl Array {
    fn elements(&self) -> f64 {
        self.shape.iter().map(|&axis| axis as f64).product()
    }

    fn bytes(&self) -> f64 {
        self.elements() * self.element_bytes as f64
    }

    fn axis_from_the_end(&self, place: usize) -> f64 {
        let axis = self.shape.iter().rev().nth(place);
        axis.map_or(1.0, |&axis| axis as f64)
    }
}

impl Op {
    pub(super) fn cost(&self) -> Cost {
        let kind = self.kind.as_str();
        let (Some(first), Some(output)) = (self.inputs.first(), self.outputs.first()) else {
            return Cost::default();
        };
        let bytes = match kind {
            // They look at the same memory in another way; small letters are MLX.
            "Reshape" | "Shape" | "Unsqueeze" | "reshape" | "transpose" | "slice" => 0.0,
            // They read what they give, and not the whole table.
            "Gather" | "take" => 2.0 * output.bytes(),
            _ => {
                self.inputs
                    .iter()
                    .chain(&self.outputs)
                    .map(Array::bytes)
                    .sum::<f64>()
                    + self.packed_bytes()
            }
        };
        let flops = match kind {
            "Attention" | "GroupQueryAttention" | "attention" | "causal_attention" => {
                let keys = self.inputs.get(1).map(|keys| keys.axis_from_the_end(1));
                self.attention(keys.unwrap_or_default())
            }
            "CausalAttention" => self.attention(self.keys_of_a_sequence()),
            _ if is_product(kind) => {
                let outputs: f64 = self.outputs.iter().map(Array::elements).sum();
                2.0 * self.products() * outputs * first.axis_from_the_end(0)
            }
            _ => 0.0,
        };
        match is_product(kind) && self.is_int8() {
            true => Cost {
                flops: 0.0,
                int8_flops: flops,
                bytes,
            },
            false => Cost {
                flops,
                int8_flops: 0.0,
                bytes,
            },
        }
    }

    /// Of a product's weights that are not listed: ONNX Runtime has packed one for itself, or they are
    /// those of an operator of our own.
    fn packed_bytes(&self) -> f64 {
        let Some(rows) = self.inputs.first() else {
            return 0.0;
        };
        let columns = self
            .outputs
            .iter()
            .map(|output| output.axis_from_the_end(0));
        let weights = self.products() * rows.axis_from_the_end(0) * columns.sum::<f64>();
        let mut others = self.inputs.iter().skip(1);
        match !is_product(&self.kind) || others.any(|other| other.elements() >= weights) {
            true => 0.0,
            false => match &*self.kind {
                "MatMulInt8" | SWIGLU => weights,
                "MatMulBf16" => weights * 2.0,
                _ => weights * rows.element_bytes as f64,
            },
        }
    }

    /// How many products an output is made of.
    fn products(&self) -> f64 {
        if self.kind == SWIGLU { 2.0 } else { 1.0 }
    }

    /// Scores of so many keys and their sums of values, of all pairs: causality is not taken off. Queries
    /// are the first input: (B, L, H * D), (B, H, L, D) or, by our own operator, (B * L, H * D).
    fn attention(&self, keys: f64) -> f64 {
        4.0 * self.inputs.first().map_or(0.0, Array::elements) * keys
    }

    /// Of our own operator: positions (B, L) are its eighth input, and of three axes is only a past
    /// (1, P, KV * D).
    fn keys_of_a_sequence(&self) -> f64 {
        let tokens = self.inputs.get(7).map(|array| array.axis_from_the_end(0));
        let mut pasts = self.inputs.iter().filter(|array| array.shape.len() == 3);
        let past = pasts.next().map(|array| array.axis_from_the_end(1));
        tokens.unwrap_or_default() + past.unwrap_or_default()
    }

    fn is_int8(&self) -> bool {
        let mut large = self.inputs.iter().filter(|input| input.shape.len() > 1);
        ["MatMulInt8", SWIGLU].contains(&&*self.kind) || large.any(|input| input.element_bytes == 1)
    }
}

/// A gate and what it gates, in int8.
const SWIGLU: &str = "MatMulSwiGluInt8";

fn is_product(kind: &str) -> bool {
    kind.contains("MatMul") || ["Gemm", "addmm", "matmul", "quantized_matmul"].contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[u64]) -> Array {
        Array {
            shape: shape.to_vec(),
            element_bytes: 4,
        }
    }

    fn op(kind: &str, element_bytes: u64, inputs: &[&[u64]], output: &[u64]) -> Op {
        let array = |shape: &[u64]| Array {
            element_bytes,
            ..array(shape)
        };
        Op {
            kind: kind.to_owned(),
            layer: None,
            ns: 0.0,
            inputs: inputs.iter().map(|shape| array(shape)).collect(),
            outputs: vec![array(output)],
        }
    }

    #[test]
    fn a_product_takes_a_multiplication_and_an_addition_for_each_element_of_both() {
        let cost = op("FusedMatMul", 4, &[&[6, 5], &[7, 5]], &[6, 7]).cost();
        assert_eq!(cost.flops, 2.0 * 6.0 * 7.0 * 5.0);
        assert_eq!(cost.bytes, 4.0 * (30.0 + 35.0 + 42.0));
        let packed = op("MatMulIntegerToFloat", 1, &[&[6, 5], &[7]], &[6, 7]).cost();
        assert_eq!(packed.bytes, 30.0 + 7.0 + 42.0 + 35.0);
        let bf16 = op("MatMulBf16", 4, &[&[6, 5]], &[6, 7]).cost();
        assert_eq!(bf16.flops, cost.flops);
        assert_eq!(bf16.bytes, 4.0 * (30.0 + 42.0) + 2.0 * 35.0);
        let int8 = op("MatMulIntegerToFloat", 1, &[&[6, 5], &[5, 7]], &[6, 7]).cost();
        assert_eq!((int8.flops, int8.int8_flops), (0.0, 420.0));
        let own = op("MatMulInt8", 4, &[&[6, 5]], &[6, 7]).cost();
        assert_eq!((own.flops, own.int8_flops), (0.0, 420.0));
        assert_eq!(own.bytes, 4.0 * (30.0 + 42.0) + 35.0);
        let gated = op("MatMulSwiGluInt8", 4, &[&[6, 5]], &[6, 7]).cost();
        assert_eq!((gated.flops, gated.int8_flops), (0.0, 840.0));
        assert_eq!(gated.bytes, 4.0 * (30.0 + 42.0) + 70.0);
        let two = Op {
            outputs: vec![array(&[6, 7]), array(&[6, 2])],
            ..op("MatMulBf16", 4, &[&[6, 5]], &[6, 7])
        };
        assert_eq!(two.cost().flops, 2.0 * 6.0 * 9.0 * 5.0);
        assert_eq!(two.cost().bytes, 4.0 * (30.0 + 42.0 + 12.0) + 2.0 * 45.0);
    }

    #[test]
    fn attention_is_counted_alike_in_every_layout() {
        // 2 sequences, 3 tokens, 4 heads of 8, 2 heads of keys.
        let flops = 4.0 * (2.0 * 4.0 * 3.0 * 8.0) * 3.0;
        let flat = op(
            "Attention",
            4,
            &[&[2, 3, 32], &[2, 3, 16], &[2, 3, 16]],
            &[2, 3, 32],
        );
        let heads = op(
            "causal_attention",
            4,
            &[&[2, 4, 3, 8], &[2, 2, 3, 8]],
            &[2, 4, 3, 8],
        );
        assert_eq!([flat.cost().flops, heads.cost().flops], [flops; 2]);
        let shapes: [&[u64]; 9] = [
            &[6, 32],
            &[6, 16],
            &[6, 16],
            &[8],
            &[8],
            &[9, 4],
            &[9, 4],
            &[2, 3],
            &[1, 6, 16],
        ];
        let op = |inputs| op("CausalAttention", 4, inputs, &[6, 32]);
        assert_eq!(op(&shapes[..8]).cost().flops, flops);
        let behind_a_past = op(&shapes).cost().flops;
        assert_eq!(
            behind_a_past,
            3.0 * flops,
            "6 keys before the 3 of each sequence"
        );
    }

    #[test]
    fn a_table_is_not_read_as_a_whole_and_a_reshape_moves_nothing() {
        assert_eq!(
            op("Gather", 4, &[&[1000, 2], &[3]], &[3, 2]).cost().bytes,
            48.0
        );
        assert_eq!(op("Reshape", 4, &[&[6, 4]], &[3, 8]).cost().bytes, 0.0);
        assert_eq!(op("Transpose", 4, &[&[6, 4]], &[4, 6]).cost().bytes, 192.0);
    }
}
