//! How many connect requests are taken in a time (Apache `BlueThrottle`).
//!
//! A bucket of tokens that fills with time lets short bursts through and holds the mean. Alone it
//! favours who comes at the right moment, so beside it there may be a chance to be dropped before
//! the bucket is asked, which rises while the bucket is empty and falls when it is full again (the
//! BLUE algorithm).

/// The settings of a throttle, as Apache's are after its defaults.
#[derive(Clone, PartialEq, Debug)]
pub struct ThrottleOptions {
    /// The size of the bucket (`connection_throttle_tokens`).
    pub tokens: u32,
    /// So many tokens come ...
    pub fill_count: u32,
    /// ... in so many ms; not 0.
    pub fill_ms: u32,
    /// How often the chance of being dropped changes, in ms; `None` for no such chance.
    pub freeze_ms: Option<u32>,
    /// What it rises by, while the bucket is empty.
    pub drop_increase: f64,
    /// What it falls by ...
    pub drop_decrease: f64,
    /// ... while no larger share of the bucket than this is missing.
    pub decrease_ratio: f64,
    /// What a new session costs.
    pub new_session_tokens: u32,
    /// The same of a session that only its member knows.
    pub local_session_tokens: u32,
    /// What a renewal costs.
    pub renewal_tokens: u32,
}

/// What a connect request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// A new session.
    Session,
    /// A new one, where they are of their member alone.
    LocalSession,
    /// One that is there.
    Renewal,
}

/// The throttle of one member.
///
/// **Invariant:** `tokens <= options.tokens` and `0 <= drop <= 1`.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    options: ThrottleOptions,
    tokens: u32,
    filled_ms: i64,
    drop: f64,
    frozen_ms: i64,
    rng: u64,
}

impl Throttle {
    /// A throttle with a full bucket.
    pub(crate) fn new(options: ThrottleOptions, seed: u64, now_ms: i64) -> Throttle {
        let tokens = options.tokens;
        Throttle { options, tokens, filled_ms: now_ms, drop: 0.0, frozen_ms: now_ms, rng: seed | 1 }
    }

    /// Whether a connect request is taken; if so, it is paid for.
    pub(crate) fn admits(&mut self, wanted: Wanted, now_ms: i64) -> bool {
        self.fill(now_ms);
        if let Some(freeze_ms) = self.options.freeze_ms
            && self.is_dropped(freeze_ms, now_ms)
        {
            return false;
        }
        let cost = match wanted {
            Wanted::Session => self.options.new_session_tokens,
            Wanted::LocalSession => self.options.local_session_tokens,
            Wanted::Renewal => self.options.renewal_tokens,
        };
        let left = self.tokens.checked_sub(cost);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }

    fn fill(&mut self, now_ms: i64) {
        let since_ms = now_ms - self.filled_ms;
        if since_ms > i64::from(self.options.fill_ms) {
            let fill = since_ms.saturating_mul(self.options.fill_count.into());
            let fill = fill / i64::from(self.options.fill_ms.max(1));
            let full = i64::from(self.options.tokens);
            self.tokens = i64::from(self.tokens).saturating_add(fill).min(full) as u32;
            self.filled_ms = now_ms;
        }
    }

    fn is_dropped(&mut self, freeze_ms: u32, now_ms: i64) -> bool {
        let ThrottleOptions { drop_increase, drop_decrease, decrease_ratio, .. } = self.options;
        if now_ms - self.frozen_ms > i64::from(freeze_ms) {
            let few = (f64::from(self.options.tokens) * decrease_ratio).round();
            if self.tokens == 0 {
                self.drop = (self.drop + drop_increase).min(1.0);
            } else if f64::from(self.deficit()) <= few {
                self.drop = (self.drop - drop_decrease).max(0.0);
            }
            self.frozen_ms = now_ms;
        }
        self.random() < self.drop
    }

    /// From 0 to 1, as evenly as 53 bits of xorshift64 are: nothing depends on its secrecy.
    fn random(&mut self) -> f64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        (self.rng >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The tokens that are missing.
    pub(crate) fn deficit(&self) -> u32 {
        self.options.tokens - self.tokens
    }

    /// The chance of being dropped.
    pub(crate) fn drop_probability(&self) -> f64 {
        self.drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Apache's defaults with a bucket of ten.
    fn options() -> ThrottleOptions {
        ThrottleOptions {
            tokens: 10,
            fill_count: 1,
            fill_ms: 1,
            freeze_ms: None,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            new_session_tokens: 1,
            local_session_tokens: 1,
            renewal_tokens: 1,
        }
    }

    fn taken(throttle: &mut Throttle, asked: usize, wanted: Wanted, now_ms: i64) -> usize {
        (0..asked).filter(|_| throttle.admits(wanted, now_ms)).count()
    }

    #[test]
    fn a_burst_passes_and_the_mean_holds() {
        let options = ThrottleOptions { fill_ms: 100, fill_count: 2, ..options() };
        let mut throttle = Throttle::new(options, 1, 1000);
        assert_eq!(taken(&mut throttle, 50, Wanted::Session, 1000), 10);
        assert_eq!(throttle.deficit(), 10);
        // Not before the time is over, and then by the time that passed.
        assert_eq!(taken(&mut throttle, 50, Wanted::Session, 1100), 0);
        assert_eq!(taken(&mut throttle, 50, Wanted::Session, 1101), 2);
        assert_eq!(taken(&mut throttle, 50, Wanted::Session, 1351), 5);
        assert_eq!(taken(&mut throttle, 50, Wanted::Session, i64::MAX), 10);
        let mut throttle = Throttle::new(ThrottleOptions { fill_ms: 100, ..self::options() }, 1, 0);
        let all: usize = (0..100_000).map(|ms| taken(&mut throttle, 1, Wanted::Session, ms)).sum();
        assert!((990..=1010).contains(&all), "{all} in 100 s");
    }

    #[test]
    fn sessions_have_their_prices() {
        let options = ThrottleOptions {
            new_session_tokens: 3,
            local_session_tokens: 1,
            renewal_tokens: 2,
            ..options()
        };
        let mut throttle = Throttle::new(options, 1, 0);
        assert_eq!(taken(&mut throttle, 9, Wanted::Session, 0), 3);
        assert_eq!(taken(&mut throttle, 9, Wanted::Renewal, 0), 0, "one token is left");
        assert_eq!(taken(&mut throttle, 9, Wanted::LocalSession, 0), 1);
        let mut throttle = Throttle::new(throttle.options, 1, 0);
        assert_eq!(taken(&mut throttle, 9, Wanted::Renewal, 0), 5);
    }

    #[test]
    fn the_chance_of_being_dropped_rises_while_the_bucket_is_empty_and_falls_when_it_is_full() {
        let (drop_increase, drop_decrease) = (0.25, 0.125);
        let (freeze_ms, fill_ms) = (Some(10), 1_000_000);
        let options =
            ThrottleOptions { freeze_ms, fill_ms, drop_increase, drop_decrease, ..options() };
        let mut throttle = Throttle::new(options, 1, 0);
        assert_eq!(taken(&mut throttle, 10, Wanted::Session, 0), 10);
        let mut chances = Vec::new();
        for now_ms in [5, 10, 11, 15, 22, 33, 44, 55] {
            assert!(!throttle.admits(Wanted::Session, now_ms), "the bucket is empty");
            chances.push(throttle.drop_probability());
        }
        assert_eq!(chances, [0.0, 0.0, 0.25, 0.25, 0.5, 0.75, 1.0, 1.0]);
        // With a chance of 1 nobody passes, whatever is in the bucket, until it has fallen.
        let mut frozen = throttle.clone();
        assert!((0..1000).all(|_| !frozen.admits(Wanted::Session, 60)));
        throttle.options.fill_ms = 1;
        throttle.admits(Wanted::Session, 66);
        assert_eq!(throttle.drop_probability(), 0.875);
    }

    #[test]
    fn as_many_are_dropped_as_the_chance_says() {
        let options = ThrottleOptions { tokens: u32::MAX, freeze_ms: Some(0), ..options() };
        let mut throttle = Throttle::new(options, 7, 0);
        throttle.drop = 0.3;
        let taken = taken(&mut throttle, 10_000, Wanted::Session, 0);
        assert!((6800..7200).contains(&taken), "{taken} of 10000");
    }

    #[test]
    fn a_partly_filled_bucket_lowers_the_chance_only_within_the_ratio() {
        for (decrease_ratio, want) in [(0.0, 0.5), (0.19, 0.498), (0.3, 0.498)] {
            let options = ThrottleOptions { freeze_ms: Some(0), decrease_ratio, ..options() };
            let mut throttle = Throttle::new(options, 7, 0);
            (throttle.drop, throttle.tokens) = (0.5, 8);
            throttle.admits(Wanted::Session, 1);
            assert_eq!(throttle.drop_probability(), want, "{decrease_ratio}");
        }
        // A last token is no empty bucket.
        let options = ThrottleOptions { freeze_ms: Some(0), ..options() };
        let mut throttle = Throttle::new(options, 7, 0);
        (throttle.drop, throttle.tokens) = (0.5, 1);
        throttle.admits(Wanted::Session, 1);
        assert_eq!(throttle.drop_probability(), 0.5);
    }
}
