//! What opens the breaker around the upstream, what closes it, and what does neither.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_hung_upstream_opens_the_breaker_though_its_callers_have_less_time_than_an_attempt() {
    let stack = stack(|_| std::future::pending());
    for _ in 0..10 {
        assert_eq!(
            stack.run(job(ATTEMPT_TIMEOUT / 5)).await,
            Err(Failure::DeadlineExceeded)
        );
    }
    assert_eq!(stack.upstream.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn callers_with_less_time_than_the_upstream_takes_do_not_open_the_breaker() {
    let stack = stack(|_| async {
        sleep(ATTEMPT_TIMEOUT / 2).await;
        done()
    });
    assert_eq!(stack.run(job(LONG)).await, done());
    for _ in 0..20 {
        assert_eq!(
            stack.run(job(ATTEMPT_TIMEOUT / 4)).await,
            Err(Failure::DeadlineExceeded)
        );
    }
    assert_eq!(stack.upstream.state(), State::Closed);
    let stack = super::stack(|_| std::future::pending());
    for _ in 0..50 {
        let _ = stack.run(job(Duration::from_millis(1))).await;
    }
    assert_eq!(stack.upstream.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_upstream_leaves_a_half_open_breaker_as_it_is() {
    const OPEN: Duration = Duration::from_millis(40);
    let breaker = || Breaker::new("test", consecutive_failures(1, std::iter::repeat(OPEN)), PROBES);
    for (name, failure) in [
        ("a deadline", Failure::DeadlineExceeded),
        ("a mistake", Failure::Invalid { detail: String::new() }),
        ("a panic", Failure::Panicked { message: String::new() }),
    ] {
        let stack = stack_with(breaker(), ATTEMPT_TIMEOUT, move |call| {
            std::future::ready(if call == 1 { Err(broken()) } else { Err(failure.clone()) })
        });
        let once = || Job {
            delivery: 2,
            ..job(LONG)
        };
        let _ = stack.run(once()).await;
        assert_eq!(stack.upstream.state(), State::Open);
        // The breaker runs on real time.
        std::thread::sleep(OPEN + Duration::from_millis(10));
        for _ in 0..PROBES * 2 {
            let _ = stack.run(once()).await;
            assert_eq!(stack.upstream.state(), State::HalfOpen, "{name}");
        }
        assert_eq!(
            stack.calls() as usize,
            1 + PROBES * 2,
            "each probe gives its place back"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_retry_after_is_told_at_once_and_gives_the_upstream_its_pause() {
    let throttled = Failure::Throttled {
        retry_after: Some(Duration::from_secs(600)),
    };
    let answer = throttled.clone();
    let stack = stack(move |_| std::future::ready(Err(answer.clone())));
    let started = Instant::now();
    assert_eq!(stack.run(job(LONG * 60)).await, Err(throttled));
    assert_eq!((stack.calls(), started.elapsed()), (1, Duration::ZERO));
    assert_eq!(stack.upstream.state(), State::Open);
    let pause = stack.upstream.open_for().as_secs_f64();
    // Far from the second it is open for at first, also on a machine that is busy with something else.
    assert!((5.0..=37.5).contains(&pause), "{pause} s");
    assert_eq!(stack.metrics.upstream_circuit.get(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn ten_failures_in_a_row_open_the_breaker_and_nothing_is_called() {
    // The breaker runs on real time.
    let breaker = breaker_open_for("test", std::iter::repeat(LONG * 60));
    let stack = stack_with(breaker, ATTEMPT_TIMEOUT, |_| async { Err(broken()) });
    for _ in 0..4 {
        // The breaker opens during the fourth: what its caller hears is the failure that was, not "open".
        assert_eq!(stack.run(job(LONG)).await, Err(broken()));
    }
    assert_eq!((stack.calls(), stack.upstream.state()), (10, State::Open));
    let refused = stack.run(job(LONG)).await;
    assert!(matches!(refused, Err(Failure::CircuitOpen { .. })), "{refused:?}");
    let redelivered = Job {
        delivery: 2,
        ..job(LONG)
    };
    let refused = stack.run(redelivered).await;
    assert!(
        matches!(refused, Err(Failure::Upstream { .. })),
        "an earlier worker may have called: {refused:?}"
    );
    assert_eq!(stack.calls(), 10);
    assert_eq!(stack.metrics.upstream_circuit.get(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn callers_mistakes_do_not_open_the_breaker() {
    let stack = stack(|_| std::future::ready(Err(Failure::NotFound { detail: String::new() })));
    for _ in 0..100 {
        let _ = stack.run(job(LONG)).await;
    }
    assert_eq!(stack.upstream.state(), State::Closed);
}

#[test]
fn the_breaker_stays_open_for_about_a_second_at_first_and_thirty_at_most() {
    for _ in 0..100 {
        let times: Vec<_> = open_times().take(8).map(|time| time.as_secs_f64()).collect();
        assert!((0.75..=1.25).contains(&times[0]), "{times:?}");
        assert!(times[7] >= 22.5 && times[7] <= 37.5, "{times:?}");
    }
}
