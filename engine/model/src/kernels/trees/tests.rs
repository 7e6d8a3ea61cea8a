//! Every form of trees and every walk reach the same leaves.

use super::keys::key;
use super::*;

/// Numbers that look random and are the same each time: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound.max(1)
    }

    fn value(&mut self) -> f32 {
        let special = [f32::NAN, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, 1e-45, -1e-45];
        let index = self.below(40);
        special.get(index).copied().unwrap_or_else(|| self.below(9) as f32 - 4.0)
    }
}

fn tree(numbers: &mut Numbers, branches: usize, tests: &[Test], leaf: &mut u32) -> SourceTree<f32> {
    let mut nodes = vec![SourceNode::Leaf(0)];
    for _ in 0..branches {
        let places: Vec<usize> =
            (0..nodes.len()).filter(|index| matches!(nodes[*index], SourceNode::Leaf(_))).collect();
        let place = places[numbers.below(places.len())];
        let count = nodes.len() as u32;
        nodes[place] = SourceNode::Branch(Branch {
            feature: numbers.below(5) as u32,
            test: tests[numbers.below(tests.len())],
            threshold: numbers.value(),
            nan_is_yes: numbers.below(3) == 0,
            yes: count,
            no: count + 1,
        });
        nodes.extend([SourceNode::Leaf(0), SourceNode::Leaf(0)]);
    }
    for node in &mut nodes {
        if let SourceNode::Leaf(number) = node {
            *number = *leaf;
            *leaf += 1;
        }
    }
    SourceTree::new(nodes).unwrap()
}

const ORDERED: [Test; 4] = [Test::AtMost, Test::Less, Test::AtLeast, Test::More];

#[test]
fn all_walks_reach_the_same_leaves() {
    let mut numbers = Numbers(7);
    for size in [0, 1, 2, 7, 30, 200] {
        let mut leaf = 0;
        let trees: Vec<_> =
            (0..19).map(|_| tree(&mut numbers, size, &ORDERED, &mut leaf)).collect();
        let packed = Packed::new(&trees).unwrap();
        let plain = Plain::new(trees, Vec::new());
        let (rows, stride) = (40, 6);
        let values: Vec<f32> = (0..rows * stride).map(|_| numbers.value()).collect();
        let mut keys = vec![0; packed.keys().count(rows)];
        packed.keys().fill(&values, stride, &mut keys);
        let wanted = |row: usize| {
            let mut leaves = vec![0; 19];
            plain.leaves(&values[row * stride..][..stride], stride, 1, &mut leaves);
            leaves
        };
        let mut leaves = vec![0; rows * 19];
        packed.leaves_of_blocks(&keys, rows, &mut leaves);
        for row in 0..rows {
            let found: Vec<u32> = leaves.chunks(rows).map(|leaves| leaves[row]).collect();
            assert_eq!(found, wanted(row), "{size} branches, row {row}");
        }
        for row in 0..rows {
            let mut keys = vec![0; packed.keys().count(1)];
            packed.keys().fill(&values[row * stride..][..stride], stride, &mut keys);
            let mut leaves = vec![0; 19];
            packed.leaves_of_one(&keys, &mut leaves);
            assert_eq!(leaves, wanted(row), "{size} branches, row {row}");
        }
    }
}

#[test]
fn keys_are_in_the_order_of_their_numbers() {
    let numbers = [f32::NEG_INFINITY, f32::MIN, -1.0, -1e-45, 0.0, 1e-45, 2.0, f32::INFINITY];
    assert!(numbers.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
    assert!(key(f32::INFINITY) < key(f32::NAN) && key(-f32::NAN) == i32::MAX);
    assert!(i32::MIN + 1 < key(f32::NEG_INFINITY) && key(0.0) == key(-0.0));
}

#[test]
fn what_is_no_tree_is_named() {
    let branch = |yes, no| {
        let (test, threshold) = (Test::AtMost, 0.0f32);
        SourceNode::Branch(Branch { feature: 0, test, threshold, nan_is_yes: false, yes, no })
    };
    let leaf = SourceNode::Leaf(0);
    let check = |nodes: Vec<SourceNode<f32>>, part: &str| {
        let found = SourceTree::new(nodes).unwrap_err();
        assert!(found.contains(part), "{found}");
    };
    check(vec![], "0 nodes");
    check(vec![branch(0, 1), leaf], "two ways");
    check(vec![branch(1, 1), leaf], "two ways");
    check(vec![branch(1, 3), leaf, leaf], "none");
    check(vec![leaf, leaf], "never reached");
    let deep = DEPTH_MAX + 1;
    let chain = (0..2 * deep + 1).map(|index| match index % 2 {
        0 if index < 2 * deep => branch(index + 1, index + 2),
        _ => leaf,
    });
    check(chain.collect(), "deeper");
}
