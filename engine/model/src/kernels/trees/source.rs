//! Owns trees as importers hand them over, checked to be trees.
//!
//! Refuses to know attributes. Bound: [`NODE_COUNT_MAX`] nodes in a forest, [`DEPTH_MAX`] branches
//! on a way.

/// Most nodes of all trees together.
pub const NODE_COUNT_MAX: usize = 1 << 26;
/// Most branches between a root and a leaf.
pub const DEPTH_MAX: u32 = 4096;

/// What a branch asks of its feature. A feature that is not a number answers no to all but
/// [`Test::Different`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// At most the threshold.
    AtMost,
    /// Less than the threshold.
    Less,
    /// At least the threshold.
    AtLeast,
    /// More than the threshold.
    More,
    /// Equal to the threshold.
    Equal,
    /// Not equal to the threshold.
    Different,
    /// Among the members of the forest from `start`, `count` of them; the threshold says nothing.
    Member {
        /// The first member.
        start: u32,
        /// How many there are.
        count: u32,
    },
}

/// A number that features are compared with.
pub trait Threshold: Copy + PartialOrd + Send + Sync + std::fmt::Debug + 'static {}

impl Threshold for f32 {}
impl Threshold for f64 {}

/// A question and where its answers lead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch<T> {
    /// Which feature.
    pub feature: u32,
    /// What is asked.
    pub test: Test,
    /// What it is compared with.
    pub threshold: T,
    /// Whether a feature that is not a number goes the way of yes whatever the test says.
    pub nan_is_yes: bool,
    /// Which node of the tree comes after yes.
    pub yes: u32,
    /// Which node of the tree comes after no.
    pub no: u32,
}

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SourceNode<T> {
    /// Goes on.
    Branch(Branch<T>),
    /// Ends with this leaf of the forest.
    Leaf(u32),
}

/// A tree; its first node is the root.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTree<T> {
    nodes: Vec<SourceNode<T>>,
    depth: u32,
}

impl<T: Threshold> SourceTree<T> {
    /// Takes the nodes if they are one tree: each but the first comes after exactly one branch, and
    /// all can be reached.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(nodes: Vec<SourceNode<T>>) -> Result<Self, String> {
        if nodes.is_empty() || nodes.len() > NODE_COUNT_MAX {
            return Err(format!("a tree of {} nodes", nodes.len()));
        }
        let mut depths = vec![None; nodes.len()];
        depths[0] = Some(0u32);
        let mut open = vec![0usize];
        let (mut seen, mut deepest) = (1, 0);
        while let Some(index) = open.pop() {
            let SourceNode::Branch(branch) = nodes[index] else { continue };
            let depth = depths[index].unwrap_or_default() + 1;
            if depth > DEPTH_MAX {
                return Err(format!("a tree deeper than {DEPTH_MAX} branches"));
            }
            deepest = deepest.max(depth);
            for next in [branch.yes as usize, branch.no as usize] {
                match depths.get_mut(next) {
                    None => return Err(format!("a branch to node {next}, which is none")),
                    Some(Some(_)) => {
                        return Err(format!("node {next} of a tree is reached in two ways"));
                    }
                    Some(place) => *place = Some(depth),
                }
                seen += 1;
                open.push(next);
            }
        }
        match seen == nodes.len() {
            true => Ok(Self { nodes, depth: deepest }),
            false => Err(format!("{} nodes of a tree are never reached", nodes.len() - seen)),
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[SourceNode<T>] {
        &self.nodes
    }

    /// Most branches between the root and a leaf.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The branches.
    pub fn branches(&self) -> impl Iterator<Item = &Branch<T>> {
        self.nodes.iter().filter_map(|node| match node {
            SourceNode::Branch(branch) => Some(branch),
            SourceNode::Leaf(_) => None,
        })
    }
}
