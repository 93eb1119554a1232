//! Which linear layers stay in f32: those whose quantisation was measured to cost the most.

use std::collections::BTreeSet;

/// Linear layers that are quantised together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Qkv,
    Output,
    GateUp,
    Down,
}

impl Group {
    pub(super) const ALL: [Self; 4] = [Self::Qkv, Self::Output, Self::GateUp, Self::Down];
}

/// What a group's quantisation alone does: 1 - cosine of the worst vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Damage {
    pub(super) layer: usize,
    pub(super) group: Group,
    pub(super) loss: f64,
}

/// The groups that stay in f32, by layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    exact: BTreeSet<(usize, Group)>,
}

impl Plan {
    pub(super) fn all_int8() -> Self {
        Self {
            exact: BTreeSet::new(),
        }
    }

    /// A block all of which is f32 but, where given, one group.
    pub(super) fn all_exact_but(layer: usize, int8: Option<Group>) -> Self {
        let exact = Group::ALL.into_iter().filter(|&group| Some(group) != int8);
        Self {
            exact: exact.map(|group| (layer, group)).collect(),
        }
    }

    pub(super) fn is_exact(&self, layer: usize, group: Group) -> bool {
        self.exact.contains(&(layer, group))
    }

    /// How many groups stay in f32.
    pub(super) fn len(&self) -> usize {
        self.exact.len()
    }

    /// The plan that should lose at most `most`: of `damages`, the worst go until what is left adds
    /// up to that. Errors of different layers are unrelated, so their squares add, and 1 - cosine is
    /// half a square.
    pub(super) fn within(mut damages: Vec<Damage>, most: f64) -> Self {
        damages.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        let mut left: f64 = damages.iter().map(|damage| damage.loss).sum();
        let mut exact = BTreeSet::new();
        for damage in damages {
            // Written so that a NaN is not taken for small.
            if left <= most {
                break;
            }
            left -= damage.loss;
            exact.insert((damage.layer, damage.group));
        }
        Self { exact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_groups_stay_exact_until_the_rest_is_within_the_bound() {
        let losses = [
            (0, Group::Down, 1e-3),
            (1, Group::Qkv, 3e-2),
            (1, Group::Down, 1e-2),
        ];
        let damages: Vec<Damage> = losses
            .map(|(layer, group, loss)| Damage { layer, group, loss })
            .to_vec();
        let plan = |most| Plan::within(damages.clone(), most);
        assert_eq!(plan(0.05), Plan::all_int8());
        assert_eq!(plan(0.02).exact, BTreeSet::from([(1, Group::Qkv)]));
        let both = BTreeSet::from([(1, Group::Qkv), (1, Group::Down)]);
        assert_eq!(plan(0.002).exact, both);
        assert_eq!(plan(0.0).len(), 3);
        assert_eq!(plan(f64::NAN).len(), 3);
    }
}
