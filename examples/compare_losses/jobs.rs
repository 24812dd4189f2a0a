//! Runs independent jobs on a few threads; the results come in the order of the jobs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `work` for every job, on up to `threads` threads. Each job is a function of its input alone, so the number of threads
/// changes nothing but the time.
pub(crate) fn run_all<J: Sync, R: Send>(
    jobs: &[J],
    threads: usize,
    work: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    let result = work(job);
                    *results[index]
                        .lock()
                        .expect("no other thread has this slot") = Some(result);
                }
            });
        }
    });
    let result =
        |slot: Mutex<Option<R>>| slot.into_inner().ok().flatten().expect("every job has run");
    results.into_iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_jobs_for_every_number_of_threads() {
        let jobs: Vec<u64> = (0..50).collect();
        let expected: Vec<u64> = jobs.iter().map(|x| x * x).collect();
        for threads in [1, 2, 7, 100] {
            assert_eq!(run_all(&jobs, threads, |x| x * x), expected);
        }
    }
}
