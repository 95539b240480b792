//! When and how often a node is tried again.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use ward_schemas::problem::{ErrorCode, Problem};

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How patient the coordinator is with one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For all attempts together.
    pub(crate) deadline: Duration,
    pub(crate) attempts: NonZeroU32,
    /// Before the second attempt; each further one doubles.
    pub(crate) pause: Duration,
}

impl Patience {
    /// Calls until it works, fails for good, or patience ends. Trying again is safe: a node charges
    /// an ask once and answers it once.
    pub(crate) async fn call<T, F>(self, mut attempt: impl FnMut() -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let attempts = async {
            for made in 1..self.attempts.get() {
                match attempt().await {
                    Err(problem) if may_pass(problem.code) => {
                        tokio::time::sleep(pause(self.pause, made)).await;
                    }
                    done => return done,
                }
            }
            attempt().await
        };
        let within = tokio::time::timeout(self.deadline, attempts).await;
        within.unwrap_or_else(|_| Err(timed_out(self.deadline)))
    }
}

/// Whether the next attempt may fare better.
fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NodeUnreachable | ErrorCode::LedgerUnavailable
    )
}

/// The pause after so many attempts.
fn pause(first: Duration, attempts: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
    first.saturating_mul(doubled).min(LONGEST_PAUSE)
}

fn timed_out(deadline: Duration) -> Problem {
    Problem::new(
        ErrorCode::NodeTimeout,
        format!("the node did not answer within {} s", deadline.as_secs()),
        "Ask again: what it has answered by then costs nothing more.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(attempts: u32) -> Patience {
        Patience {
            deadline: Duration::from_secs(60),
            attempts: NonZeroU32::new(attempts).expect("attempts"),
            pause: Duration::from_millis(1),
        }
    }

    async fn attempts_made(code: ErrorCode) -> u32 {
        let mut made = 0;
        let result: Result<(), _> = patience(3)
            .call(|| {
                made += 1;
                std::future::ready(Err(Problem::new(code, "no", "No.")))
            })
            .await;
        assert_eq!(result.expect_err("failed").code, code);
        made
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again() {
        assert_eq!(attempts_made(ErrorCode::NodeUnreachable).await, 3);
        assert_eq!(attempts_made(ErrorCode::BudgetExhausted).await, 1);
        assert_eq!(attempts_made(ErrorCode::AnswerFailed).await, 1);
    }

    #[tokio::test]
    async fn a_silent_node_times_out() {
        let hurried = Patience {
            deadline: Duration::ZERO,
            ..patience(1)
        };
        let silent = hurried.call(std::future::pending::<Result<(), Problem>>);
        let problem = silent.await.expect_err("timed out");
        assert_eq!(problem.code, ErrorCode::NodeTimeout);
    }

    #[test]
    fn pauses_double_and_end_at_five_seconds() {
        let first = Duration::from_millis(250);
        let pauses: Vec<_> = [1, 2, 3, 9, u32::MAX].map(|n| pause(first, n)).into();
        let ms = Duration::from_millis;
        assert_eq!(pauses, [ms(250), ms(500), ms(1000), ms(5000), ms(5000)]);
    }
}
