//! Sharing out the nodes: a pure plan that every instance computes alike, and each carries out its own part of it.

use super::Placement;

/// What the plan needs of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share<'a> {
    /// Its id.
    pub id: i64,
    /// Where it belongs.
    pub placement: Placement<'a>,
    /// Who answers for it now.
    pub owner: Option<&'a str>,
    /// Whether it is checked and counted.
    pub available: bool,
}

/// Who shall own each node, in the order of `nodes` (ascending ids). `live` is sorted and without duplicates.
///
/// - A node on a named instance goes to it while it lives; else its owner stays as it is.
/// - Available nodes on any instance are shared out: counts differ by at most one, and as few as possible move.
/// - Disabled ones on any instance do not count: they stay with an owner that lives, else go by their id.
///
/// The same for all who see the same; any part of it that was carried out leaves the rest as it was, so instances that
/// see each other's claims late still come to the one plan. O(n log k) for n nodes and k instances.
#[must_use]
pub fn plan<'a>(live: &[&'a str], nodes: &[Share<'a>]) -> Vec<(i64, Option<&'a str>)> {
    let mut owners: Vec<Option<&str>> = nodes.iter().map(|node| node.owner).collect();
    let mut shared = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        match node.placement {
            Placement::On(name) if index(live, name).is_some() => owners[at] = Some(name),
            Placement::On(_) => {}
            Placement::Any if node.available => shared.push(at),
            Placement::Any => {
                let stays = node.owner.is_some_and(|owner| index(live, owner).is_some());
                if !stays && let Some(by_id) = by_id(live, node.id) {
                    owners[at] = Some(by_id);
                }
            }
        }
    }
    share_out(live, &shared, &mut owners);
    nodes.iter().zip(owners).map(|(node, owner)| (node.id, owner)).collect()
}

/// The nodes that `me` has to claim now: ids, ascending like `nodes`. None while `me` is not in `live`.
#[must_use]
pub fn to_claim(me: &str, live: &[&str], nodes: &[Share<'_>]) -> Vec<i64> {
    if index(live, me).is_none() {
        return Vec::new();
    }
    plan(live, nodes)
        .into_iter()
        .zip(nodes)
        .filter(|((_, owner), node)| *owner == Some(me) && node.owner != Some(me))
        .map(|((id, _), _)| id)
        .collect()
}

fn index(live: &[&str], name: &str) -> Option<usize> {
    live.binary_search(&name).ok()
}

fn by_id<'a>(live: &[&'a str], id: i64) -> Option<&'a str> {
    let count = i64::try_from(live.len()).ok().filter(|count| *count > 0)?;
    usize::try_from(id.rem_euclid(count)).ok().and_then(|at| live.get(at).copied())
}

/// Gives each live instance its quota of the `shared` nodes (indices into `owners`).
fn share_out<'a>(live: &[&'a str], shared: &[usize], owners: &mut [Option<&'a str>]) {
    if live.is_empty() {
        return;
    }
    let holder: Vec<Option<usize>> =
        shared.iter().map(|at| owners[*at].and_then(|owner| index(live, owner))).collect();
    let mut held = vec![0_usize; live.len()];
    for who in holder.iter().flatten() {
        held[*who] += 1;
    }
    let mut open = quotas(&held, shared.len());
    // Each keeps its lowest ids; what is over its quota, or nobody's, is dealt out in the order of ids and names.
    let mut pool = Vec::new();
    for (at, who) in shared.iter().zip(holder) {
        match who {
            Some(who) if open[who] > 0 => open[who] -= 1,
            _ => pool.push(*at),
        }
    }
    let places = open.iter().enumerate().flat_map(|(who, free)| std::iter::repeat_n(who, *free));
    for (at, who) in pool.into_iter().zip(places) {
        owners[at] = Some(live[who]);
    }
}

/// How many each shall have: n/k, and one more for the first n%k of those that have more already, then of the others.
///
/// Either choice moves as few as possible; that it goes by name alone within each group keeps it while a plan is
/// carried out piece by piece.
fn quotas(held: &[usize], count: usize) -> Vec<usize> {
    let (base, mut extra) = (count / held.len(), count % held.len());
    let mut quotas = vec![base; held.len()];
    for rich in [true, false] {
        for (quota, held) in quotas.iter_mut().zip(held) {
            if extra > 0 && (*held > base) == rich {
                *quota += 1;
                extra -= 1;
            }
        }
    }
    quotas
}
