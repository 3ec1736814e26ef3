//! Fuzzing: every decoder is given bytes that nobody meant, and must refuse them with a reason or mean what it read.
//!
//! Runs on stable Rust, without instrumentation of the compiler (docs/decisions/0018-fuzzing.md). `corpus` has what
//! inputs begin from, `mutate` how they are changed, `judge` what is kept and what is a failure, `targets` what is read.
//! Every target runs on a thread with a stack of 2 MiB, as the runtime's are, and one seed gives one sequence of inputs.
//!
//! ```text
//! cargo test -p sync-tests --test fuzz                                         all targets, briefly, as in every test run
//! cargo test --release -p sync-tests --test fuzz -- --seconds 30               as CI does
//! cargo test --release -p sync-tests --test fuzz -- --target push --minutes 10 --seed 7
//! cargo test --release -p sync-tests --test fuzz -- --target push --replay FILE
//! ```

mod corpus;
mod judge;
mod mutate;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use clap::Parser as _;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use self::corpus::Pool;
use self::judge::{Failure, Judge, Stats};
use self::mutate::Mutator;
use self::targets::{TARGETS, Target};

/// The stack of the threads on which a node reads what it is sent, and the least that a target gets.
const STACK_BYTES: usize = 2 << 20;

/// An input that takes longer than this on the wall stops everything: whatever the machine does, that is no decoder's pace.
const STUCK: Duration = Duration::from_secs(60);

/// Work of each target where nothing was asked for: enough to run the corpus and some thousand mutants.
const BRIEFLY: Duration = Duration::from_millis(700);

#[derive(clap::Parser)]
struct Args {
    /// This target alone; may be given again. Without it, all.
    #[arg(long)]
    target: Vec<String>,
    /// CPU minutes of each target.
    #[arg(long)]
    minutes: Option<u64>,
    /// CPU seconds of each target.
    #[arg(long)]
    seconds: Option<u64>,
    /// Tells one sequence of inputs from another.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs this file, or the files of this folder, once, and nothing else.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Where failing inputs are put, in a folder of each target's name.
    #[arg(long)]
    failures: Option<PathBuf>,
    /// Keeps what was found to be new here, in a folder of each target's name, and begins with what lies there.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Targets at a time. Without it, one for each core.
    #[arg(long)]
    jobs: Option<usize>,
    /// What `cargo test` hands to every test: names to run, and how.
    #[arg(hide = true, allow_hyphen_values = true)]
    others: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let asks_for_others = args.others.iter().any(|other| !other.starts_with('-') && !"fuzz".contains(other));
    if asks_for_others || args.others.iter().any(|other| other == "--list") {
        return ExitCode::SUCCESS;
    }
    let unknown = |name: &&String| !TARGETS.iter().any(|target| target.name == **name);
    if let Some(name) = args.target.iter().find(unknown) {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no target is called {name:?}; there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    judge::catch_panics();
    let asked =
        |target: &&Target| args.target.is_empty() || args.target.iter().any(|name| name == target.name);
    let queue: Mutex<Vec<&Target>> = Mutex::new(TARGETS.iter().filter(asked).rev().collect());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).max(1);
    let failed: usize = std::thread::scope(|scope| {
        let lane = || {
            let mut failed = 0;
            loop {
                let next = queue.lock().expect("nothing panics while it is held").pop();
                let Some(target) = next else { return failed };
                failed += usize::from(!run_watched(target, &args));
            }
        };
        let lanes: Vec<_> = (0..jobs).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane reports what fails in it")).sum()
    });
    let stray = judge::stray_panics();
    stray.iter().for_each(|panic| println!("a thread of nobody's panicked: {panic}"));
    if failed == 0 && stray.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a target on a thread of its own, and watches that it goes on.
fn run_watched(target: &'static Target, args: &Args) -> bool {
    let (beat, beats) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(target.name.to_owned()).stack_size(STACK_BYTES);
        // A beat that finds the last one still there says the same.
        let run = move || run(target, args, &|| beat.try_send(()).unwrap_or_default());
        let run = thread.spawn_scoped(scope, run).expect("the machine has a thread for us");
        watch(target, args.seed, &beats);
        run.join().expect("what a target does is caught")
    })
}

fn watch(target: &Target, seed: u64, beats: &Receiver<()>) {
    let mut last = Instant::now();
    loop {
        match beats.recv_timeout(Duration::from_secs(1)) {
            Ok(()) => last = Instant::now(),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) if last.elapsed() > STUCK => {
                println!("{}: an input takes more than {STUCK:?}; seed {seed} leads to it", target.name);
                std::process::exit(1);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// One target, to its end or its first failure; true if there was none.
fn run(target: &'static Target, args: &Args, beat: &dyn Fn()) -> bool {
    let mut judge = Judge::new(target);
    if let Some(path) = &args.replay {
        let inputs = corpus::files(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return inputs.iter().all(|(name, input)| match judge.run(input) {
            Ok(_) => {
                println!("{}: {name} is refused or read as it should be", target.name);
                true
            }
            Err(failure) => {
                println!("{}: {name}: {failure}", target.name);
                false
            }
        });
    }
    let budget = match (args.minutes, args.seconds) {
        (Some(minutes), _) => Duration::from_secs(60 * minutes),
        (None, Some(seconds)) => Duration::from_secs(seconds),
        (None, None) => BRIEFLY,
    };
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(args.seed);
    let mut pool = Pool::default();
    let kept = args.corpus.as_ref().map(|folder| folder.join(target.name));
    let begun = judge::work_done();
    let mut inputs = (target.corpus)();
    let sound = inputs.len();
    inputs.extend(corpus::regressions(target.name));
    inputs.extend(
        kept.iter().flat_map(|folder| corpus::files(folder).unwrap_or_default()).map(|(_, input)| input),
    );
    for (at, input) in inputs.into_iter().enumerate() {
        beat();
        let judged = if at < sound { judge.run_sound(&input) } else { judge.run(&input) };
        match judged {
            Ok(_) => pool.add(input),
            Err(failure) => return report(target, args, &mut judge, &input, &failure),
        }
    }
    let own = pool.len();
    let mutator = Mutator::new(target.form);
    let until = target.waits().then(|| Instant::now() + 2 * budget);
    let is_late = || until.is_some_and(|until| Instant::now() >= until);
    while judge::work_done().saturating_sub(begun) < budget && !is_late() {
        for _ in 0..32 {
            beat();
            let input = mutator.next(&pool, &mut rng);
            match judge.run(&input) {
                Ok(true) => {
                    kept.iter().for_each(|folder| drop(corpus::keep(folder, &input)));
                    pool.add(input);
                }
                Ok(false) => {}
                Err(failure) => return report(target, args, &mut judge, &input, &failure),
            }
        }
    }
    tell(target, own, &pool, judge.stats(), judge::work_done().saturating_sub(begun));
    true
}

fn tell(target: &Target, own: usize, pool: &Pool, stats: &Stats, took: Duration) {
    let Stats { runs, accepted, heap_most, .. } = stats;
    let heap = heap_most.as_ref().filter(|_| stats.heap_ratio() > 0.0).map_or(
        String::new(),
        |(bytes, len, words)| {
            let ratio = stats.heap_ratio();
            format!("; most heap beyond 64 KiB: {ratio:.2} x the input ({bytes} bytes for {len}: {words})")
        },
    );
    println!(
        "{}: {runs} inputs in {:.1} s of work, {accepted} read, {own} in the corpus, {} new{heap}",
        target.name,
        took.as_secs_f64(),
        pool.len() - own,
    );
}

/// Makes the input short, puts it where it can be found, and says how to run it again.
fn report(target: &Target, args: &Args, judge: &mut Judge, input: &[u8], failure: &Failure) -> bool {
    let short = judge.shorten(input, failure);
    let folder = args.failures.clone().unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz"));
    let path = corpus::keep(&folder.join(target.name), &short);
    println!("{}: {failure}", target.name);
    println!("  {} bytes, {} when shortened, seed {}", input.len(), short.len(), args.seed);
    if short.len() <= 512 {
        println!("  {}", short.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    println!(
        "  cargo test -p sync-tests --test fuzz -- --target {} --replay {}",
        target.name,
        path.display()
    );
    false
}
