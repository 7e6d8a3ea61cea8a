//! Owns the writing of small models, message by message, for tests.

/// A message that grows field by field.
#[derive(Clone, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Adds a whole number.
    pub fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// Adds a number of 32 bits.
    pub fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Adds text, bytes, a message or packed numbers.
    pub fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend(bytes.as_ref());
        self
    }

    /// Adds packed whole numbers.
    pub fn packed(self, field: u64, values: &[i64]) -> Self {
        let mut inner = Self::default();
        values.iter().for_each(|value| inner.varint(*value as u64));
        self.bytes(field, inner.0)
    }

    /// Adds a message.
    pub fn with(self, field: u64, message: Self) -> Self {
        self.bytes(field, message.0)
    }
}

/// An empty message.
pub fn message() -> Message {
    Message::default()
}

/// A tensor's name, type and dimensions; its values are the caller's.
pub fn tensor(name: &str, data_type: i64, dims: &[i64]) -> Message {
    dims.iter().fold(message().bytes(8, name).int(2, data_type), |tensor, dim| tensor.int(1, *dim))
}

/// An input or output of `f32` with fixed dimensions; -1 for any.
pub fn port(name: &str, dims: &[i64]) -> Message {
    let dims = dims.iter().map(|dim| match dim {
        -1 => message().bytes(2, "N"),
        dim => message().int(1, *dim),
    });
    let shape = dims.fold(message(), |shape, dim| shape.with(1, dim));
    let kind = message().with(1, message().int(1, 1).with(2, shape));
    message().bytes(1, name).with(2, kind)
}

/// A node.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let node = inputs.iter().fold(message(), |node, input| node.bytes(1, input));
    let node = outputs.iter().fold(node, |node, output| node.bytes(2, output));
    node.bytes(4, operator)
}

/// A model of a graph, for a version of the operators.
pub fn model(opset: i64, graph: Message) -> Message {
    let import = message().bytes(1, "").int(2, opset);
    message().int(1, 8).bytes(2, "writer").with(8, import).with(7, graph)
}

/// A graph of nodes from `x` to `y`, both `[N, 2]`.
pub fn graph(nodes: impl IntoIterator<Item = Message>) -> Message {
    let graph = message().bytes(2, "small").with(11, port("x", &[-1, 2]));
    nodes.into_iter().fold(graph, |graph, node| graph.with(1, node)).with(12, port("y", &[-1, 2]))
}
