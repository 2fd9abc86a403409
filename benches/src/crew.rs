//! Long-lived threads, each pinned to a processor, to one of its own as far as there are enough.
//!
//! A pool may give each thread a start position of its own, so a load has to run on the same thread in every round.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

type Job = Box<dyn FnOnce() + Send>;

/// The threads that run the loads.
#[derive(Debug)]
pub struct Crew {
    workers: Vec<Worker>,
    pinned: bool,
    processors: usize,
}

#[derive(Debug)]
struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Crew {
    /// Starts `threads` threads, pinned in turn to the processors that the process may use, as far as the system
    /// allows.
    pub fn new(threads: usize) -> Self {
        let cpus = allowed_cpus();
        let mut pinned = true;
        let mut workers = Vec::new();
        for index in 0..threads {
            let (jobs, inbox) = mpsc::channel::<Job>();
            let (ready, is_ready) = mpsc::channel();
            let cpu = cpus.iter().cycle().nth(index).copied();
            let thread = thread::spawn(move || {
                // The crew may be gone already; then there are no jobs either.
                let _ = ready.send(cpu.is_some_and(pin));
                inbox.into_iter().for_each(|job| job());
            });
            pinned &= is_ready.recv().unwrap_or(false);
            workers.push(Worker {
                jobs: Some(jobs),
                thread: Some(thread),
            });
        }
        Self {
            workers,
            pinned,
            processors: cpus.len().max(1),
        }
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Returns the number of processors for the threads.
    pub fn processors(&self) -> usize {
        self.processors
    }

    /// Returns whether each of the first `threads` threads has a processor of its own.
    pub fn is_pinned(&self, threads: usize) -> bool {
        self.pinned && threads <= self.processors
    }

    /// Runs `job` on each of `states`, the i-th on the i-th thread. Returns the states and the results of the jobs, in
    /// the same order.
    ///
    /// # Panics
    ///
    /// If there are more states than threads, and if a job panics, with its panic.
    pub fn run<S, R>(
        &mut self,
        states: Vec<S>,
        job: impl Fn(&mut S) -> R + Clone + Send + 'static,
    ) -> (Vec<S>, Vec<R>)
    where
        S: Send + 'static,
        R: Send + 'static,
    {
        assert!(
            states.len() <= self.workers.len(),
            "{} states for {} threads",
            states.len(),
            self.workers.len()
        );
        let mut answers = Vec::new();
        for (worker, mut state) in self.workers.iter().zip(states) {
            let (reply, answer) = mpsc::channel();
            let job = job.clone();
            let job: Job = Box::new(move || {
                let answer = job(&mut state);
                // The receiver is gone if another thread's job has panicked.
                let _ = reply.send((state, answer));
            });
            // A worker that has ended drops the job, and with it the only sender of the answer.
            let _ = worker.jobs.as_ref().map(|jobs| jobs.send(job));
            answers.push(answer);
        }
        let mut states = Vec::new();
        let mut results = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match answer.recv() {
                Ok((state, result)) => {
                    states.push(state);
                    results.push(result);
                }
                Err(_) => self.explain(index),
            }
        }
        (states, results)
    }

    fn explain(&mut self, index: usize) -> ! {
        match self.workers[index].thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("a worker ends only when its job panics"),
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.jobs = None;
            if let Some(thread) = worker.thread.take() {
                // A panic in a job has been passed on by `run`.
                let _ = thread.join();
            }
        }
    }
}

/// Returns how many processors this process may use, at least one.
pub fn processors() -> usize {
    allowed_cpus().len().max(1)
}

/// Returns the processors that this process may use.
fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

/// Pins the calling thread to one processor. Returns whether that worked.
fn pin(cpu: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).is_ok()
}
