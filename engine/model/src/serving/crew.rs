//! Owns what the workers share: their groups, their figures, and the seats through which those of
//! one node help each other.
//!
//! Refuses to know what they compute. Bound: groups of at most [`GROUP_WORKERS_MAX`] workers of
//! one node.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::group::Group;
use super::options::WorkerPlace;
use super::stats::WorkerStats;
use crate::kernels::Seats;

/// Most workers that share one lock.
const GROUP_WORKERS_MAX: usize = 8;

/// Seats in a group from here on are those of workers without a thread, who never sleep in them.
const INLINE_SEATS: usize = usize::MAX / 2;

/// One NUMA node as far as workers are on it.
#[derive(Debug)]
pub struct NodeCrew {
    /// The kernel's number, if memory is to come from it.
    pub memory_node: Option<u32>,
    /// The cores of its workers.
    pub cores: Vec<u32>,
    /// Its workers, as group and seat in it.
    pub members: Vec<(usize, usize)>,
    /// A seat for each of its workers, in this order.
    pub seats: Seats,
}

/// Where one worker belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    /// Among all workers, those without a thread behind the others.
    pub worker: usize,
    /// Whose figures count what it does: its own, or those of the worker on its core.
    pub stats: usize,
    /// Which node, as an index.
    pub node: usize,
    /// Its seat among the workers of its node.
    pub node_seat: usize,
    /// Which group.
    pub group: usize,
    /// Its seat in the group.
    pub seat: usize,
}

impl Post {
    /// Whether the worker has no thread.
    pub fn is_inline(self) -> bool {
        self.seat >= INLINE_SEATS
    }
}

/// See the module.
#[derive(Debug)]
pub struct Crew<T> {
    pub nodes: Vec<NodeCrew>,
    pub groups: Vec<Group<T>>,
    pub posts: Vec<Post>,
    pub stats: Vec<WorkerStats>,
    /// Where the search for the emptiest group starts, so that equals take turns.
    turn: AtomicUsize,
}

impl<T> Crew<T> {
    /// Divides the workers into nodes and groups; those without a thread join the worker of their
    /// core.
    pub fn new(places: &[WorkerPlace], inline_cores: &[u32], requests_max: usize) -> Self {
        let mut nodes: Vec<NodeCrew> = Vec::new();
        // By group: its node and its workers.
        let mut groups: Vec<(usize, usize)> = Vec::new();
        let mut posts = Vec::with_capacity(places.len());
        for (worker, place) in places.iter().enumerate() {
            let known = nodes.iter().position(|node| node.memory_node == place.memory_node);
            let node = known.unwrap_or_else(|| {
                let (cores, members) = (Vec::new(), Vec::new());
                let seats = Seats::new(0);
                nodes.push(NodeCrew { memory_node: place.memory_node, cores, members, seats });
                nodes.len() - 1
            });
            let open = groups
                .iter()
                .position(|(of, count)| *of == node && *count < group_max(places, place));
            let group = open.unwrap_or_else(|| {
                groups.push((node, 0));
                groups.len() - 1
            });
            let seat = groups[group].1;
            groups[group].1 += 1;
            let node_seat = nodes[node].members.len();
            nodes[node].members.push((group, seat));
            if !nodes[node].cores.contains(&place.core) {
                nodes[node].cores.push(place.core);
            }
            posts.push(Post { worker, stats: worker, node, node_seat, group, seat });
        }
        for (index, core) in inline_cores.iter().enumerate() {
            // The options are checked: each of these cores is a worker's.
            let host = places.iter().position(|place| place.core == *core).unwrap_or(0);
            let worker = places.len() + index;
            posts.push(Post { worker, seat: INLINE_SEATS + index, ..posts[host] });
        }
        for node in &mut nodes {
            node.seats = Seats::new(node.members.len());
        }
        let share = |workers: usize| (requests_max * workers / places.len().max(1)).max(1);
        let group = |(node, workers)| Group::new(workers, share(workers), node);
        Self {
            nodes,
            groups: groups.into_iter().map(group).collect(),
            posts,
            stats: places.iter().map(|_| WorkerStats::default()).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The group for the next request: one where a worker sleeps, or else the emptiest.
    pub fn emptiest(&self) -> &Group<T> {
        let count = self.groups.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let mut best = &self.groups[start];
        let mut least = best.load();
        for step in 1..count {
            if least == (false, 0) {
                break;
            }
            let group = &self.groups[(start + step) % count];
            let load = group.load();
            if load < least {
                (best, least) = (group, load);
            }
        }
        best
    }

    /// The groups that a worker takes from when its own has nothing: those of its node first.
    pub fn others(&self, post: Post) -> Vec<usize> {
        let others = || (0..self.groups.len()).filter(|group| *group != post.group);
        let near = |group: &usize| self.groups[*group].node() == post.node;
        others().filter(near).chain(others().filter(|group| !near(group))).collect()
    }

    /// Wakes a worker of a node for the work of another.
    pub fn nudge(&self, node: usize, node_seat: usize) {
        let member = self.nodes.get(node).and_then(|node| node.members.get(node_seat));
        if let Some((group, seat)) = member {
            self.groups[*group].nudge(*seat);
        }
    }
}

/// Groups of a node are of like size.
fn group_max(places: &[WorkerPlace], place: &WorkerPlace) -> usize {
    let workers = places.iter().filter(|other| other.memory_node == place.memory_node).count();
    workers.div_ceil(workers.div_ceil(GROUP_WORKERS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_whose_workers_are_gone_gets_no_requests() {
        let places = [0, 1, 2].map(|node| WorkerPlace { core: 0, memory_node: Some(node) });
        let crew = Crew::<()>::new(&places, &[], 1_000);
        let chosen = || -> Vec<usize> {
            let group_of =
                |group: &Group<()>| crew.groups.iter().position(|other| std::ptr::eq(other, group));
            (0..6).filter_map(|_| group_of(crew.emptiest())).collect()
        };
        assert_eq!(chosen(), [0, 1, 2, 0, 1, 2]);
        crew.groups[1].leave(0);
        assert!(!chosen().contains(&1));
    }

    #[test]
    fn workers_are_divided_by_node_into_groups_of_like_size() {
        let check = |nodes: &[(u32, usize)], expected: &[(usize, usize)]| {
            let places: Vec<WorkerPlace> = nodes
                .iter()
                .flat_map(|(node, count)| (0..*count as u32).map(move |core| (node, core)))
                .map(|(node, core)| WorkerPlace { core, memory_node: Some(*node) })
                .collect();
            let crew = Crew::<()>::new(&places, &[], 1_000);
            let sizes = crew.groups.iter().enumerate().map(|(index, group)| {
                let workers = crew.posts.iter().filter(|post| post.group == index).count();
                (group.node(), workers)
            });
            assert_eq!(sizes.collect::<Vec<_>>(), expected);
            let first = crew.others(crew.posts[0]);
            assert!(first.is_sorted_by_key(|group| crew.groups[*group].node() != 0));
        };
        check(&[(0, 1)], &[(0, 1)]);
        check(&[(0, 8), (1, 2)], &[(0, 8), (1, 2)]);
        check(&[(0, 9), (3, 16)], &[(0, 5), (0, 4), (1, 8), (1, 8)]);
    }
}
