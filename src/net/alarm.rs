//! A timer that a task keeps and sets again and again.
//!
//! Used by [`super::timed`] and by the steps of a request, where most waits end long before their
//! limit. Making or moving a tokio timer takes the wheel's lock, and one that rings before all others
//! wakes the runtime by a system call; so an alarm that rings too early is left alone, and set anew
//! only when it has rung.

mod spare;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

pub use self::spare::Spare;
use super::clock;

/// What `future` yields, or nothing once `limit` has passed. It is [`tokio::time::timeout`] on an alarm
/// that waits which came before have left as it stands: for waits that are many and hardly ever last.
/// Must be called inside a runtime.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    // A limit beyond all time is none.
    let Some(deadline) = clock::now().checked_add(limit) else { return Some(future.await) };
    let mut alarm = spare::Borrowed::new();
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.poll(cx, deadline).map(|()| None),
    })
    .await
}

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

    /// What one look at `future` yields.
    async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    }

    /// Timers that the waits of a thread have left.
    fn spares() -> usize {
        spare::Borrowed::left()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_within_a_limit_ends_by_what_comes_first() {
        let second = Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(within(second, std::future::ready(7)).await, Some(7));
            assert_eq!(within(Duration::MAX, std::future::ready(7)).await, Some(7));
            let start = Instant::now();
            assert_eq!(within(second, std::future::pending::<()>()).await, None);
            assert!(start.elapsed() >= second);
            let sooner = async { tokio::time::sleep(second / 2).await };
            assert_eq!(within(second, sooner).await, Some(()));
            assert_eq!(spares(), 1, "one alarm served all of them");
        }
        let mut dropped = Box::pin(within(second, std::future::pending::<()>()));
        assert_eq!(poll_once(dropped.as_mut()).await, Poll::Pending);
        assert_eq!(spares(), 0);
        drop(dropped);
        assert_eq!(spares(), 1);
    }

    /// A timer ends with its runtime, a thread may see several of them.
    #[test]
    fn no_alarm_is_taken_over_from_another_runtime() {
        for _ in 0..2 {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let start = Instant::now();
                let never = std::future::pending::<()>();
                assert_eq!(within(Duration::from_secs(5), never).await, None);
                assert!(start.elapsed() >= Duration::from_secs(5));
            });
        }
    }
}
