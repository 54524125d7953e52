//! What receivers refused for good, as the sinks' status says.

use std::collections::HashMap;

use crate::sinks::SinkStatus;

/// What was told of, by sink.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<String, u64>);

impl Refusals {
    /// Sinks whose receivers refused something since the last look, and how much. The first look comes some seconds after the
    /// sinks have begun, so it counts from their start.
    pub(super) fn new_in(&mut self, sinks: &[SinkStatus]) -> Vec<(String, u64)> {
        let new = sinks.iter().map(|sink| {
            let told = self.0.insert(sink.name.clone(), sink.refused).unwrap_or(0);
            (sink.name.clone(), sink.refused.saturating_sub(told))
        });
        new.filter(|(_, new)| *new > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_before_the_first_look_is_told_and_what_an_earlier_daemon_told_is_not() {
        let sink =
            |refused| SinkStatus { name: "a".into(), undeliverable: 7 + refused, refused, ..SinkStatus::default() };
        let mut refusals = Refusals::default();
        assert_eq!(refusals.new_in(&[sink(2)]), [("a".to_owned(), 2)]);
        assert_eq!(refusals.new_in(&[sink(2)]), []);
        assert_eq!(refusals.new_in(&[sink(3)]), [("a".to_owned(), 1)]);
        assert_eq!(Refusals::default().new_in(&[sink(0)]), []);
    }
}
