//! Tasks of an instance. Each starts here, so that a simulation of several instances in one process can hold, or end,
//! all that one of them does; a service itself adds nothing to what tokio does.

use tokio::task::JoinHandle;

/// Starts a task of the instance that starts it.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(owned(work))
}

/// The same work, as a task of the instance that makes it.
#[cfg(not(feature = "simulation"))]
pub fn owned<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    work
}

#[cfg(feature = "simulation")]
pub use simulation::{Condition, Instance, owned};

#[cfg(feature = "simulation")]
mod simulation {
    use std::cell::RefCell;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex, MutexGuard};
    use std::task::{Context, Poll, Waker};

    thread_local! {
        static CURRENT: RefCell<Option<Arc<Instance>>> = const { RefCell::new(None) };
    }

    /// What a simulated process does.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Condition {
        /// It runs.
        Running,
        /// It is stopped, as by SIGSTOP; what it would have noticed meanwhile it notices afterwards.
        Frozen,
        /// It has ended, as by SIGKILL.
        Dead,
    }

    /// A simulated process: all tasks that it starts share its condition.
    #[derive(Debug)]
    pub struct Instance {
        name: String,
        condition: Mutex<(Condition, Vec<Waker>)>,
    }

    impl Instance {
        /// A process that runs.
        #[must_use]
        pub fn new(name: impl Into<String>) -> Arc<Self> {
            Arc::new(Self {
                name: name.into(),
                condition: Mutex::new((Condition::Running, Vec::new())),
            })
        }

        /// The process whose task is being polled.
        #[must_use]
        pub fn current() -> Option<Arc<Self>> {
            CURRENT.with_borrow(Clone::clone)
        }

        /// What it is called.
        #[must_use]
        pub fn name(&self) -> &str {
            &self.name
        }

        /// What it does.
        #[must_use]
        pub fn condition(&self) -> Condition {
            self.state().0
        }

        /// Changes what it does. What has died stays dead.
        pub fn set(&self, condition: Condition) {
            let mut state = self.state();
            if state.0 == Condition::Dead {
                return;
            }
            state.0 = condition;
            let waiting = std::mem::take(&mut state.1);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }

        /// Does some work as this process.
        pub fn run<F: Future>(self: &Arc<Self>, work: F) -> impl Future<Output = F::Output> + use<F> {
            Owned {
                instance: Some(self.clone()),
                work: Some(Box::pin(work)),
            }
        }

        /// Does something at once as this process.
        pub fn enter<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
            let outer = CURRENT.replace(Some(self.clone()));
            let done = work();
            CURRENT.set(outer);
            done
        }

        fn state(&self) -> MutexGuard<'_, (Condition, Vec<Waker>)> {
            self.condition
                .lock()
                .expect("no code panics while it holds the condition")
        }
    }

    /// The same work, as a task of the instance that makes it, if one does.
    pub fn owned<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
        Owned {
            instance: Instance::current(),
            work: Some(Box::pin(work)),
        }
    }

    struct Owned<F> {
        instance: Option<Arc<Instance>>,
        work: Option<Pin<Box<F>>>,
    }

    impl<F: Future> Future for Owned<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            let Self { instance, work } = &mut *self;
            let (Some(instance), Some(running)) = (instance, work.as_mut()) else {
                return work.as_mut().map_or(Poll::Pending, |work| work.as_mut().poll(context));
            };
            let mut state = instance.state();
            match state.0 {
                Condition::Running => {
                    drop(state);
                    instance.enter(|| running.as_mut().poll(context))
                }
                Condition::Frozen => {
                    state.1.push(context.waker().clone());
                    Poll::Pending
                }
                Condition::Dead => {
                    drop(state);
                    let dropped = work.take();
                    instance.enter(|| drop(dropped));
                    Poll::Pending
                }
            }
        }
    }
}
