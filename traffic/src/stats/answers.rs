//! When answers came: counts by tenth of a second, for a line of answers per second.

use core::time::Duration;

use anyedge_net::time::Instant;

/// The width of a count.
pub const ANSWERS_EVERY: Duration = Duration::from_millis(100);

/// Counts at most: of the first hour. Later answers are not in any.
const COUNTS_MAX: usize = 36_000;

/// Answers by the tenth of a second in which they came, from the run's beginning on.
#[derive(Clone, Default, Debug)]
pub(super) struct Answers(Vec<u32>);

impl Answers {
    pub(super) fn on_answer(&mut self, now: Instant) {
        let place = now.since(Instant::ZERO).as_nanos() / ANSWERS_EVERY.as_nanos();
        let Some(place) = usize::try_from(place).ok().filter(|at| *at < COUNTS_MAX) else {
            return;
        };
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        self.0[place] += 1;
    }

    pub(super) fn counts(&self) -> &[u32] {
        &self.0
    }

    pub(super) fn merge(&mut self, other: &Answers) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_in_the_tenth_of_a_second_in_which_it_came_and_a_late_one_in_none() {
        let mut answers = Answers::default();
        for millis in [0, 99, 100, 350] {
            answers.on_answer(Instant::ZERO + Duration::from_millis(millis));
        }
        assert_eq!(answers.counts(), [2, 1, 0, 1]);
        answers.on_answer(Instant::FAR_FUTURE);
        assert_eq!(answers.counts().len(), 4);
        let mut sum = Answers::default();
        sum.merge(&answers);
        sum.merge(&answers);
        assert_eq!(sum.counts(), [4, 2, 0, 2]);
    }
}
