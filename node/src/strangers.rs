//! Refusals of peers that may not ask: audited now and then, so that they can't fill the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// A peer's refusals are audited this far apart.
const PAUSE: Duration = Duration::from_secs(60);
/// This many peers are told apart; refusals of more at once are only counted.
const MOST_PEERS: usize = 256;

/// Who was refused lately for not being a coordinator.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    audited: HashMap<String, Instant>,
    left_out: u64,
}

impl Strangers {
    /// Whether a refusal of this peer is to be audited now; if so, how many refusals, of whatever
    /// stranger, were left out since the last that was.
    pub(crate) fn audit(&self, peer: &str, now: Instant) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.audited.retain(|_, at| now.duration_since(*at) < PAUSE);
        if seen.audited.contains_key(peer) || seen.audited.len() >= MOST_PEERS {
            seen.left_out = seen.left_out.saturating_add(1);
            return None;
        }
        seen.audited.insert(peer.to_owned(), now);
        Some(std::mem::take(&mut seen.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_audited_once_a_minute_and_the_rest_is_counted() {
        let (strangers, start) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.audit("a", start), Some(0));
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(strangers.audit("a", now), None);
        }
        assert_eq!(strangers.audit("b", start), Some(60));
        assert_eq!(strangers.audit("a", start + PAUSE), Some(0));
    }

    #[test]
    fn many_names_take_no_more_room() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        for peer in 0..1000 {
            let audited = strangers.audit(&peer.to_string(), now).is_some();
            assert_eq!(audited, peer < MOST_PEERS);
        }
        assert_eq!(strangers.audit("next", now + PAUSE), Some(744));
        assert_eq!(strangers.0.lock().expect("unpoisoned").audited.len(), 1);
    }
}
