//! Who decides what a crash leaves behind.

/// Decides between possibilities.
pub trait Choose {
    /// A number below `options`, which is at least 1.
    fn pick(&mut self, options: usize) -> usize;
}

impl<F: FnMut(usize) -> usize> Choose for F {
    fn pick(&mut self, options: usize) -> usize {
        self(options)
    }
}

/// Pseudo-random decisions that a number repeats (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The decisions that belong to this number.
    #[must_use]
    pub fn new(seed: u64) -> Seed {
        Seed(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Choose for Seed {
    fn pick(&mut self, options: usize) -> usize {
        (self.next_u64() % options as u64) as usize
    }
}

/// Goes through all combinations of decisions, like the wheels of a counter.
#[derive(Default, Debug)]
pub(super) struct Odometer {
    /// What was picked, and among how many.
    wheels: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    /// Turns to the next combination; false when all were there.
    pub(super) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((pick, options)) = self.wheels.pop() {
            if pick + 1 < options {
                self.wheels.push((pick + 1, options));
                return true;
            }
        }
        false
    }
}

impl Choose for Odometer {
    fn pick(&mut self, options: usize) -> usize {
        let at = self.at;
        self.at += 1;
        match self.wheels.get(at) {
            Some(&(pick, _)) => pick,
            None => {
                self.wheels.push((0, options));
                0
            }
        }
    }
}
