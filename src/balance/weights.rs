//! Weights of endpoints from weights of services, and the order of the weighted round robin.

/// Weight of the endpoints with the largest share.
pub const MAX_WEIGHT: u16 = 256;

/// Longest cycle of a round robin, unless there are more servers than this.
const MAX_CYCLE: u64 = 4096;

/// The weight of each endpoint of each service [W-1 to W-3]. `services` holds the weight of each
/// service and its number of usable endpoints; the answer has one weight per service, 0 where the
/// service takes no part.
#[must_use]
pub fn endpoint_weights(services: &[(u16, usize)]) -> Vec<u16> {
    let takes_part = |&&(weight, endpoints): &&(u16, usize)| weight > 0 && endpoints > 0;
    let single = services.iter().filter(takes_part).count() == 1;
    let largest = services.iter().filter(takes_part).map(share).fold(0.0, f32::max);
    let scale = f32::from(MAX_WEIGHT) / largest;
    services
        .iter()
        .map(|service| match (takes_part(&service), single) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => floor_to_weight(share(service) * scale),
        })
        .collect()
}

/// Share of one endpoint in 32-bit floats, as the original counts.
#[expect(clippy::cast_precision_loss, reason = "the original's arithmetic, pinned by W-4")]
fn share(&(weight, endpoints): &(u16, usize)) -> f32 {
    f32::from(weight) / endpoints as f32
}

/// Rounds down to a weight of at least 1 and at most [`MAX_WEIGHT`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clamped to 1..=256 first"
)]
fn floor_to_weight(weight: f32) -> u16 {
    weight.clamp(1.0, f32::from(MAX_WEIGHT)) as u16
}

/// One cycle of a weighted round robin: each index as often as its reduced weight says, evenly
/// spread. Weights are divided by their common divisor; where the cycle would still be too long
/// they are scaled down, each to at least 1.
pub(super) fn schedule(weights: &[u16]) -> Vec<usize> {
    let reduced = reduce(weights);
    let mut slots: Vec<(u64, usize)> = Vec::new();
    for (index, &weight) in reduced.iter().enumerate() {
        // The middle of the nth of `weight` equal parts of the cycle, in 2^-40 of it.
        slots.extend((0..weight).map(|n| (((2 * n + 1) << 39) / weight, index)));
    }
    slots.sort_unstable();
    slots.into_iter().map(|(_, index)| index).collect()
}

/// Weights with the same proportions, small enough for a cycle.
fn reduce(weights: &[u16]) -> Vec<u64> {
    let divisor = u64::from(weights.iter().copied().fold(0, gcd).max(1));
    let reduced = || weights.iter().map(|&w| u64::from(w) / divisor);
    let total: u64 = reduced().sum();
    if total <= MAX_CYCLE {
        return reduced().collect();
    }
    // Raising to 1 adds at most one slot for each server, which the room leaves free.
    let servers = u64::try_from(weights.len()).unwrap_or(MAX_CYCLE);
    let room = MAX_CYCLE.saturating_sub(servers);
    reduced().map(|w| if w == 0 { 0 } else { (w * room / total).max(1) }).collect()
}

/// Greatest common divisor; 0 divides nothing and is ignored.
const fn gcd(mut a: u16, mut b: u16) -> u16 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
