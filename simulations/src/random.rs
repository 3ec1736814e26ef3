//! Generators: one seed, one generator for each purpose.
//!
//! A draw more in one place must not shift the draws of another, or removing a fault from a scenario
//! would change every delay after it. So each purpose forks its own generator from the seed by name.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// The generator that every choice of a world comes from.
pub type Random = Xoshiro256PlusPlus;

/// The generator of `purpose` in the world of `seed`.
pub fn fork(seed: u64, purpose: &str) -> Random {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
    Random::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn each_purpose_draws_for_itself() {
        let draw = |seed, purpose| fork(seed, purpose).random::<u64>();
        assert_eq!(draw(1, "network"), draw(1, "network"));
        assert_ne!(draw(1, "network"), draw(1, "faults"));
        assert_ne!(draw(1, "network"), draw(2, "network"));
    }
}
