//! A timer that a task keeps and sets again and again.
//!
//! Used by [`super::timed`] and by the steps of a request, where most waits end long before their
//! limit. Making or moving a tokio timer takes the wheel's lock; so an alarm that rings too early is
//! left alone, and set anew only when it has rung.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, Sleep};

use super::clock;

/// A timer that costs nothing while its limits are not reached.
#[derive(Debug, Default)]
pub struct Alarm {
    armed: Option<(Pin<Box<Sleep>>, Waker)>,
}

impl Alarm {
    /// Ready when `deadline` has passed. Until then the task is woken by `deadline`, perhaps earlier.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if clock::now() >= deadline {
            return Poll::Ready(());
        }
        self.wake_by(cx, deadline);
        Poll::Pending
    }

    /// Wakes the task by `deadline`, perhaps earlier.
    pub fn wake_by(&mut self, cx: &mut Context<'_>, deadline: Instant) {
        let timer = match &mut self.armed {
            Some((timer, waker)) => {
                let rings = timer.deadline() <= deadline && !timer.is_elapsed();
                if rings && waker.will_wake(cx.waker()) {
                    return;
                }
                if !rings {
                    timer.as_mut().reset(deadline);
                }
                waker.clone_from(cx.waker());
                timer
            },
            none => {
                let timer = Box::pin(tokio::time::sleep_until(deadline));
                &mut none.insert((timer, cx.waker().clone())).0
            },
        };
        // Beyond the task's budget of polls tokio would not note whom to wake.
        let timer = std::pin::pin!(tokio::task::unconstrained(timer.as_mut()));
        if timer.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    async fn ring(alarm: &mut Alarm, deadline: Instant) -> u32 {
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            alarm.poll(cx, deadline)
        })
        .await;
        assert!(Instant::now() >= deadline);
        polls
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_each_deadline_whether_set_earlier_or_later() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        for seconds in [10, 5, 30, 29, 60] {
            ring(&mut alarm, start + Duration::from_secs(seconds)).await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(60));
    }

    /// The point of it: a wait that ends early leaves the timer where it is.
    #[tokio::test(start_paused = true)]
    async fn a_later_deadline_leaves_an_armed_timer_alone() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let armed = start + Duration::from_secs(10);
        poll_fn(|cx| {
            assert!(alarm.poll(cx, armed).is_pending());
            assert!(alarm.poll(cx, start + Duration::from_secs(50)).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(alarm.armed.as_ref().map(|(timer, _)| timer.deadline()), Some(armed));
        assert_eq!(ring(&mut alarm, start + Duration::from_secs(50)).await, 3);
    }
}
