//! The weather of one direction between two nodes: what happens to a packet there.
//!
//! Pure but for the random numbers handed in.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// What a direction does to packets; the default lets all pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing passes.
    pub cut: bool,
    /// Packets lost, of a thousand.
    pub lost_permille: u16,
    /// Packets that arrive twice, of a thousand.
    pub doubled_permille: u16,
    /// Packets that later ones overtake, of a thousand.
    pub overtaken_permille: u16,
    /// How long each packet takes.
    pub delay: Duration,
    /// Up to how much longer it may take, drawn for each.
    pub jitter: Duration,
    /// Packets with more bytes of payload vanish; 0: no limit.
    pub bytes_max: usize,
}

impl Weather {
    /// Nothing passes.
    pub const CUT: Self = Self {
        cut: true,
        ..Self::FINE
    };

    /// All passes at once.
    pub const FINE: Self = Self {
        cut: false,
        lost_permille: 0,
        doubled_permille: 0,
        overtaken_permille: 0,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        bytes_max: 0,
    };

    /// Loses, doubles, delays and reorders, but lets traffic go on.
    pub const STORM: Self = Self {
        lost_permille: 20,
        doubled_permille: 50,
        overtaken_permille: 100,
        delay: Duration::from_millis(3),
        jitter: Duration::from_millis(7),
        ..Self::FINE
    };

    /// When the copies of a packet arrive, from now; none: it is lost.
    pub fn arrivals(&self, bytes: usize, random: &mut StdRng) -> Vec<Duration> {
        if self.cut || (self.bytes_max > 0 && bytes > self.bytes_max) {
            return Vec::new();
        }
        if happens(self.lost_permille, random) {
            return Vec::new();
        }
        let copies = 1 + usize::from(happens(self.doubled_permille, random));
        (0..copies).map(|_| self.takes(random)).collect()
    }

    fn takes(&self, random: &mut StdRng) -> Duration {
        let jitter_ms = u64::try_from(self.jitter.as_millis()).unwrap_or_default();
        let jitter = Duration::from_millis(random.random_range(0..=jitter_ms));
        let mut takes = self.delay + jitter;
        if happens(self.overtaken_permille, random) {
            takes += OVERTAKEN_BY;
        }
        takes
    }
}

/// Long enough that what was sent right after arrives before.
const OVERTAKEN_BY: Duration = Duration::from_millis(15);

fn happens(permille: u16, random: &mut StdRng) -> bool {
    permille > 0 && random.random_range(0..1000) < permille
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::FINE {
            return f.write_str("fine");
        }
        if self.cut {
            return f.write_str("cut");
        }
        write!(
            f,
            "lost {}\u{2030}, doubled {}\u{2030}, overtaken {}\u{2030}, delay {:?} to {:?}",
            self.lost_permille,
            self.doubled_permille,
            self.overtaken_permille,
            self.delay,
            self.delay + self.jitter
        )?;
        if self.bytes_max > 0 {
            write!(f, ", at most {} bytes", self.bytes_max)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn arrivals(weather: Weather, count: usize) -> Vec<Vec<Duration>> {
        let mut random = StdRng::seed_from_u64(1);
        let packets = 0..count;
        packets
            .map(|_| weather.arrivals(100, &mut random))
            .collect()
    }

    #[test]
    fn in_fine_weather_each_packet_arrives_once_and_at_once() {
        let fine = arrivals(Weather::FINE, 1000);
        assert!(fine.iter().all(|copies| copies == &[Duration::ZERO]));
    }

    #[test]
    fn a_cut_lets_nothing_pass_and_a_narrow_path_nothing_large() {
        assert!(arrivals(Weather::CUT, 1000).iter().all(Vec::is_empty));
        let narrow = |bytes_max| Weather {
            bytes_max,
            ..Weather::FINE
        };
        assert!(arrivals(narrow(99), 10).iter().all(Vec::is_empty));
        assert!(arrivals(narrow(100), 10).iter().all(|it| it.len() == 1));
    }

    #[test]
    fn a_storm_loses_doubles_and_reorders_some() {
        let storm = arrivals(Weather::STORM, 10_000);
        let count = |copies: usize| storm.iter().filter(|it| it.len() == copies).count();
        assert!((100..300).contains(&count(0)), "{} lost", count(0));
        assert!((300..700).contains(&count(2)), "{} doubled", count(2));
        let late = Weather::STORM.delay + OVERTAKEN_BY;
        let overtaken = storm.iter().flatten().filter(|takes| **takes >= late);
        assert!(overtaken.count() > 500);
    }
}
