//! How many topics are created because rows name them: whoever writes rows may name any number.

use tokio::time::Instant;

use crate::relay::boundary::{NamedBy, WantedTopic};
use crate::sink::limits::BUDGET_PERIOD;

/// Counts created topics.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    spent: usize,
    since: Instant,
    is_told: bool,
}

impl Budget {
    pub(super) const fn new(most: usize, now: Instant) -> Self {
        Self { most, spent: 0, since: now, is_told: false }
    }

    /// How many more may be created now.
    pub(super) fn left(&mut self, now: Instant) -> usize {
        if now >= self.since + BUDGET_PERIOD {
            *self = Self::new(self.most, now);
        }
        self.most - self.spent
    }

    /// The first of these, as many as may be created; those that others than rows name do not count.
    pub(super) fn within<'a>(
        &mut self,
        wanted: impl Iterator<Item = &'a WantedTopic>,
        now: Instant,
    ) -> Vec<&'a WantedTopic> {
        let mut left = self.left(now);
        let mut may_be_created = |wanted: &&WantedTopic| {
            let counts = wanted.named_by == NamedBy::Row;
            let fits = !counts || left > 0;
            left -= usize::from(counts && fits);
            fits
        };
        wanted.filter(|wanted| may_be_created(wanted)).collect()
    }

    /// So many were created.
    pub(super) const fn spend(&mut self, created: usize) {
        self.spent = if self.most - self.spent < created { self.most } else { self.spent + created };
    }

    /// Why there are no more, in words; and whether it is to be told, which it is once.
    pub(super) fn exhausted(&mut self) -> (String, bool) {
        let reason = format!(
            "does not exist, and the limit of {} topics created in 24 hours because rows name them is reached ([relay] max_new_topics)",
            self.most
        );
        (reason, !std::mem::replace(&mut self.is_told, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::TopicSettings;

    #[test]
    fn case_40_topics_that_rows_name_have_a_budget_and_others_do_not() {
        let now = Instant::now();
        let wanted =
            |name: &str, named_by| WantedTopic { name: name.into(), settings: TopicSettings::default(), named_by };
        let topics = [
            wanted("a", NamedBy::Row),
            wanted("b", NamedBy::Owner),
            wanted("c", NamedBy::Row),
            wanted("d", NamedBy::Row),
            wanted("e", NamedBy::Owner),
        ];
        let mut budget = Budget::new(3, now);
        let names = |budget: &mut Budget, now| {
            budget.within(topics.iter(), now).iter().map(|topic| &*topic.name).collect::<String>()
        };
        assert_eq!(names(&mut budget, now), "abcde");
        budget.spend(1);
        assert_eq!(names(&mut budget, now), "abce");
        budget.spend(7);
        assert_eq!((names(&mut budget, now), budget.left(now)), ("be".to_owned(), 0));
        assert!(budget.exhausted().1 && !budget.exhausted().1);
        assert_eq!(names(&mut budget, now + BUDGET_PERIOD), "abcde", "a day later");
    }
}
