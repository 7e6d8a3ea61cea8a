//! Owns a walk over the schema in a footer, before the library builds it: it descends into the
//! schema by recursion, and takes memory for as many children as a node says it has.
//!
//! Refuses to know what the fields of a footer mean, but for the number of children of a node.
//! Bound: [`NODE_COUNT_MAX`] nodes, [`DEPTH_MAX`] below each other; one pass without memory.
//!
//! Sources: Apache Thrift, "Thrift Compact protocol"; Apache Parquet, `parquet.thrift`.

use super::encoded::varint;

/// Most nodes of a schema: far more than a table has columns.
const NODE_COUNT_MAX: u64 = 16_384;
/// How deep a schema may be, and a field of a footer besides.
const DEPTH_MAX: usize = 32;

/// `FileMetaData.schema` and `SchemaElement.num_children`.
const SCHEMA_FIELD: i64 = 2;
const CHILDREN_FIELD: i64 = 5;

/// The types of the compact protocol that are told apart here.
const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// Whether the schema can be built. `None` where it cannot, or where the footer is damaged.
pub(super) fn check_schema(footer: &[u8]) -> Option<()> {
    let mut walk = Walk { rest: footer };
    let mut field = 0;
    loop {
        let kind = walk.field(&mut field)?;
        match (kind, field) {
            (STOP, _) => return Some(()),
            (LIST, SCHEMA_FIELD) => walk.schema()?,
            _ => walk.skip(kind, DEPTH_MAX)?,
        }
    }
}

struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    /// Counts down the children of the nodes that are open.
    fn schema(&mut self) -> Option<()> {
        let (count, kind) = self.list()?;
        if kind != STRUCT || count > NODE_COUNT_MAX {
            return None;
        }
        let mut open = [0_u64; DEPTH_MAX];
        let mut depth = 0;
        for _ in 0..count {
            let children = self.node()?;
            while depth > 0 && open[depth - 1] == 0 {
                depth -= 1;
            }
            if depth > 0 {
                open[depth - 1] -= 1;
            }
            if children > count || depth == DEPTH_MAX {
                return None;
            }
            open[depth] = children;
            depth += 1;
        }
        Some(())
    }

    /// Walks over one node and gives the number of its children.
    fn node(&mut self) -> Option<u64> {
        let (mut field, mut children) = (0, 0);
        loop {
            match (self.field(&mut field)?, field) {
                (STOP, _) => return Some(children),
                (I16..=I64, CHILDREN_FIELD) => children = u64::try_from(self.number()?).ok()?,
                (kind, _) => self.skip(kind, DEPTH_MAX)?,
            }
        }
    }

    /// The type of the next field, whose number follows from the one before or is written out.
    fn field(&mut self, field: &mut i64) -> Option<u8> {
        let header = self.byte()?;
        let kind = header & 0x0f;
        if kind != STOP {
            *field = match header >> 4 {
                0 => self.number()?,
                step => field.checked_add(i64::from(step))?,
            };
        }
        Some(kind)
    }

    /// How many elements a list has, and their type.
    fn list(&mut self) -> Option<(u64, u8)> {
        const WRITTEN_OUT: u8 = 15;
        let header = self.byte()?;
        let count = match header >> 4 {
            WRITTEN_OUT => self.varint()?,
            count => u64::from(count),
        };
        Some((count, header & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth_left: usize) -> Option<()> {
        let depth_left = depth_left.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.byte().map(drop),
            I16..=I64 => self.varint().map(drop),
            DOUBLE => self.bytes(8),
            BINARY => {
                let length = self.varint()?;
                self.bytes(usize::try_from(length).ok()?)
            }
            LIST | SET => {
                let (count, kind) = self.list()?;
                // In a list a truth value takes a byte, so that every element takes one.
                let kind = if matches!(kind, TRUE | FALSE) { BYTE } else { kind };
                (0..count).try_for_each(|_| self.skip(kind, depth_left))
            }
            STRUCT => {
                let mut field = 0;
                loop {
                    match self.field(&mut field)? {
                        STOP => return Some(()),
                        kind => self.skip(kind, depth_left)?,
                    }
                }
            }
            // Parquet has no maps and no other types in its footer.
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn bytes(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, rest) = varint(self.rest)?;
        self.rest = rest;
        Some(value)
    }

    /// A number with a sign: zigzag.
    fn number(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer whose nodes have so many children each.
    fn footer(nodes: &[u64]) -> Vec<u8> {
        let number = |out: &mut Vec<u8>, mut value: u64| {
            while value > 0x7f {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        };
        // The version, then a list of nodes, each with a name and its children.
        let mut out = vec![0x15, 0x02, 0x19, 0xfc];
        number(&mut out, nodes.len() as u64);
        for children in nodes {
            out.extend([0x48, 1, b'a', 0x15]);
            number(&mut out, children * 2);
            out.push(0);
        }
        // No rows and no row groups.
        out.extend([0x16, 0, 0x19, 0x0c, 0]);
        out
    }

    #[test]
    fn schemas_out_of_bounds_are_seen() {
        let check = |nodes: &[u64], expected: bool| {
            assert_eq!(check_schema(&footer(nodes)).is_some(), expected, "{} nodes", nodes.len());
        };
        check(&[2, 0, 1, 0], true);
        check(&vec![1; DEPTH_MAX - 1], true);
        check(&vec![1; DEPTH_MAX + 1], false);
        check(&vec![1; 10_000], false);
        check(&[2, 1_000_000_000, 0], false);
        check(&vec![0; 16_385], false);
        // Depth is what is open, not what was: a hundred lists beside each other.
        let mut wide = vec![100];
        wide.extend([1, 1, 0].repeat(100));
        check(&wide, true);
        let good = footer(&[2, 0, 0]);
        for length in 0..good.len() {
            assert!(check_schema(&good[..length]).is_none(), "{length}");
        }
        // Lists in lists in lists.
        assert!(
            check_schema(&[0x39].into_iter().chain([0x19; 1000]).collect::<Vec<_>>()).is_none()
        );
    }
}
