//! Rules: who hears whom. The first rule with a verdict wins; without one, frames pass.

/// What a rule says about frames of one direction between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They pass as the link says.
    Pass,
    /// None passes.
    Block,
    /// They pass, and take this many microseconds longer.
    Delay(u64),
}

/// A set of nodes, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSet(u128);

impl NodeSet {
    /// True if `node` is in it.
    pub(crate) fn contains(self, node: usize) -> bool {
        self.0 >> node & 1 == 1
    }
}

impl FromIterator<usize> for NodeSet {
    /// # Panics
    /// If an index is above [`crate::scenario::NODES_MAX`], which a checked scenario does not hold.
    fn from_iter<I: IntoIterator<Item = usize>>(nodes: I) -> Self {
        let bit = |node: usize| 1u128.checked_shl(u32::try_from(node).unwrap_or(u32::MAX));
        Self(nodes.into_iter().fold(0, |set, node| set | bit(node).expect("a world has at most 101 nodes")))
    }
}

/// A rule about directions between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nodes of different sides do not hear each other; nodes on no side are not concerned.
    Sides(Vec<NodeSet>),
    /// Nodes of the second set do not hear nodes of the first.
    OneWay(NodeSet, NodeSet),
    /// These pairs do not hear each other.
    Links(Vec<(usize, usize)>),
    /// What comes from and goes to this node takes so many microseconds longer.
    Slow(usize, u64),
}

impl Rule {
    /// What it says about frames from `from` to `to`; `None` if they do not concern it.
    pub(crate) fn judge(&self, from: usize, to: usize) -> Option<Verdict> {
        match self {
            Self::Sides(sides) => {
                let side = |node| sides.iter().position(|side| side.contains(node));
                let apart = side(from)? != side(to)?;
                apart.then_some(Verdict::Block)
            }
            Self::OneWay(unheard, deaf) => {
                (unheard.contains(from) && deaf.contains(to)).then_some(Verdict::Block)
            }
            Self::Links(pairs) => {
                (pairs.contains(&(from, to)) || pairs.contains(&(to, from))).then_some(Verdict::Block)
            }
            Self::Slow(node, extra) => (*node == from || *node == to).then_some(Verdict::Delay(*extra)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[usize]) -> NodeSet {
        nodes.iter().copied().collect()
    }

    #[test]
    fn a_cut_concerns_only_nodes_on_its_sides() {
        let cut = Rule::Sides(vec![set(&[0, 1]), set(&[2])]);
        assert_eq!(cut.judge(0, 2), Some(Verdict::Block));
        assert_eq!(cut.judge(0, 1), None);
        assert_eq!(cut.judge(0, 3), None);
        let deaf = Rule::OneWay(set(&[0]), set(&[1, 2]));
        assert_eq!((deaf.judge(0, 1), deaf.judge(1, 0)), (Some(Verdict::Block), None));
        assert_eq!(Rule::Slow(4, 7).judge(1, 4), Some(Verdict::Delay(7)));
    }
}
