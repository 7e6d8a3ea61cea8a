//! Owns the threads that train, one job after the other each.
//!
//! Others go first on their cores. Refuses to know what a job is. Bound: the
//! trainers of the configuration.

use std::sync::{Arc, Mutex, PoisonError};

use truststram_machine::{MachineError, Priority, Thread, ThreadSpec};

use super::jobs::Jobs;
use super::run;
use crate::config::raw::TrainingPriority;

/// The threads and the jobs that they work on.
pub struct Trainers {
    /// The jobs.
    pub jobs: Arc<Jobs>,
    threads: Mutex<Vec<Thread<()>>>,
}

impl Trainers {
    /// Starts them.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(jobs: Jobs) -> Result<Self, MachineError> {
        let jobs = Arc::new(jobs);
        let mut threads = Vec::new();
        for index in 0..jobs.means.limits.trainers {
            let spec = ThreadSpec {
                name: format!("trainer-{index}"),
                cores: jobs.means.cores.clone(),
                memory_node: None,
                priority: match jobs.means.limits.priority {
                    TrainingPriority::Idle => Priority::Idle,
                    TrainingPriority::Background => Priority::Background,
                },
            };
            let jobs = jobs.clone();
            threads.push(truststram_machine::spawn(spec, move |_placement| {
                while let Some((job, stop)) = jobs.take() {
                    let end = run::run(&jobs, &job, &stop);
                    jobs.finish(job.id, end);
                }
            })?);
        }
        Ok(Self { jobs, threads: Mutex::new(threads) })
    }

    /// Has the jobs end with a checkpoint each, and joins the threads. A second call does nothing.
    ///
    /// # Errors
    /// If a thread has panicked.
    pub fn close(&self) -> Result<(), MachineError> {
        self.jobs.send_away();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).split_off(0);
        // Each is joined whatever became of the one before; the first error is reported.
        threads.into_iter().map(Thread::join).collect::<Vec<_>>().into_iter().collect()
    }
}
