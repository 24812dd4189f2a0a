//! Random numbers by their place: the same place gives the same number, in whatever order they are asked for.

/// Uniform in [0, 1): SplitMix64's mixing of seed and place (Steele, Lea and Flood 2014).
pub(crate) fn uniform(seed: u64, place: u64) -> f64 {
    let golden = 0x9e37_79b9_7f4a_7c15_u64;
    let mix = |z: u64| {
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let start = mix(seed.wrapping_mul(golden).wrapping_add(golden));
    let z = mix(start.wrapping_add((place + 1).wrapping_mul(golden)));
    (z >> 11) as f64 / (1u64 << 53) as f64
}
